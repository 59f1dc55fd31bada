"""`python -m webhook serve` as its users run it, and a client for it that shares no code with it."""

import http.client
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
import uvloop
from starlette.types import ASGIApp

from webhook.http.listener import REVIEW_CONNECTIONS, bounded_server, listen
from webhook.server import tls
from webhook.server.app import Webhook
from webhook.server.state import State
from webhook.shared.address import Address

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAM = [sys.executable, "-m", "webhook"]
FREE_PORTS = ["--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"]
PATIENCE = 60.0  # seconds; a busy machine takes its time
JSON = {"Content-Type": "application/json"}

Event = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.body)
        return data


class Client:
    """One connection, kept alive, that http.client opens anew if the server closes it."""

    def __init__(self, url: str, certificate: str | None = None) -> None:
        where = urlsplit(url)
        host, port = where.hostname or "", where.port
        self.connection = (
            http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=trusting(certificate))
            if certificate
            else http.client.HTTPConnection(host, port, timeout=PATIENCE)
        )

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An iterable as body is sent in chunks."""
        self.connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes | None))
        return self.answer()

    def answer(self) -> Answer:
        """The answer to a request that has been sent."""
        response = self.connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, body: bytes | Iterable[bytes]) -> Answer:
        return self.send("POST", path, body, JSON)

    def review(self, path: str, review: Mapping[str, Any]) -> dict[str, Any]:
        """The `response` that the AdmissionReview gets."""
        answer = self.post(path, json.dumps(review).encode())
        assert answer.status == 200, answer.text
        response: dict[str, Any] = answer.json["response"]
        return response


def trusting(certificate: str) -> ssl.SSLContext:
    """What an API server's caBundle amounts to."""
    return ssl.create_default_context(cafile=certificate)


@dataclass
class Server:
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)  # of stderr, all so far
    listening: Event = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    reading: bool = True  # of stderr
    _unread: "queue.SimpleQueue[str | None]" = field(default_factory=queue.SimpleQueue)

    def read(self) -> None:
        """Collect stderr until it ends."""
        assert self.process.stderr
        with self.process.stderr as lines:
            for line in lines:
                if not self.reading:
                    break
                self.lines.append(line)
                self._unread.put(line)
        self._unread.put(None)

    def unread(self) -> None:
        """Stop to read stderr: the next line closes it."""
        self.reading = False

    def events(self, last: Callable[[Event], bool]) -> list[Event]:
        """What has been logged since the call before this, up to the event that `last` knows."""
        found: list[Event] = []
        while not found or not last(found[-1]):
            line = self._unread.get(timeout=PATIENCE)
            assert line, "the server ended"
            assert line.startswith("{"), line
            found.append(json.loads(line))
        return found

    def wait_for(self, event: str) -> Event:
        return self.events(lambda found: found["event"] == event)[-1]

    @property
    def certificate(self) -> str:
        return str(self.listening["certificate"])

    def client(self) -> Client:
        """A connection of its own, until the server stops."""
        self.clients.append(Client(self.listening["webhook"], self.certificate))
        return self.clients[-1]

    def health(self) -> Client:
        """The same for the probes and metrics."""
        self.clients.append(Client(self.listening["health"]))
        return self.clients[-1]

    def disconnect(self) -> None:
        """Close all connections: a peer that is idle and does not read delays the end."""
        for client in self.clients:
            client.connection.close()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after the signal."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def running(
    *arguments: str | Path, environment: Mapping[str, str] | None = None, program: Sequence[str] = PROGRAM
) -> Iterator[Server]:
    """A server that listens on free ports; the arguments are those of `serve`."""
    command = [*program, "serve", *FREE_PORTS, *map(str, arguments)]
    with subprocess.Popen(
        command, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        server = Server(process)
        reader = threading.Thread(target=server.read)
        reader.start()
        try:
            server.listening = server.wait_for("listening")
            yield server
        finally:
            server.disconnect()
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                reader.join()


@dataclass(frozen=True)
class Threaded:
    """A webhook on a thread of this process."""

    url: str
    certificate: str
    uvicorn: uvicorn.Server
    thread: threading.Thread

    @property
    def address(self) -> tuple[str, str]:
        """Its URL, and what a client trusts."""
        return self.url, self.certificate


@contextmanager
def threaded(
    app: ASGIApp,
    folder: Path | None = None,
    most: int = REVIEW_CONNECTIONS,
    draining: Callable[[], bool] = lambda: False,
    run: Callable[[Coroutine[Any, Any, None]], None] = uvloop.run,
) -> Iterator[Threaded]:
    """An application on a thread, for what it has is changed meanwhile; with a folder, over TLS."""
    certificate, key = tls.make_self_signed(folder, ["127.0.0.1"]) if folder else (None, None)
    context = tls.server_context(certificate, key) if certificate and key else None
    listening = listen(Address("127.0.0.1", 0))
    server = bounded_server(app, most, context, draining)
    thread = threading.Thread(target=lambda: run(server.serve([listening])))
    thread.start()
    try:
        url = f"{'https' if context else 'http'}://127.0.0.1:{listening.getsockname()[1]}"
        yield Threaded(url, str(certificate or ""), server, thread)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def serving(state: State, folder: Path) -> Iterator[Threaded]:
    """The webhook over TLS."""
    with threaded(Webhook(state), folder, draining=lambda: state.draining) as found:
        yield found


def examples() -> list[str | Path]:
    """The options that serve the example policy with the example quotas."""
    return ["--policy", EXAMPLES / "policy.yaml", "--quotas", EXAMPLES / "quotas.yaml"]
