"""The HTTP shell: /mutate and /validate for the API server, probes and metrics for the kubelet and Prometheus."""

from collections import Counter
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

from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.decide import mutate, validate
from webhook.admission.decision import Decision, Denied, Told, outcome
from webhook.admission.wire import BadReviewError, Request
from webhook.api.resource_quota import ResourceQuota
from webhook.http.body import Budget, RejectedError, Share, read
from webhook.policy.model import Policy
from webhook.server.state import Service
from webhook.shared.clock import today
from webhook.telemetry import logs

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
RETRY: Final = {503: [(b"retry-after", b"1")]}  # seconds
# Date in UTC, YYYY-MM-DD, as the last argument.
Decide: TypeAlias = Callable[[Request, Policy, Sequence[ResourceQuota], str], Decision]


class Reply(NamedTuple):
    """What is sent back, and what is to be done once it is on its way."""

    status: int
    content_type: bytes
    body: bytes
    then: Callable[[], object] = lambda: None

    async def send(self, send: Send) -> None:
        """Send it as ASGI has it."""
        headers = [(b"content-type", self.content_type), (b"content-length", str(len(self.body)).encode())]
        headers += RETRY.get(self.status, [])
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})
        self.then()


class Webhook:
    """What the API server calls, over TLS: reviews go straight to their endpoint, Starlette sees to all else."""

    def __init__(self, service: Service) -> None:
        """Both endpoints decide by what the service has at the time."""
        budget = Budget()
        self._endpoints = {
            "/mutate": Endpoint("/mutate", mutate, service, budget),
            "/validate": Endpoint("/validate", validate, service, budget),
        }
        routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in self._endpoints.items()]

        async def refuse(request: HttpRequest, error: Exception) -> Response:
            """Another path or method than ours: one line for that too."""
            assert isinstance(error, HTTPException)  # noqa: S101 - what the handler is registered for
            logs.warning("bad request", endpoint=request.url.path[:100], status=error.status_code, error=error.detail)
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)

        self._others = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
        self._others.router.redirect_slashes = False  # whoever asks for /mutate/ gets a 404

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        endpoint = self._endpoints.get(scope["path"]) if scope["method"] == "POST" else None
        await (endpoint or self._others)(scope, receive, send)


def health(service: Service) -> Starlette:
    """What the kubelet and Prometheus call, over plain HTTP on a port of its own."""

    async def livez(_: HttpRequest) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: HttpRequest) -> Response:
        return PlainTextResponse(*service.readiness())

    async def metrics(_: HttpRequest) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
    app.router.redirect_slashes = False  # a redirect would name the host that the client names
    return app


class Endpoint:
    """One path: reads a review, has it decided, answers. Plain ASGI, for it is on the path of every Pod."""

    def __init__(self, path: str, decide: Decide, service: Service, budget: Budget) -> None:
        """`decide` is the pure function behind the path; the budget is for all endpoints."""
        self._path = path
        self._decide = decide
        self._service = service
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        with Share(self._budget) as share:
            try:
                reply = await self._reviewed(await read(scope, receive, share))
            except RejectedError as error:
                reply = self._rejected(error)
            await reply.send(send)

    async def _reviewed(self, body: bytes | bytearray) -> Reply:
        """Decide about the review in the body; a refusal on cached quotas once more, on live ones."""
        start = perf_counter()
        try:
            request = wire.decode(body)
        except BadReviewError as error:
            raise RejectedError(400, str(error)) from error
        decision, cluster = self._decided(request), self._service.cluster
        if isinstance(decision, Denied) and decision.outlook and cluster:
            decision = self._confirmed(request, decision, await cluster.live(request.namespace))
        return self._reply(request, decision, start)

    def _rejected(self, error: RejectedError) -> Reply:
        """Answer what gets no review."""
        word = "overloaded" if error.status == 503 else "bad_request"
        self._service.metrics.rejected(self._path, word)
        logs.warning(word.replace("_", " "), endpoint=self._path, status=error.status, error=str(error))
        return Reply(error.status, TEXT, f"{error}\n".encode())

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

    def _confirmed(self, request: Request, denied: Denied, quotas: Sequence[ResourceQuota] | None) -> Decision:
        """Decide by live quotas; without them, refuse nothing for one.

        A cache that is behind must refuse nothing, and what we let pass the API server's own quota check still sees.
        """
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
        body = encode(request, decision)
        note = partial(self._note, request, decision, perf_counter() - start)
        return Reply(200, JSON, body, note)

    def _note(self, request: Request, decision: Decision, seconds: float) -> None:
        """Count one review, and log it: what was decided, and how many values each rule changed, by its name."""
        decided = outcome(decision)
        word = "denied" if isinstance(decided, Denied) else "changed" if decided.changes else "allowed"
        only_told = isinstance(decision, Told) and word != "allowed"
        counts = Counter[str](change.rule for change in decided.changes)
        self._service.metrics.answered(self._path, f"would_be_{word}" if only_told else word, seconds, decision, counts)
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
            changes=counts,
            **refusal,
        )
