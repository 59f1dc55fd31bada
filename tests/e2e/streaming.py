"""Creates that go on while something is done to the webhook."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.pods import FLYTE_1, pod


@contextmanager
def streaming(plane: ControlPlane, namespace: str) -> Iterator[Counter[str]]:
    """What comes of one create after the other, each a dry run, until the end of the block."""
    answers: Counter[str] = Counter()
    ended = threading.Event()

    def create() -> None:
        client = plane.client()
        while not ended.is_set():
            reply = client.create(pod(namespace, "task", FLYTE_1), dry_run=True)
            answers["created" if reply.code == 201 else f"{reply.code} {reply.message}"] += 1
        client.close()

    thread = threading.Thread(target=create)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()
