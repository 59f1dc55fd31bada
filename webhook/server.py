"""Both listeners in one process: TLS for the API server, plain HTTP for probes and metrics."""

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn
import uvloop
from starlette.types import ASGIApp

from webhook import logs
from webhook.app import Webhook, health
from webhook.connection import Connection
from webhook.options import Address, Options
from webhook.reload import following
from webhook.service import Service
from webhook.serving import Serving

KEEP_ALIVE: Final = 120  # seconds; the API server reuses connections that were idle for up to 90
GRACE: Final = 10  # seconds for requests under way when the process is told to stop


class ListenError(OSError):
    """An address cannot be listened on; the message names it."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: it would stop only one of the two, and exit with the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(address: Address) -> socket.socket:
    """A listening socket; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    both = address.host == "::" and socket.has_dualstack_ipv6()  # every interface, as programs in Go have it
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets, and the certificate that the first is served with."""

    webhook: socket.socket
    health: socket.socket
    serving: Serving

    def fields(self) -> dict[str, str]:
        """For the log: where clients find us, and what they may trust."""
        webhook, health = (Address(*sock.getsockname()[:2]) for sock in (self.webhook, self.health))
        return {
            "webhook": f"https://{webhook}",
            "health": f"http://{health}",
            "certificate": str(self.serving.files.certificate),
        }


def run(service: Service, listeners: Listeners, options: Options) -> None:
    """Serve until SIGTERM or SIGINT; then be unready for the shutdown delay, finish what is under way, return."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(service, listeners, options))


async def _run(service: Service, listeners: Listeners, options: Options) -> None:
    async with following(options.policy, listeners.serving, service):
        await _serve(service, listeners, options.shutdown_delay)
    logs.info("stopped")


async def _serve(service: Service, listeners: Listeners, shutdown_delay: float) -> None:
    """Until the signal, and what comes after it."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    main, probes = configured(Webhook(service), listeners.serving.context), configured(health(service), None)
    async with asyncio.TaskGroup() as serving:
        serving.create_task(main.serve([listeners.webhook]))
        serving.create_task(probes.serve([listeners.health]))
        logs.info("listening", **listeners.fields(), policy=service.digest)
        await stop.wait()
        service.draining = True
        logs.info("draining", seconds=shutdown_delay)
        await asyncio.sleep(shutdown_delay)
        main.should_exit = probes.should_exit = True


def configured(app: ASGIApp, context: ssl.SSLContext | None) -> uvicorn.Server:
    """A uvicorn server as we run it, with TLS if there is a context."""
    return _Server(
        uvicorn.Config(
            app,
            http=Connection if isinstance(app, Webhook) else "httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
            ssl_context_factory=(lambda *_: context) if context else None,
        )
    )
