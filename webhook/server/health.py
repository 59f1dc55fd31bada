"""The endpoints for the kubelet and Prometheus, over plain HTTP on a port of their own."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from webhook.server.state import State


def health(state: State) -> Starlette:
    """Return the application for /livez, /readyz and /metrics."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        return PlainTextResponse(*state.readiness())

    async def metrics(_: Request) -> Response:
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
    app.router.redirect_slashes = False  # a redirect would name the host that the client names
    return app
