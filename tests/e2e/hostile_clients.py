"""Clients that mean harm, of each kind some, against one server of this machine, until they are stopped.

`python -m tests.e2e.hostile_clients REVIEWS HEALTH CERTIFICATE SECONDS`
"""

import asyncio
import logging
import os
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from tests import hostile
from tests.process import EXAMPLES, trusting

MIB = 1024 * 1024
PAUSE = 0.05  # seconds between a connection's end and the next
REVIEW = (EXAMPLES / "review.json").read_bytes()


@dataclass(frozen=True)
class Place:
    """Where to connect to; without a context, and so without TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    source: str = "127.0.0.1"  # the address of the client

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, ssl=self.context, local_addr=(self.source, 0))


Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def _again_and_again(place: Place, client: Client) -> None:
    """Each time that the server closes the connection."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await place.connect()
            try:
                await client(reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(PAUSE)


async def idle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"POST /mutate HTTP/1.1\r\nHost: x\r\n")
    await reader.read()


async def endless_field(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"POST /mutate HTTP/1.1\r\nHost: ")
    while not reader.at_eof():
        writer.write(b"x" * 16384)
        await writer.drain()
        await asyncio.sleep(0)


def head(size: int) -> bytes:
    return b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(8 * MIB))
    for _ in range(127):
        writer.write(b" " * 65536)
        await writer.drain()
    await reader.read()


async def large_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(len(REVIEW) + 20 * MIB) + REVIEW)
    for _ in range(320):
        writer.write(b" " * 65536)
        await writer.drain()
    await reader.readuntil(b"\r\n\r\n")


async def unread(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
    while not writer.is_closing():
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        await writer.drain()
        await asyncio.sleep(PAUSE)


async def ahead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 3000)
    await reader.read()


async def large_ahead(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
    writer.write((head(len(REVIEW) + 64000) + REVIEW + b" " * 64000) * 40)
    await asyncio.sleep(2)


async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof():
        writer.write(head(len(REVIEW)) + REVIEW)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length: "))
        await reader.readexactly(int(length.split(b": ")[1]))


def hostile_pod(body: bytes) -> Client:
    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(len(body)) + body)
        await reader.readuntil(b"\r\n\r\n")

    return ask


KINDS: Sequence[tuple[Client, int]] = [
    (idle, 100), (half_a_head, 50), (endless_field, 10), (endless_body, 60), (large_body, 3), (unread, 30), (ahead, 5),
]  # fmt: skip

# From an address of their own, for they have it busy.
OTHERS: Sequence[tuple[Client, int]] = [(large_ahead, 150), (busy, 500)]


async def attack(reviews: Place, health: Place, pods: Sequence[bytes]) -> None:
    """All kinds at once, on both ports; connections without a handshake besides."""
    other = replace(reviews, source="127.0.0.2")
    async with asyncio.TaskGroup() as tasks:
        for client, count in KINDS:
            for place, part in ((reviews, 1), (health, 4)):
                for _ in range(count // part):
                    tasks.create_task(_again_and_again(place, client))
        for client, count in OTHERS:
            for _ in range(count):
                tasks.create_task(_again_and_again(other, client))
        for _ in range(400):
            tasks.create_task(_again_and_again(replace(other, context=None), idle))
        for body in pods:
            tasks.create_task(_again_and_again(reviews, hostile_pod(body)))


def hostile_reviews() -> list[bytes]:
    pods = [*(make() for make, _ in hostile.OVERSIZED.values()), *(make() for make in hostile.ORDINARY.values())]
    return [hostile.review(pod) for pod in (*pods, hostile.limits(24, "1", of=20))]


def main(reviews: str, health: str, certificate: str, seconds: str) -> None:
    """Attack for so long."""
    os.nice(10)  # they would be on other machines
    logging.disable()  # asyncio's warnings of connections that were closed
    secure, plain = urlsplit(reviews), urlsplit(health)
    with suppress(TimeoutError):
        asyncio.run(
            asyncio.wait_for(
                attack(
                    Place(secure.hostname or "", secure.port or 0, trusting(certificate)),
                    Place(plain.hostname or "", plain.port or 0),
                    hostile_reviews(),
                ),
                float(seconds),
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
