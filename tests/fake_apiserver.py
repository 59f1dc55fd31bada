"""A kube-apiserver for quotas and limit ranges that answers each request as the test has it, with any fault there is.

Real sockets, with TLS if there is a context. It notes every request that it sees, and shares no code with webhook/.
"""

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]
RESET = "reset"  # the ends of a stream, besides the good one
CUT = "cut"
SILENCE = "silence"
JOBS = ("rayjobs", "sparkapplications", "daskjobs", "pytorchjobs", "tfjobs", "mpijobs", "jobsets")


@dataclass(frozen=True)
class Request:
    verb: str  # list, watch, or live: a list of one namespace; of limit ranges, ranges and ranges-watch; jobs; version
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeApiServer:
    """Replies to each verb in turn, and for ever with the last one."""

    replies: dict[str, list[Reply]] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def seen(self, verb: str) -> list[Request]:
        return [request for request in self.requests if request.verb == verb]

    async def __aenter__(self) -> "FakeApiServer":
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", self.port, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for writer in self._connections:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request = _request(head)
            self.requests.append(request)
            replies = self.replies.get(request.verb) or OTHERS[request.verb]
            await (replies.pop(0) if len(replies) > 1 else replies[0])(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # the server ends; asyncio of Python 3.11 would print it
        finally:
            self._connections.discard(writer)
            writer.close()


def _request(head: str) -> Request:
    first, *lines = head.splitlines()
    url = urlsplit(first.split()[1])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    verb = "watch" if "watch" in query else "live" if "/namespaces/" in url.path else "list"
    if url.path.endswith("/limitranges"):
        verb = "ranges-watch" if verb == "watch" else "ranges"
    if url.path.rpartition("/")[2] in JOBS:
        verb = "jobs"
    if url.path == "/version":
        verb = "version"
    headers = dict(line.split(": ", 1) for line in lines if line)
    return Request(verb, unquote(url.path), query, {name.lower(): value for name, value in headers.items()})


@contextmanager
def in_thread(server: FakeApiServer) -> Iterator[FakeApiServer]:
    """The server in a thread of its own, for tests that wait for processes."""
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with server:
            started.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:  # which ends what is still being answered
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def body(content: Json | str, code: int = 200, headers: str = "") -> Reply:
    """A whole answer; `headers` are lines that end in CRLF."""
    data = (content if isinstance(content, str) else json.dumps(content)).encode()

    async def reply(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {code} Reason\r\nContent-Length: {len(data)}\r\nConnection: close\r\n{headers}\r\n"
        writer.write(head.encode() + data)
        await writer.drain()

    return reply


def page(*quotas: Json, version: str = "10", more: str = "") -> Reply:
    """One answer to a LIST; `more` is the token to go on with."""
    return body(
        {"kind": "ResourceQuotaList", "metadata": {"resourceVersion": version, "continue": more}, "items": quotas}
    )


def status(code: int, message: str = "as the test has it", headers: str = "") -> Reply:
    return body({"kind": "Status", "code": code, "message": message}, code, headers)


def stream(*lines: Json | str, end: str = "", after: Callable[[], object] = lambda: None) -> Reply:
    """A watch with these events, each in a chunk; `after` is called when they are out."""

    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for line in lines:
            data = (line if isinstance(line, str) else json.dumps(line) + "\n").encode()
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await writer.drain()
        after()
        if end == SILENCE:
            await asyncio.Event().wait()
        if end == RESET:
            linger = struct.pack("ii", 1, 0)  # for no time: what closes the connection is a RST
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        if end != CUT:
            writer.write(b"0\r\n\r\n")

    return reply


async def silence(_: asyncio.StreamWriter) -> None:
    """No answer, ever."""
    await asyncio.Event().wait()


def quota(name: str = "q", namespace: str = "ns", version: str = "1", used: str = "0", hard: str = "10") -> Json:
    """With a hard limit of limits.cpu, and what is used of it."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": version, "managedFields": [{}]},
        "spec": {"hard": {"limits.cpu": hard}},
        "status": {"hard": {"limits.cpu": hard}, "used": {"limits.cpu": used}},
    }


def event(kind: str, version: str, **parts: str) -> Json:
    return {"type": kind, "object": quota(version=version, **parts)}


def limit_range(name: str = "r", namespace: str = "ns", version: str = "1", most: str = "2") -> Json:
    """With a maximum of cpu for a container."""
    metadata = {"name": name, "namespace": namespace, "resourceVersion": version}
    limits = [{"type": "Container", "max": {"cpu": most}, "default": {"cpu": most}, "defaultRequest": {"cpu": most}}]
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}}


def bookmark(version: str) -> Json:
    metadata = {"resourceVersion": version, "creationTimestamp": None}
    return {"type": "BOOKMARK", "object": {"kind": "ResourceQuota", "metadata": metadata, "spec": {}, "status": {}}}


def error(code: int, **details: object) -> Json:
    return {
        "type": "ERROR",
        "object": {"kind": "Status", "code": code, "reason": "Why", "message": "so", "details": details},
    }


def kubeconfig(folder: Path, url: str, cluster: Json | None = None, user: Json | None = None) -> Path:
    """A file that leads there."""
    file = folder / "kubeconfig.yaml"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "there", "user": "me"}}],
        "clusters": [{"name": "there", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "me", "user": user or {}}],
    }  # fmt: skip
    file.write_text(json.dumps(config))
    return file


# A cluster of that version without LimitRanges, for tests that say nothing of them.
OTHERS: Mapping[str, list[Reply]] = {
    "ranges": [page()],
    "ranges-watch": [stream(end=SILENCE)],
    "jobs": [status(404)],
    "version": [body({"major": "1", "minor": "37"})],
}
