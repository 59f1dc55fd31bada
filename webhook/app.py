"""The HTTP shell: /mutate and /validate for the API server, probes and metrics for the kubelet and Prometheus."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Final, NamedTuple, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from webhook import admission, admission_review, logs
from webhook.admission_review import BadReviewError, Request
from webhook.clock import today
from webhook.decision import Decision, Denied, Told, outcome
from webhook.outbox import Outbox
from webhook.policy import Policy
from webhook.service import Cluster, Service
from webhook.snapshot import ResourceQuota

# The API server takes objects of 3 MiB, and a review holds two of them.
MAX_BODY: Final = 8 * 1024 * 1024
BODY_SECONDS: Final = 10.0  # for the body of a request
JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
CLOSING: Final = (408, 413)  # what is left of the body is not waited for
# Date in UTC, YYYY-MM-DD, as the last argument.
Decide: TypeAlias = Callable[[Request, Policy, Sequence[ResourceQuota], str], Decision]


class RejectedError(Exception):
    """The request is not one that could be answered with a review."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Reply(NamedTuple):
    """What is sent back, whether that is the connection's last, and what is to be done once it is on its way."""

    status: int
    content_type: bytes
    body: bytes
    close: bool
    then: Callable[[], object] = lambda: None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """As ASGI has them."""
        headers = [(b"content-type", self.content_type), (b"content-length", str(len(self.body)).encode())]
        return [*headers, (b"connection", b"close")] if self.close else headers


class Doubt(NamedTuple):
    """A refusal for quotas that may have changed since they were read; a look at the cluster settles it."""

    request: Request
    denied: Denied
    cluster: Cluster
    start: float


class Webhook:
    """What the API server calls, over TLS: reviews go straight to their endpoint, Starlette sees to all else."""

    def __init__(self, service: Service) -> None:
        """Both endpoints decide by what the service has at the time."""
        self.endpoints = {
            "/mutate": Endpoint("/mutate", admission.mutate, service),
            "/validate": Endpoint("/validate", admission.validate, service),
        }
        self.outbox = Outbox()
        routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in self.endpoints.items()]

        async def refuse(request: HttpRequest, error: Exception) -> Response:
            """Another path or method than ours: one line for that too."""
            assert isinstance(error, HTTPException)  # noqa: S101 - what the handler is registered for
            logs.warning("bad request", endpoint=request.url.path[:100], status=error.status_code, error=error.detail)
            headers = {**(error.headers or {}), **({"Connection": "close"} if service.draining else {})}
            return PlainTextResponse(f"{error.detail}\n", error.status_code, headers)

        self._others = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
        self._others.router.redirect_slashes = False  # who asks for /mutate/ is told, not sent elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        endpoint = self.endpoints.get(scope["path"]) if scope["method"] == "POST" else None
        await (endpoint or self._others)(scope, receive, send)


def health(service: Service) -> Starlette:
    """What the kubelet and Prometheus call, over plain HTTP on a port of its own."""

    async def livez(_: HttpRequest) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: HttpRequest) -> Response:
        return PlainTextResponse(*service.readiness())

    async def metrics(_: HttpRequest) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


