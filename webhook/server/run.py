"""The two listeners of `serve`: TLS for the API server, plain HTTP for probes and metrics."""

import asyncio
import signal
import socket
from dataclasses import dataclass

import uvloop

from webhook.http.listener import PROBE_CONNECTIONS, REVIEW_CONNECTIONS, bounded_server
from webhook.http.probes import probes
from webhook.server.app import Webhook
from webhook.server.certificate import ServingCertificate
from webhook.server.options import Options
from webhook.server.reload import run_followers
from webhook.server.state import State
from webhook.server.status_page import status_routes
from webhook.shared.address import Address
from webhook.telemetry import logs


@dataclass(frozen=True, slots=True)
class Listeners:
    """The two sockets, and the certificate of the webhook's."""

    webhook: socket.socket
    health: socket.socket
    serving: ServingCertificate

    def fields(self) -> dict[str, str]:
        """Return the addresses and the certificate's file for the log."""
        webhook, health = (Address(*sock.getsockname()[:2]) for sock in (self.webhook, self.health))
        return {
            "webhook": f"https://{webhook}",
            "health": f"http://{health}",
            "certificate": str(self.serving.files.certificate),
        }


def run(state: State, listeners: Listeners, options: Options) -> None:
    """Serve until SIGTERM or SIGINT; then be unready for the shutdown delay, finish what is under way, and return."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(state, listeners, options))


async def _run(state: State, listeners: Listeners, options: Options) -> None:
    async with run_followers(options.policy, listeners.serving, state):
        await _serve(state, listeners, options)
    logs.info("stopped")


async def _serve(state: State, listeners: Listeners, options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    reviews = bounded_server(Webhook(state), REVIEW_CONNECTIONS, listeners.serving.context, lambda: state.draining)
    others = status_routes(state, listeners.serving) if options.status_page else ()
    health = bounded_server(probes(state.readiness, state.metrics.registry, others), PROBE_CONNECTIONS)
    async with asyncio.TaskGroup() as serving:
        serving.create_task(reviews.serve([listeners.webhook]))
        serving.create_task(health.serve([listeners.health]))
        logs.info("listening", **listeners.fields(), policy=state.digest)
        await stop.wait()
        state.draining = True
        logs.info("draining", seconds=options.shutdown_delay)
        await asyncio.sleep(options.shutdown_delay)
        reviews.should_exit = health.should_exit = True
