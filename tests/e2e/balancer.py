"""One address for several servers: each new connection goes to the next of them, as with a Service."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from urllib.parse import urlsplit


@contextmanager
def balanced(urls: Sequence[str]) -> Iterator[str]:
    """The URL that leads to all of them."""
    servers = cycle([(where.hostname or "", where.port or 0) for where in map(urlsplit, urls)])
    threads: list[threading.Thread] = []
    listening = socket.create_server(("127.0.0.1", 0))
    sockets = [listening]

    def accept() -> None:
        with suppress(OSError):  # once it is shut down
            while True:
                pair = listening.accept()[0], socket.create_connection(next(servers))
                sockets.extend(pair)
                threads.extend(threading.Thread(target=copy, args=way) for way in (pair, pair[::-1]))
                for thread in threads[-2:]:
                    thread.start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        shut(listening)
        threads[0].join()
        for each in sockets:
            shut(each)
        for thread in threads:
            thread.join()
        for each in sockets:
            each.close()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, until either side ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    shut(target)


def shut(each: socket.socket) -> None:
    """End what it may still send or receive."""
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
