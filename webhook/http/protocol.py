"""HTTP/1.1 as uvicorn speaks it, with bounds on what a client may send, keep open, and leave unread.

The bounds are on what asyncio's Protocol and httptools' callbacks promise; of uvicorn's class, only its constructor and
that it answers a request that is no HTTP by `send_400_response` are relied upon. What is behind it, a plain ASGI
application, has bounds of its own for bodies (see `webhook.http.body`).
"""

import asyncio
import ssl
from functools import partial
from http import HTTPStatus
from os import dup
from socket import socket
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from webhook.http.connections import READ_SECONDS, Connection, Connections
from webhook.telemetry import logs

HEAD: Final = 64 * 1024  # bytes; the API server sends less than one KiB
FIELDS: Final = 100
AHEAD: Final = 16  # requests that wait for the answers to those before them; the API server sends none ahead
PIECE: Final = 16 * 1024  # bytes that are parsed at a time
BUFFER: Final = 64 * 1024  # bytes of answers that wait in this process, until writing is paused
CLOSE_SECONDS: Final = 1.0  # for the client's part of the end of TLS
STATE: Final = "connection"  # what the application has of it in the ASGI scope


class BeyondError(Exception):
    """The client sends more than is read; this ends the parsing."""


class Bounded:
    """An application whose answers are counted, and close the connection where they are its last."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self._app = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        connection: Connection = scope["state"][STATE]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and (connection.last or self._connections.draining):
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._connections.answered(connection)


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connection: Connection | None = None,
    ) -> None:
        """As uvicorn makes them; `connection` is there if it began with a TLS handshake."""
        self._all = connections
        self._plain = connection is None
        self._connection = connection or Connection()
        super().__init__(config, server_state, {**app_state, STATE: self._connection}, _loop)
        self._in_head = False
        self._head = self._fields = 0  # bytes and fields of it
        self._reported = False  # whether the parser has found anything in the piece
        self._unreported = 0  # bytes since it last did

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Begin to count."""
        transport.set_write_buffer_limits(BUFFER)
        super().connection_made(transport)
        self._connection.open(transport)
        if self._plain:
            self._all.admit(self._connection, transport.abort)
        self._connection.allow(READ_SECONDS, self._time_is_over)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count no more.

        How it was lost makes no difference: after an error uvicorn would keep it, and the answer nobody has read, until
        the end of its keep-alive.
        """
        del exc
        self._all.lost(self._connection)
        super().connection_lost(None)

    def data_received(self, data: bytes) -> None:
        """Parse piece by piece, until there is too much that the parser makes nothing of."""
        for start in range(0, len(data), PIECE):
            if self._connection.over or self.transport.is_closing():
                return
            piece = data[start : start + PIECE]
            self._reported = False
            super().data_received(piece)
            self._unreported = 0 if self._reported else self._unreported + len(piece)
            if self._unreported > HEAD:
                self._refuse(431, f"more than {HEAD} bytes in one field")
        if self._in_head or self._connection.begun == self._connection.answered:
            self._connection.allow(READ_SECONDS, self._time_is_over)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn returns None always
        """Answer a client that says no more; over TLS, asyncio lets nobody do that."""
        keep_open = self._plain and self._connection.busy
        self._connection.finish()
        return keep_open

    def on_message_begin(self) -> None:
        """Begin a head, unless too many requests wait."""
        self._reported = self._in_head = True
        if self._connection.begun - self._connection.answered >= AHEAD:
            self._connection.finish()
            raise BeyondError
        self._head = self._fields = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count it."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field, of a head or after a body in chunks."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._reported = True
        self._head += size
        if self._head > HEAD or self._fields > FIELDS:
            self._refuse(431, f"a head of over {HEAD} bytes or {FIELDS} fields")
            raise BeyondError

    def on_headers_complete(self) -> None:
        """Have the request answered."""
        self._reported, self._in_head = True, False
        self._connection.arrived()
        super().on_headers_complete()
        self._connection.begun += 1

    def on_body(self, body: bytes) -> None:
        """Take a piece."""
        self._reported = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that the request is whole."""
        self._connection.whole += 1
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, after the answers to what came before it."""
        if not self._connection.over:
            self._refuse(400, msg)

    def _time_is_over(self) -> None:
        """Close; a client that has begun to ask is told why."""
        if self._in_head:
            self._refuse(408, f"the head did not come within {READ_SECONDS:g} seconds")
        else:
            self._connection.finish()

    def _refuse(self, status: int, why: str) -> None:
        logs.warning("bad request", status=status, error=why)
        fields = f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(why) + 1}\r\nconnection: close\r\n"
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{fields}"
        self._connection.finish(f"{head}\r\n{why}\n".encode())

    def pause_writing(self) -> None:
        """Take note that the client does not read."""
        self._all.unread(self._connection)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Take note that it reads."""
        self._all.read_again(self._connection)
        super().resume_writing()

    def shutdown(self) -> None:
        """Leave it to `Connections.end`: uvicorn would close a connection on which a request is on its way."""


class Handshake(asyncio.Protocol):
    """A connection until TLS is agreed upon: it counts as one, and has little time.

    That takes its socket out of the transport, unread: asyncio has a limit on the time of a handshake for sockets
    only, uvicorn none, and uvloop reads from a transport whose protocol has paused it before it began.
    """

    def __init__(
        self,
        connections: Connections,
        context: ssl.SSLContext,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn makes them."""
        self._all = connections
        self._context = context
        self._connection = Connection()
        self._http = BoundedHttp(connections, config, server_state, app_state, _loop, connection=self._connection)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Begin the handshake."""
        taken = socket(fileno=dup(transport.get_extra_info("socket").fileno()))
        transport.abort()
        loop = asyncio.get_running_loop()
        task = loop.create_task(
            loop.connect_accepted_socket(
                lambda: self._http, taken, ssl=self._context,
                ssl_handshake_timeout=READ_SECONDS, ssl_shutdown_timeout=CLOSE_SECONDS,
            )
        )  # fmt: skip
        task.add_done_callback(partial(self._done, taken))
        self._all.admit(self._connection, task.cancel)

    def _done(self, taken: socket, task: "asyncio.Task[tuple[asyncio.Transport, BoundedHttp]]") -> None:
        """Go on with HTTP; where the handshake fails, there is nobody to tell."""
        if task.cancelled() or task.exception():
            taken.close()
            self._all.lost(self._connection)
