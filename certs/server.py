"""The program around the passes: when one is made, what is told of it, and how it ends."""

import asyncio
import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from traceback import format_exc
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from certs import cluster
from certs.cluster import ClusterError
from certs.metrics import Metrics
from certs.reconcile import Plan, Reconciler
from webhook.http.listener import PROBE_CONNECTIONS, bounded_server
from webhook.shared import clock
from webhook.shared.address import Address
from webhook.telemetry import logs

NOT_YET: Final = "no pass has been made yet"
FAILED: Final = "the last pass failed, see the log"


@dataclass(slots=True)
class Passes:
    """The passes made so far: each reads the clock and the cluster anew, for nothing is remembered between them."""

    plan: Plan
    kubeconfig: Path | None
    metrics: Metrics = field(default_factory=Metrics)
    problem: str = NOT_YET  # of the last pass, empty if it ended well

    async def connect(self) -> None:
        """Nothing but a connection; ClusterError if nobody says where the cluster is."""
        async with cluster.connect(self.kubeconfig):
            pass

    async def make(self) -> bool:
        """One pass, and whether it ended well."""
        now = clock.now()
        try:
            async with cluster.connect(self.kubeconfig) as api:
                await Reconciler(self.plan, api, self.metrics).run(now)
        except ClusterError as error:
            self.problem = str(error)
            self.metrics.failed(error.kind)
            logs.error("pass failed", error=error.kind, message=self.problem)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the next pass may go well
            self.problem = f"{type(error).__name__}: {error}"
            self.metrics.failed("unexpected")
            logs.error("pass failed", error="unexpected", message=self.problem, traceback=format_exc(limit=-20))
            return False
        self.problem = ""
        self.metrics.succeeded(now)
        return True

    async def keep_making(self, interval: float) -> None:
        """One pass after the other until cancelled; that may be between any two steps of one."""
        while True:
            await self.make()
            await asyncio.sleep(interval)


def health(passes: Passes) -> Starlette:
    """What the kubelet and Prometheus call, over plain HTTP."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        told = passes.problem and (NOT_YET if passes.problem == NOT_YET else FAILED)
        return PlainTextResponse(f"{told or 'ok'}\n", 503 if told else 200)

    async def metrics(_: Request) -> Response:
        return Response(passes.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
    app.router.redirect_slashes = False  # a redirect would name the host that the client names
    return app


def check(passes: Passes) -> None:
    """ClusterError if there is no way to the cluster, whether or not it answers."""
    asyncio.run(passes.connect())


def once(passes: Passes) -> bool:
    """Make one pass, and tell whether it ended well."""
    return asyncio.run(passes.make())


def run(passes: Passes, interval: float, listener: socket.socket) -> None:
    """Make a pass each interval, until SIGTERM or SIGINT."""
    asyncio.run(_run(passes, interval, listener))


async def _run(passes: Passes, interval: float, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    probes = bounded_server(health(passes), PROBE_CONNECTIONS)
    place = Address(*listener.getsockname()[:2])
    logs.info("started", health=f"http://{place}", secret=f"{passes.plan.namespace}/{passes.plan.secret}")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(probes.serve([listener]))
        making = tasks.create_task(passes.keep_making(interval))
        await stop.wait()
        making.cancel()
        probes.should_exit = True
    logs.info("stopped")
