"""A listener: uvicorn as both programs run it, with bounds on its clients, and a shutdown that they cannot delay."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from webhook.http.connections import Connections
from webhook.http.protocol import Bounded, BoundedHttp, Handshake
from webhook.shared.address import Address

REVIEW_CONNECTIONS: Final = 384  # of API servers; each opens one for each review that it waits for
PROBE_CONNECTIONS: Final = 32  # of the kubelet and Prometheus
KEEP_ALIVE: Final = 120  # seconds; the API server reuses connections for up to 90 seconds
GRACE: Final = 10  # seconds for requests under way at shutdown
# Bytes; uvloop reads, and keeps, all that has come at once. The kernel doubles these, and needs some packets' size.
SOCKET_BUFFERS: Final = {socket.SO_RCVBUF: 32 * 1024, socket.SO_SNDBUF: 128 * 1024}


class ListenError(OSError):
    """An address that cannot be listened on; the message names it."""


def listen(address: Address) -> socket.socket:
    """Return a listening socket, for port 0 on any free port; ListenError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    both = address.host == "::" and socket.has_dualstack_ipv6()  # every interface, as in Go programs
    try:
        made = socket.create_server((address.host, address.port), family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
    for buffer, size in SOCKET_BUFFERS.items():  # each connection inherits them
        made.setsockopt(socket.SOL_SOCKET, buffer, size)
    return made


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal, and with our shutdown."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and end the connections."""
        await asyncio.gather(super().shutdown(sockets), self._connections.end(GRACE))


def bounded_server(
    app: ASGIApp, limit: int, context: ssl.SSLContext | None = None, draining: Callable[[], bool] = lambda: False
) -> Server:
    """Return a server with a limit on its connections, and with TLS if there is a context.

    While it drains, each answer is the last of its connection.
    """
    connections = Connections(limit, draining)
    protocol: Any = partial(Handshake, connections, context) if context else partial(BoundedHttp, connections)
    config = uvicorn.Config(
        Bounded(app, connections),
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # bad requests are logged by ours
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE + 1,
    )
    return Server(config, connections)
