"""The client: HTTP/1.1 over TLS connections that are kept alive, one request at a time each.

The next request of a closed loop waits for the answer to the one before. Those of an open loop come at their time,
whether the server keeps up or not, and their latency counts from that time.
"""

import asyncio
import gc
import selectors
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import uvloop

POOL: Final = 64  # connections that an open loop has at hand


@dataclass(frozen=True)
class Target:
    """Where requests go: a URL, the CA that it is trusted by, the status hoped for, headers beside the usual."""

    url: str
    ca: Path
    status: int = 200
    headers: str = ""  # lines that end in CRLF

    def request(self, body: bytes) -> bytes:
        """A POST of JSON as it goes over the wire."""
        where = urlsplit(self.url)
        path = f"{where.path}?{where.query}" if where.query else where.path
        head = f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n{self.headers}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Load:
    """What became of a number of requests."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds
    delays: list[float] = field(default_factory=list)  # by which the client itself was late; of an open loop
    cpu: float = 0.0  # seconds that the server took, connecting aside; of a closed loop

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Of the latencies, in milliseconds."""
        return _percentile(self.latencies, percent) * 1000

    @property
    def delay(self) -> float:
        """The 99th percentile of the client's own delays, in milliseconds."""
        return _percentile(self.delays, 99) * 1000


def _percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


class UnexpectedError(Exception):
    """The server answered otherwise than hoped."""


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def ask(self, request: bytes) -> Awaitable[None]:
        """Return once the whole answer is there."""
        self._answered = asyncio.get_running_loop().create_future()
        self._body.clear()
        self.transport.write(request)
        return self._answered

    @property
    def body(self) -> bytes:
        """Of the answer."""
        return b"".join(self._body)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == self._status:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(UnexpectedError(f"{status}: {self.body.decode()}"))

    def connection_lost(self, error: Exception | None) -> None:
        if hasattr(self, "_answered") and not self._answered.done():
            self._answered.set_exception(error or UnexpectedError("the server closed the connection"))


def answer(target: Target, body: bytes) -> bytes:
    """What the body is answered with."""

    async def ask() -> bytes:
        connection = await _connect(target)
        await connection.ask(target.request(body))
        _close([connection])
        return connection.body

    return uvloop.run(ask())


def closed(target: Target, bodies: Sequence[bytes], connections: int, meter: Callable[[], float] = lambda: 0.0) -> Load:
    """Ask for each body, on so many connections at once; the meter tells the server's CPU seconds so far."""
    requests = iter([target.request(body) for body in bodies])

    async def ask_all() -> Load:
        opened = [await _connect(target) for _ in range(connections)]
        load, start, cpu = Load(), time.perf_counter(), meter()
        await asyncio.gather(*(_ask_in_turn(connection, requests, load) for connection in opened))
        load.seconds, load.cpu = time.perf_counter() - start, meter() - cpu
        _close(opened)
        return load

    with _undisturbed():
        return uvloop.run(ask_all())


async def _ask_in_turn(connection: _Connection, requests: Iterator[bytes], load: Load) -> None:
    for request in requests:
        start = time.perf_counter()
        await connection.ask(request)
        load.latencies.append(time.perf_counter() - start)


def opened(target: Target, bodies: Sequence[bytes], rate: float) -> Load:
    """Ask for each body at its time, so many a second."""
    requests = [target.request(body) for body in bodies]

    async def ask_all() -> Load:
        connections = [await _connect(target) for _ in range(min(POOL, len(requests)))]
        idle: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()
        for connection in connections:
            idle.put_nowait(connection)
        load, start = Load(), time.perf_counter()
        async with asyncio.TaskGroup() as asking:
            for number, request in enumerate(requests):
                due = start + number / rate
                await asyncio.sleep(due - time.perf_counter())
                load.delays.append(time.perf_counter() - due)
                asking.create_task(_ask_when_idle(idle, request, due, load))
        load.seconds = time.perf_counter() - start
        _close(connections)
        return load

    # Of all selectors, select alone waits for less than a millisecond.
    with _undisturbed(), asyncio.Runner(loop_factory=_precise) as runner:
        return runner.run(ask_all())


def _precise() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _ask_when_idle(idle: "asyncio.LifoQueue[_Connection]", request: bytes, due: float, load: Load) -> None:
    connection = await idle.get()
    await connection.ask(request)
    load.latencies.append(time.perf_counter() - due)
    idle.put_nowait(connection)


async def _connect(target: Target) -> _Connection:
    where = urlsplit(target.url)
    made: Callable[[], _Connection] = lambda: _Connection(target.status)  # noqa: E731 - a type for the loop
    context = ssl.create_default_context(cafile=target.ca)
    host, port = where.hostname or "", where.port or 443
    _, connection = await asyncio.get_running_loop().create_connection(made, host, port, ssl=context)
    return connection


def _close(connections: Sequence[_Connection]) -> None:
    for connection in connections:
        connection.transport.abort()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The client's own garbage is collected before and after, not meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
