"""The endpoints for the kubelet and Prometheus, over plain HTTP on a port of their own."""

from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def probes(
    readiness: Callable[[], tuple[str, int]], registry: CollectorRegistry, others: Sequence[Route] = ()
) -> Starlette:
    """Return the application for /livez, /readyz, /metrics and the other routes.

    `readiness` returns a text and an HTTP status.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        return PlainTextResponse(*readiness())

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics), *others]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False  # a redirect would name the host that the client names
    return app
