"""A listener: uvicorn as both programs run it, with bounds for what clients do, and an end that they cannot put off."""

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

REVIEWS: Final = 384  # connections of API servers; each has as many as reviews that it waits for at the same time
PROBES: Final = 32  # connections of the kubelet and Prometheus
KEEP_ALIVE: Final = 120  # seconds; the API server reuses connections that were idle for up to 90
GRACE: Final = 10  # seconds for requests under way when the process is told to stop
# Bytes; what has come is read, and kept, in one go. The kernel takes twice as many, and needs some packets' size.
SOCKET_BUFFERS: Final = {socket.SO_RCVBUF: 64 * 1024, socket.SO_SNDBUF: 128 * 1024}


class ListenError(OSError):
    """An address cannot be listened on; the message names it."""


def listen(address: Address) -> socket.socket:
    """A listening socket; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    both = address.host == "::" and socket.has_dualstack_ipv6()  # every interface, as programs in Go have it
    try:
        made = socket.create_server((address.host, address.port), family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
    for buffer, size in SOCKET_BUFFERS.items():  # inherited by each connection
        made.setsockopt(socket.SOL_SOCKET, buffer, size)
    return made


class Server(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process with the signal, and with an end of ours."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to others."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and end what is connected."""
        await asyncio.gather(super().shutdown(sockets), self._connections.end(GRACE))


def configured(
    app: ASGIApp, most: int, context: ssl.SSLContext | None = None, draining: Callable[[], bool] = lambda: False
) -> Server:
    """A server for at most so many connections, with TLS if there is a context."""
    connections = Connections(most, draining)
    protocol: Any = partial(Handshake, connections, context) if context else partial(BoundedHttp, connections)
    config = uvicorn.Config(
        Bounded(app, connections),
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # of a bad request, there is a line of ours
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE + 1,
    )
    return Server(config, connections)
