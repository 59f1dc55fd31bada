"""The ASGI application of the webhook: /mutate and /validate."""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from webhook.admission.decide import mutate, validate
from webhook.admission.wire import BadReviewError, namespace_of
from webhook.http.body import BodyShare, Budget, OversizedError, RejectedError, read
from webhook.http.protocol import STATE_KEY
from webhook.http.turns import Turns
from webhook.server.reviewer import Answer, Reviewer
from webhook.server.state import State
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics

JSON: Final = b"application/json"
PLAIN_TEXT: Final = b"text/plain; charset=utf-8"
RETRY: Final = {503: [(b"retry-after", b"1")]}  # seconds


class Webhook:
    """The application for the API server: reviews go directly to their endpoint, everything else to Starlette."""

    def __init__(self, state: State) -> None:
        budget, turns, metrics = Budget(), Turns(), state.metrics
        self._endpoints = {
            "/mutate": Endpoint("/mutate", Reviewer("/mutate", mutate, state), budget, turns, metrics),
            "/validate": Endpoint(
                "/validate", Reviewer("/validate", validate, state, is_last=True), budget, turns, metrics
            ),
        }
        routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in self._endpoints.items()]
        self._others = Starlette(routes=routes, exception_handlers={HTTPException: _refuse})
        self._others.router.redirect_slashes = False  # /mutate/ gets a 404

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        endpoint = self._endpoints.get(scope["path"]) if scope["method"] == "POST" else None
        await (endpoint or self._others)(scope, receive, send)


async def _refuse(request: Request, error: Exception) -> Response:
    """Answer and log a request with a wrong path or method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for it
    logs.warning("bad request", endpoint=request.url.path[:100], status=error.status_code, error=error.detail)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


class Endpoint:
    """The endpoint of one path, in plain ASGI, which is faster than Starlette; all endpoints share the budget."""

    def __init__(self, path: str, reviewer: Reviewer, budget: Budget, turns: Turns, metrics: Metrics) -> None:
        self._path = path
        self._reviewer = reviewer
        self._budget = budget
        self._turns = turns
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        with BodyShare(self._budget) as share:
            try:
                answer = await self._answer(scope, receive, share)
            except RejectedError as error:
                await self._reject(send, error.status, str(error))
            except BadReviewError as error:
                await self._reject(send, 400, str(error))
            else:
                await _send(send, 200, JSON, answer.body)
                answer.report()

    async def _answer(self, scope: Scope, receive: Receive, share: BodyShare) -> Answer:
        connection = scope["state"][STATE_KEY]
        try:
            body = await read(scope, self._turns.by_piece(receive, connection.address, namespace_of), share)
        except OversizedError as error:
            return self._reviewer.oversized(error.head)
        await self._turns.wait(len(body), (connection.address, namespace_of(body)))
        if connection.is_lost:  # the API server closes the connection of a review that it gives up
            raise RejectedError(503, "the client gave up before the review had its turn")
        return await self._reviewer.review(body)

    async def _reject(self, send: Send, status: int, why: str) -> None:
        """Answer a request that gets no review, log it, and count it."""
        word = "overloaded" if status == 503 else "bad_request"
        self._metrics.rejected(self._path, word)
        logs.warning(word.replace("_", " "), endpoint=self._path, status=status, error=why)
        await _send(send, status, PLAIN_TEXT, f"{why}\n".encode())


async def _send(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *RETRY.get(status, [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
