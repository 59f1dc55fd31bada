"""A listener: uvicorn as both programs run it, with bounds on its clients, and a shutdown that they cannot delay."""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from webhook.http.connections import READ_SECONDS, Connection, Connections
from webhook.http.protocol import Bounded, BoundedHttp
from webhook.shared.address import Address

REVIEW_CONNECTIONS: Final = 512  # of API servers; each opens one for each review that it waits for
PROBE_CONNECTIONS: Final = 32  # of the kubelet and Prometheus
KEEP_ALIVE: Final = 120  # seconds; the API server reuses connections for up to 90 seconds
GRACE: Final = 10  # seconds for requests under way at shutdown
TLS_CLOSE_SECONDS: Final = 1.0  # for the client's close_notify
MAX_ACCEPTED: Final = 64  # connections in one iteration of the event loop
FILES: Final = 4096  # that may be open; more than all connections, which many systems do not have without asking
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
    """uvicorn without its signal handlers, which would end the process by the signal, and with our start and shutdown.

    A connection is a socket until it has its place, which takes next to no memory. uvicorn would make a transport of
    each at once, and uvloop would accept one in an iteration, so that a flood keeps the others waiting.
    """

    def __init__(self, config: uvicorn.Config, connections: Connections, context: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._connections = connections
        self._context = context

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets."""
        _allow_files()
        await super().startup([])
        for listening in sockets or ():
            listening.settimeout(0)
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and end the connections; what has come is answered."""
        for listening in sockets or ():
            self._accept(listening)
            asyncio.get_running_loop().remove_reader(listening)
        await asyncio.gather(super().shutdown(sockets), self._connections.end(GRACE))

    def _accept(self, listening: socket.socket) -> None:
        """Have connections wait for their place."""
        with contextlib.suppress(OSError):  # no more, or one that is gone already
            for _ in range(MAX_ACCEPTED):
                accepted, (address, *_) = listening.accept()
                accepted.settimeout(0)
                self._connections.accept(address, partial(self._start, accepted), accepted.close)

    def _start(self, accepted: socket.socket, connection: Connection) -> None:
        """Start HTTP, after the TLS handshake if there is a context."""
        http: Any = partial(
            BoundedHttp, self._connections, connection, self.config, self.server_state, self.lifespan.state
        )
        limits: Any = {"ssl_handshake_timeout": READ_SECONDS, "ssl_shutdown_timeout": TLS_CLOSE_SECONDS}
        loop = asyncio.get_running_loop()
        task = loop.create_task(
            loop.connect_accepted_socket(http, accepted, ssl=self._context, **(limits if self._context else {}))
        )
        connection.abort = partial(_shut, accepted)  # cancelled, uvloop may never end the protocol
        task.add_done_callback(partial(self._started, accepted, connection))

    def _started(self, accepted: socket.socket, connection: Connection, task: "asyncio.Task[Any]") -> None:
        """Close the socket if the handshake has failed; otherwise HTTP has it."""
        if task.cancelled() or task.exception():  # cancelled at the end of the event loop
            accepted.close()
            self._connections.lost(connection)


def _shut(accepted: socket.socket) -> None:
    """Have the reader of the socket see its end."""
    with contextlib.suppress(OSError):  # the client has closed it
        accepted.shutdown(socket.SHUT_RDWR)


def _allow_files() -> None:
    """Raise the limit on open files, as Go programs do, as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def bounded_server(
    app: ASGIApp, limit: int, context: ssl.SSLContext | None = None, draining: Callable[[], bool] = lambda: False
) -> Server:
    """Return a server with a limit on its connections, and with TLS if there is a context.

    While it drains, each answer is the last of its connection.
    """
    connections = Connections(limit, draining)
    config = uvicorn.Config(
        Bounded(app, connections),
        http=BoundedHttp,
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
    return Server(config, connections, context)
