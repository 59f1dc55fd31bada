"""One connection of the API server's: uvicorn's, but for reviews that come as the API server sends them.

Those are answered as soon as they are whole, with no task, no ASGI scope, and one write. Whatever else comes, and what
only a look at the cluster can answer, goes uvicorn's way through the application.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from webhook.app import BODY_SECONDS, JSON, MAX_BODY, Endpoint, RejectedError, Reply, Webhook

NOT_PLAIN: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


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
        self._asked: Endpoint | None = None  # whose review is coming
        self._pieces: list[bytes] = []
        self._last = False  # whether the connection closes after it
        self._patience: asyncio.TimerHandle | None = None

    def on_headers_complete(self) -> None:
        """See whether it is a review that is answered here."""
        endpoint = self._endpoints.get(self.url.partition(b"?")[0].decode("latin-1"))
        if endpoint is None or not self._is_plain():
            super().on_headers_complete()
            return
        self._asked = endpoint
        self._patience = self.loop.call_later(BODY_SECONDS, self._give_up)

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
        if self._asked is None:
            super().on_body(body)
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        if self._asked is None:
            super().on_message_complete()
            return
        endpoint, body = self._asked, b"".join(self._pieces)
        self._forget()
        try:
            reply = endpoint.at_once(body)
        except Exception:  # noqa: BLE001 - it is met again the other way, where it is logged and answered with 500
            reply = None
        if reply is None:
            super().on_headers_complete()
            super().on_body(body)
            super().on_message_complete()
        else:
            self._send(reply)

    def _forget(self) -> None:
        """Be ready for the next request."""
        self._asked = None
        self._pieces = []
        if self._patience is not None:
            self._patience.cancel()

    def _give_up(self) -> None:
        """The body has not come in time."""
        if endpoint := self._asked:
            self._forget()
            self._send(endpoint.reject(RejectedError(408, f"the body did not come within {BODY_SECONDS:g} seconds")))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of a review that was never whole."""
        if endpoint := self._asked:
            self._forget()
            endpoint.reject(RejectedError(400, "the connection closed before the body was complete"))
        super().connection_lost(exc)

    def _send(self, reply: Reply) -> None:
        reply = reply._replace(close=True) if self._last else reply
        fields = (*self.server_state.default_headers, *reply.headers)
        head = b"".join([b"%b: %b\r\n" % field for field in fields])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[reply.status], head, reply.body))
        if reply.close:
            self.transport.close()
        self.on_response_complete()
        reply.then()

    def shutdown(self) -> None:
        """Close once nothing is under way."""
        if self._asked is None:
            super().shutdown()
        else:
            self._last = True