class Endpoint:
    """One path: reads a review, has it decided, answers. Plain ASGI, for it is on the path of every Pod."""

    def __init__(self, path: str, decide: Decide, service: Service) -> None:
        """`decide` is the pure function behind the path."""
        self._path = path
        self._decide = decide
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            _check_content_type(scope)
            body = await _read_body(scope, receive)
        except RejectedError as error:
            reply = self.reject(error)
        else:
            found = self.at_once(body)
            reply = found if isinstance(found, Reply) else await self._settled(found)
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})
        reply.then()

    def at_once(self, body: bytes) -> Reply | Doubt:
        """The reply to a body, as far as there is one without a look at the cluster."""
        start = perf_counter()
        try:
            request = admission_review.decode(body)
        except BadReviewError as error:
            return self.reject(RejectedError(400, str(error)))
        decision = self._decided(request)
        if isinstance(decision, Denied) and decision.outlook and self._service.cluster:
            return Doubt(request, decision, self._service.cluster, start)
        return self._reply(request, decision, start)

    def reject(self, error: RejectedError) -> Reply:
        """The reply to what is no review."""
        self._service.metrics.bad_request(self._path)
        logs.warning("bad request", endpoint=self._path, status=error.status, error=str(error))
        return Reply(error.status, TEXT, f"{error}\n".encode(), self._service.draining or error.status in CLOSING)

    def _decided(self, request: Request) -> Decision:
        """Decide, and charge what is admitted; nothing is awaited between the two."""
        day = today()
        if request.pod is None:
            return self._decide(request, self._service.policy, (), day)
        source = self._service.quotas
        quotas = source.quotas(request.namespace, request.meta, resize=request.resize)
        decision = self._decide(request, self._service.policy, quotas, day)
        if not isinstance(decision, Denied) and not request.dry_run:
            source.charge(request.namespace, request.meta, decision.charges, resize=request.resize)
        return decision

    async def _settled(self, doubt: Doubt) -> Reply:
        """The reply by live quotas; without them, nothing is refused for one.

        A cache that is behind must refuse nothing, and what we let pass the API server's own quota check still sees.
        """
        quotas = await doubt.cluster.live(doubt.request.namespace)
        return self._reply(doubt.request, self._confirmed(doubt.request, doubt.denied, quotas), doubt.start)

    def _confirmed(self, request: Request, denied: Denied, quotas: Sequence[ResourceQuota] | None) -> Decision:
        policy = self._service.policy
        if quotas is None:
            self._service.metrics.refusal_looked_at("failed")
            logs.warning("refusal not confirmed, the Pod is let pass", uid=request.uid, namespace=request.namespace,
                         pod=request.pod_name, refusal=denied.message)  # fmt: skip
            return self._decide(request, policy, (), today())
        decision = self._decide(request, policy, quotas, today())
        self._service.metrics.refusal_looked_at("confirmed" if isinstance(decision, Denied) else "overturned")
        return decision

    def _reply(self, request: Request, decision: Decision, start: float) -> Reply:
        """The decision as it is sent; the log and the metrics have time until then."""
        body = admission_review.encode(request, decision)
        note = partial(self._note, request, decision, perf_counter() - start)
        return Reply(200, JSON, body, self._service.draining, note)

    def _note(self, request: Request, decision: Decision, seconds: float) -> None:
        """One line and one count a review."""
        decided = outcome(decision)
        word = "denied" if isinstance(decided, Denied) else "changed" if decided.changes else "allowed"
        only_told = isinstance(decision, Told) and word != "allowed"
        self._service.metrics.answered(self._path, f"would_be_{word}" if only_told else word, seconds, decision)
        refusal = {"refusal": decided.message, "code": decided.code} if isinstance(decided, Denied) else {}
        logs.info(
            "review",
            endpoint=self._path,
            decision=word,
            mode=decided.settings.mode,
            uid=request.uid,
            namespace=request.namespace,
            pod=request.pod_name,
            dry_run=request.dry_run,
            milliseconds=round(seconds * 1000, 3),
            changes=decided.changes,
            **refusal,
        )


def _check_content_type(scope: Scope) -> None:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        found = kind.decode("latin-1") or "none"
        raise RejectedError(415, f"content type {found!r}; application/json is expected")


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if length.isdigit() and int(length) > MAX_BODY:
        raise RejectedError(413, f"a body of {int(length)} bytes; at most {MAX_BODY} are accepted")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_pieces(receive)
    except TimeoutError:
        raise RejectedError(408, f"the body did not come within {BODY_SECONDS:g} seconds") from None


async def _read_pieces(receive: Receive) -> bytes:
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RejectedError(400, "the connection closed before the body was complete")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MAX_BODY:
            raise RejectedError(413, f"a body of more than {MAX_BODY} bytes; no more are accepted")
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
