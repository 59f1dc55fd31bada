"""One connection of the API server's: uvicorn's, but for reviews that come as the API server sends them.

Those are answered as soon as they are whole, with no task, no ASGI scope, and one write. Whatever else comes, and what
only a look at the cluster can answer, goes uvicorn's way through the application.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from webhook.app import BODY_SECONDS, JSON, MAX_BODY, Endpoint, RejectedError, Reply, Webhook
from webhook.outbox import Letter

NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


@dataclass(slots=True)
class Coming:
    """A review whose body is on its way."""

    endpoint: Endpoint
    pieces: list[bytes] = field(default_factory=list)
    patience: asyncio.TimerHandle | None = None  # where it does not come at once


class Connection(HttpToolsProtocol):
    """A connection to a `Webhook`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn makes them."""
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config.app, Webhook)  # noqa: S101 - what this class is given to uvicorn for
        self._endpoints = config.app.endpoints
        self._outbox = config.app.outbox
        self._coming: Coming | None = None
        self._last = False  # whether the connection closes after it
        self._over = False  # whether its last reply is on its way, and nothing more is listened to

    def data_received(self, data: bytes) -> None:
        """Take what has come; the rest of a body is not waited for for ever."""
        super().data_received(data)
        if self._coming and self._coming.patience is None:
            self._coming.patience = self.loop.call_later(BODY_SECONDS, self._give_up, self._coming.endpoint)

    def on_headers_complete(self) -> None:
        """See whether it is a review that is answered here."""
        if self._over:
            return
        endpoint = self._endpoints.get(self.url.partition(b"?")[0].decode("latin-1"))
        if endpoint is None or not self._is_plain():
            self._outbox.empty()
            super().on_headers_complete()
        else:
            self._coming = Coming(endpoint)

    def _is_plain(self) -> bool:
        """Whether it is a POST of JSON, of a known length, on a connection that nothing else is under way on."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.flow.write_paused or self.parser.get_method() != b"POST":
            return False
        if self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return False
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        known = length.isdigit() and int(length) <= MAX_BODY
        return known and headers.get(b"content-type") == JSON and NOT_PLAIN.isdisjoint(headers)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._coming:
            self._coming.pieces.append(body)
        elif not self._over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer."""
        if self._coming:
            self._answer(self._coming)
        elif not self._over:
            super().on_message_complete()

    def _answer(self, coming: Coming) -> None:
        self._forget(coming)
        body = b"".join(coming.pieces)
        try:
            found = coming.endpoint.at_once(body)
        except Exception:  # noqa: BLE001 - it is met again the other way, where it is logged and answered with 500
            found = None
        if isinstance(found, Reply):
            self._reply(found)
        else:
            self._outbox.empty()  # uvicorn takes a reply that is sent for the one it waits for
            super().on_headers_complete()
            super().on_body(body)
            super().on_message_complete()

    def _forget(self, coming: Coming) -> None:
        """Be ready for the next request."""
        if coming.patience:
            coming.patience.cancel()
        self._coming = None

    def _give_up(self, endpoint: Endpoint) -> None:
        """The body has not come in time."""
        self._coming = None
        self._reply(endpoint.reject(RejectedError(408, f"the body did not come within {BODY_SECONDS:g} seconds")))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of a review that was never whole."""
        if coming := self._coming:
            self._forget(coming)
            coming.endpoint.reject(RejectedError(400, "the connection closed before the body was complete"))
        super().connection_lost(exc)

    def _reply(self, reply: Reply) -> None:
        reply = reply._replace(close=True) if self._last else reply
        self._over = reply.close
        self._outbox.put(Letter(partial(self._send, reply), reply.then))

    def _send(self, reply: Reply) -> None:
        fields = (*self.server_state.default_headers, *reply.headers)
        head = b"".join([b"%b: %b\r\n" % field for field in fields])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[reply.status], head, reply.body))
        if reply.close:
            self.transport.close()
        self.on_response_complete()

    def eof_received(self) -> None:
        """Send what a client that says no more still listens for."""
        self._outbox.empty()
        super().eof_received()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, after the replies to what came before it."""
        self._outbox.empty()
        super().send_400_response(msg)

    def shutdown(self) -> None:
        """Close once nothing is under way."""
        self._outbox.empty()
        if self._coming is None:
            super().shutdown()
        else:
            self._last = True
