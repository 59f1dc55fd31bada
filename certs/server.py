"""The loop of passes: when one runs, what it logs, its endpoints, and the shutdown."""

import asyncio
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from traceback import format_exc
from typing import Final

from certs import cluster
from certs.cluster import ApiError
from certs.metrics import Metrics
from certs.reconcile import Plan, Reconciler
from webhook.http.listener import PROBE_CONNECTIONS, bounded_server
from webhook.http.probes import probes
from webhook.shared import clock
from webhook.shared.address import Address
from webhook.telemetry import logs

NOT_RUN_YET: Final = "no pass has been made yet"
FIRST_RETRY: Final = 4.0  # seconds
LAST_RUN_FAILED: Final = "the last pass failed, see the log"


@dataclass(slots=True)
class ReconcileLoop:
    """The loop of passes. Each reads the clock and the cluster; only the metrics and the last problem stay."""

    plan: Plan
    kubeconfig: Path | None
    metrics: Metrics = field(default_factory=Metrics)
    problem: str = NOT_RUN_YET  # of the last pass; empty if it succeeded

    async def connect(self) -> None:
        """Check the configuration of the client; ApiError if there is none, or one that cannot be used."""
        async with cluster.connect(self.kubeconfig):
            pass

    async def run_once(self) -> bool:
        """Run one pass, and return whether it succeeded."""
        now = clock.now()
        try:
            async with cluster.connect(self.kubeconfig) as client:
                await Reconciler(self.plan, client, self.metrics).run(now)
        except ApiError as error:
            self.problem = str(error)
            self.metrics.failed(error.kind)
            logs.error("pass failed", error=error.kind, message=self.problem)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the next pass may succeed
            self.problem = f"{type(error).__name__}: {error}"
            self.metrics.failed("unexpected")
            logs.error("pass failed", error="unexpected", message=self.problem, traceback=format_exc(limit=-20))
            return False
        self.problem = ""
        self.metrics.succeeded(now)
        return True

    def readiness(self) -> tuple[str, int]:
        """Return the text and the status of /readyz; anybody may read it, so it does not say what is wrong."""
        if self.problem:
            return f"{NOT_RUN_YET if self.problem == NOT_RUN_YET else LAST_RUN_FAILED}\n", 503
        return "ok\n", 200

    async def run(self, interval: float) -> None:
        """Run one pass after the other until cancelled, which may end a pass between any two steps.

        After a pass that failed, the next one comes earlier: after FIRST_RETRY seconds, then after twice as many.
        """
        retry = FIRST_RETRY
        while True:
            succeeded = await self.run_once()
            await asyncio.sleep(interval if succeeded else min(retry, interval))
            retry = FIRST_RETRY if succeeded else min(2 * retry, interval)


def check(loop: ReconcileLoop) -> None:
    """Raise ApiError if the configuration of the client cannot be used; the cluster need not answer."""
    asyncio.run(loop.connect())


def once(loop: ReconcileLoop) -> bool:
    """Run one pass, and return whether it succeeded."""
    return asyncio.run(loop.run_once())


def run(loop: ReconcileLoop, interval: float, listener: socket.socket) -> None:
    """Run passes, `interval` seconds apart, until SIGTERM or SIGINT."""
    asyncio.run(_run(loop, interval, listener))


async def _run(loop: ReconcileLoop, interval: float, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = bounded_server(probes(loop.readiness, loop.metrics.registry), PROBE_CONNECTIONS)
    place = Address(*listener.getsockname()[:2])
    logs.info("started", health=f"http://{place}", secret=f"{loop.plan.namespace}/{loop.plan.secret}")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve([listener]))
        running = tasks.create_task(loop.run(interval))
        await stop.wait()
        running.cancel()
        server.should_exit = True
    logs.info("stopped")
