"""HTTP/1.1 by uvicorn, with bounds on what a client may send, keep open, and leave unread.

The bounds rely on asyncio's Protocol and on httptools' callbacks. Of uvicorn's class they rely on the constructor, on
`parser`, and on `send_400_response` as its answer to what is not HTTP. The bounds on bodies are in `webhook.http.body`.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from webhook.http.connections import READ_SECONDS, Connection, Connections
from webhook.telemetry import logs

MAX_HEAD: Final = 64 * 1024  # bytes; the API server sends less than one KiB
MAX_FIELDS: Final = 100
MAX_PIECES: Final = 1024  # of a body, before they must have a size; the API server sends no chunks
SMALLEST_PIECE: Final = 64  # bytes, on average
MAX_PIPELINED: Final = 4  # requests that wait for their answers; the API server does not pipeline
PARSE_SIZE: Final = 16 * 1024  # bytes that are parsed at a time
# Bytes of TLS that are not decrypted yet, before reading is paused, and below which it goes on: more than the largest
# record, the rest of which would never come otherwise.
READ_BUFFER: Final = (32 * 1024, 17 * 1024)
WRITE_BUFFER: Final = 64 * 1024  # bytes of answers in this process, before writing is paused
BODY_FIELDS: Final = (b"content-length", b"transfer-encoding")
STATE_KEY: Final = "connection"  # where the ASGI scope has the Connection


class TooMuchError(Exception):
    """A request beyond the bounds; it ends the parsing."""


class Bounded:
    """An application that counts its answers, and adds `connection: close` to the last of a connection."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self._app = app
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        connection: Connection = scope["state"][STATE_KEY]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and self._connections.is_last(connection):
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._connections.answered(connection)


class BoundedHttp(HttpToolsProtocol):
    """The HTTP protocol of one connection, within bounds."""

    def __init__(
        self,
        connections: Connections,
        connection: Connection,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        """Take the connection, and uvicorn's arguments."""
        self._connections = connections
        self._connection = connection
        super().__init__(config, server_state, {**app_state, STATE_KEY: self._connection})
        self._in_head = self._has_body = False
        self._head = self._fields = self._pieces = self._received = 0  # bytes and fields of the head
        self._called_back = False  # whether the parser has called back for this piece
        self._silent_bytes = 0  # since its last callback
        self._rest = b""  # what has come and is not parsed yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Start the time for the first head."""
        transport.set_write_buffer_limits(WRITE_BUFFER)
        super().connection_made(transport)
        self._connection.open(transport, self._go_on)
        self._plain = transport.get_extra_info("sslcontext") is None
        if not self._plain:
            transport.set_read_buffer_limits(*READ_BUFFER)  # type: ignore[attr-defined] # of TLS
        self._connection.start_timer(READ_SECONDS, self._timed_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection.

        `exc` is dropped: after an error uvicorn would keep the connection, with its unread answer, until the end of its
        keep-alive.
        """
        del exc
        self._rest = b""
        self._connections.lost(self._connection)
        super().connection_lost(None)

    def data_received(self, data: bytes) -> None:
        """Parse it; while a request waits for its answer, read no more, so that the rest stays with the kernel."""
        self._rest += data
        self._parse()
        if self._rest:
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Parse what has come before the answer, and read again."""
        if self._rest:
            self._parse()
            if not self._rest:
                self.transport.resume_reading()

    def _parse(self) -> None:
        """Parse piece by piece, up to the end of a request; refuse a field too long for the parser to call back."""
        while self._rest and not self._connection.busy:
            if self._connection.finished or self.transport.is_closing():
                self._rest = b""
                return
            piece, self._rest = self._rest[:PARSE_SIZE], self._rest[PARSE_SIZE:]
            self._called_back = False
            super().data_received(piece)
            self._silent_bytes = 0 if self._called_back else self._silent_bytes + len(piece)
            if self._silent_bytes > MAX_HEAD:
                self._refuse(431, f"more than {MAX_HEAD} bytes in one field")
        if self._in_head or self._connection.begun == self._connection.answered:
            self._connection.start_timer(READ_SECONDS, self._timed_out)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn returns None always
        """Answer a client that has closed its side; over TLS, asyncio does not allow that."""
        keep_open = self._plain and self._connection.busy
        self._connection.finish()
        return keep_open

    def on_message_begin(self) -> None:
        """Start a head, unless too many requests wait."""
        self._called_back = self._in_head = True
        if self._connection.begun - self._connection.answered >= MAX_PIPELINED:
            self._connection.finish()
            raise TooMuchError
        self._head = self._fields = self._pieces = self._received = 0
        self._has_body = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the bytes of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field of a head, or a trailer."""
        self._fields += 1
        self._count(len(name) + len(value))
        self._has_body = self._has_body or name.lower() in BODY_FIELDS
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._called_back = True
        self._head += size
        if self._head > MAX_HEAD or self._fields > MAX_FIELDS:
            self._refuse(431, f"a head of over {MAX_HEAD} bytes or {MAX_FIELDS} fields")
            raise TooMuchError

    def on_headers_complete(self) -> None:
        """Stop the time of the head, and have the request answered."""
        self._called_back, self._in_head = True, False
        if self._has_body and self.parser.should_upgrade():  # httptools takes the body for another protocol's
            self._refuse(400, "a body with the field Upgrade; leave the field out")
            raise TooMuchError
        self._connection.stop_timer()
        super().on_headers_complete()
        self._connection.begun += 1
        self._connections.progressed(self._connection)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._called_back = True
        self._pieces += 1
        self._received += len(body)
        if self._pieces > MAX_PIECES and self._received < self._pieces * SMALLEST_PIECE:
            self._refuse(400, f"chunks of less than {SMALLEST_PIECE} bytes")
            raise TooMuchError
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count a complete request."""
        self._connection.complete += 1
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, after the answers to earlier requests."""
        if not self._connection.finished:
            self._refuse(400, msg)

    def _timed_out(self) -> None:
        """Close the connection; in the middle of a head, say why."""
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
        """Limit the time of a client that does not read."""
        self._connections.unread(self._connection)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Stop that time: the client reads again."""
        self._connections.read_again(self._connection)
        super().resume_writing()

    def shutdown(self) -> None:
        """Do nothing, for `Connections.end`: uvicorn would close a connection with a request on its way."""
