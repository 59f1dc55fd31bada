"""Both listeners in one process: TLS for the API server, plain HTTP for probes and metrics."""

import asyncio
import signal
import socket
from dataclasses import dataclass

import uvloop

from webhook.http.listener import PROBE_CONNECTIONS, REVIEW_CONNECTIONS, bounded_server
from webhook.server.app import Webhook
from webhook.server.certificate import Serving
from webhook.server.health import health
from webhook.server.options import Options
from webhook.server.reload import following
from webhook.server.state import Service
from webhook.shared.address import Address
from webhook.telemetry import logs


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
    main = bounded_server(Webhook(service), REVIEW_CONNECTIONS, listeners.serving.context, lambda: service.draining)
    probes = bounded_server(health(service), PROBE_CONNECTIONS)
    async with asyncio.TaskGroup() as serving:
        serving.create_task(main.serve([listeners.webhook]))
        serving.create_task(probes.serve([listeners.health]))
        logs.info("listening", **listeners.fields(), policy=service.digest)
        await stop.wait()
        service.draining = True
        logs.info("draining", seconds=shutdown_delay)
        await asyncio.sleep(shutdown_delay)
        main.should_exit = probes.should_exit = True
