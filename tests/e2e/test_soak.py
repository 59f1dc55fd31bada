"""Under hostile clients of each kind, in the memory that the manifests give, ordinary reviews are answered."""

import json
import re
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.limited import limited
from tests.process import EXAMPLES, PROGRAM, Client, Server, examples, running

MEMORY = 256 * 1024 * 1024  # as in the manifests
SECONDS = 30.0
SOURCES = ["", "", "127.0.0.3", "127.0.0.4"]  # of the clients; without one, the address of some hostile clients
EVERY = 0.02  # seconds between two reviews of a client
BUSY = 8  # times as long as with a neighbour that nobody attacks
PACE = threading.Event()  # never set
# As the image has it.
ENVIRONMENT = dict(
    re.findall("^ENV (MALLOC_[A-Z_]*)=(.*)$", (EXAMPLES.parent / "Dockerfile").read_text(), re.MULTILINE)
)


@dataclass
class Ordinary:
    """A client that reviews Pods: over a connection that it keeps, as the API server does.

    With an address of its own, over a new one for each review.
    """

    client: Client
    source: str = ""
    waits: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.source:
            self.client.connection.source_address = self.source, 0  # type: ignore[attr-defined] # it is public in http.client

    def ask(self, until: float) -> None:
        while time.monotonic() < until:
            start = time.monotonic()
            try:
                self._review()
            except (OSError, AssertionError, KeyError) as error:
                self.failures.append(repr(error))
                self.client.connection.close()
            self.waits.append(time.monotonic() - start)
            PACE.wait(EVERY)

    def _review(self) -> None:
        sock = self.client.connection.sock
        if sock and select.select([sock], [], [], 0)[0]:  # the server has closed it; Go notices that as well
            self.client.connection.close()
        review = json.loads((EXAMPLES / "review.json").read_text())
        review["request"]["uid"] = str(uuid.uuid4())
        assert self.client.review("/mutate", review)["uid"] == review["request"]["uid"]
        if self.source:
            self.client.connection.close()


@contextmanager
def attacked(server: Server) -> Iterator[None]:
    """Meanwhile, hostile clients do what they can; they end by themselves at the latest."""
    listening = server.listening
    command = [
        sys.executable,
        "-m",
        "tests.e2e.hostile_clients",
        listening["webhook"],
        listening["health"],
        server.certificate,
    ]
    with subprocess.Popen([*command, str(SECONDS + 10)]) as process:
        try:
            yield
            assert process.poll() is None, "the hostile clients gave up"
        finally:
            process.kill()


def test_hostile_clients_keep_no_ordinary_review_from_its_answer_nor_the_process_from_its_end() -> None:
    """No review waits for a second, or where this machine is busy, much longer than with a neighbour left in peace."""
    with (
        limited(PROGRAM, MEMORY) as program,
        running(*examples(), program=program, environment=ENVIRONMENT) as server,
        running(*examples(), environment=ENVIRONMENT) as neighbour,
        attacked(server),
    ):
        ordinary = [Ordinary(server.client(), source) for source in SOURCES]
        in_peace = Ordinary(neighbour.client())
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=each.ask, args=(until,)) for each in (*ordinary, in_peace)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        waits = sorted(wait for each in ordinary for wait in each.waits)
        assert server.process.poll() is None, "it was killed"
        assert [failure for each in ordinary for failure in each.failures] == []
        assert len(waits) > SECONDS * len(SOURCES)
        assert waits[-1] < max(1, BUSY * max(in_peace.waits))
        start = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - start < 2
