"""The HTTP shell: /mutate and /validate for the API server, probes and metrics for the kubelet and Prometheus."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Final, Protocol, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook import admission, admission_review, logs
from webhook.admission_review import BadReviewError, Request
from webhook.decision import Decision, Denied, Told, outcome
from webhook.metrics import Metrics
from webhook.pod import ObjectMeta
from webhook.policy import Policy
from webhook.policy_file import Loaded
from webhook.snapshot import Charges, ResourceQuota

# The API server takes objects of 3 MiB, and a review holds two of them.
MAX_BODY: Final = 8 * 1024 * 1024
BODY_SECONDS: Final = 10.0  # for the body of a request
# Date in UTC, YYYY-MM-DD, as the last argument.
Decide: TypeAlias = Callable[[Request, Policy, Sequence[ResourceQuota], str], Decision]


class Quotas(Protocol):
    """Where the quotas of a namespace come from, and where an admitted Pod is charged."""

    def quotas(self, namespace: str, meta: ObjectMeta, *, resize: bool = False) -> Sequence[ResourceQuota]:
        """The quotas that the Pod is checked against."""

    def charge(self, namespace: str, meta: ObjectMeta, charges: Charges, *, resize: bool = False) -> None:
        """Take note that the Pod was admitted."""


class Cluster(Protocol):
    """What keeps the quotas like those of a cluster, behind which they may be."""

    @property
    def synced(self) -> bool:
        """Whether all of them have been read at least once."""

    @property
    def problems(self) -> Mapping[str, str]:
        """What cannot be read at present -> why."""

    async def live(self, namespace: str) -> Sequence[ResourceQuota] | None:
        """The namespace's quotas as they are after this call; None where that cannot be told in time."""

    async def run(self) -> None:
        """Follow the cluster until cancelled."""


@dataclass(slots=True)
class Service:
    """What the endpoints share and what may change while they run."""

    policy: Policy
    quotas: Quotas
    metrics: Metrics = field(default_factory=Metrics)
    draining: bool = False
    digest: str = ""  # of the policy's file
    policy_problem: str = ""  # why the policy file as it is now is not in use
    cluster: Cluster | None = None  # where the quotas come from, unless they are kept here

    def __post_init__(self) -> None:
        """The policy it starts with is the first that was read."""
        self.metrics.policy_read(self.digest)

    def use_policy(self, loaded: Loaded) -> None:
        """Decide by this policy from now on."""
        self.policy, self.digest, self.policy_problem = loaded.policy, loaded.digest, ""
        self.metrics.policy_read(loaded.digest)
        told = (*loaded.warnings, *loaded.policy.expired(_today()))
        logs.info("policy in use", digest=loaded.digest, warnings=told)

    def keep_policy(self, problem: str) -> None:
        """Go on with the last good policy, and say why, once."""
        if problem != self.policy_problem:
            self.policy_problem = problem
            self.metrics.policy_refused()
            logs.warning("policy not in use, the last good one is kept", problems=problem.splitlines())

    def readiness(self) -> tuple[str, int]:
        """What /readyz says, and with which status: what is waited for, or what goes on with what it had before."""
        problems = self.cluster.problems if self.cluster else {}
        told = "".join(f"{read}: {why}\n" for read, why in problems.items())
        if self.draining:
            return "draining\n", 503
        if self.cluster and not self.cluster.synced:
            return f"waiting for the ResourceQuotas of the cluster\n{told}", 503
        kept = f"the last good policy is kept, for the file is not usable:\n{self.policy_problem}\n"
        cached = f"the ResourceQuotas that were read before are kept, for those of the cluster cannot be read:\n{told}"
        return f"ok\n{kept if self.policy_problem else ''}{cached if problems else ''}", 200


class RejectedError(Exception):
    """The request is not one that could be answered with a review."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def webhook(service: Service) -> ASGIApp:
    """What the API server calls, over TLS: reviews go straight to their endpoint, Starlette sees to all else."""
    endpoints = {
        "/mutate": Endpoint("/mutate", admission.mutate, service),
        "/validate": Endpoint("/validate", admission.validate, service),
    }
    routes = [Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()]
    others = Starlette(routes=routes, exception_handlers={HTTPException: _refuse})

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = endpoints.get(scope["path"]) if scope["method"] == "POST" else None
        await (endpoint or others)(scope, receive, send)

    return answer


async def _refuse(request: HttpRequest, error: Exception) -> Response:
    """Another path or method than ours: one line for that too."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what the handler is registered for
    logs.warning("bad request", endpoint=request.url.path[:100], status=error.status_code, error=error.detail)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


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
            start = perf_counter()
            request = admission_review.decode(body)
        except RejectedError as error:
            await self._reject(send, error.status, str(error))
        except BadReviewError as error:
            await self._reject(send, 400, str(error))
        else:
            decision = self._decided(request)
            if isinstance(decision, Denied) and decision.outlook and self._service.cluster:
                decision = await self._confirmed(request, decision, self._service.cluster)
            await self._send(send, 200, b"application/json", admission_review.encode(request, decision))
            self._note(request, decision, perf_counter() - start)

    def _decided(self, request: Request) -> Decision:
        """Decide, and charge what is admitted; nothing is awaited between the two."""
        today = _today()
        if request.pod is None:
            return self._decide(request, self._service.policy, (), today)
        source = self._service.quotas
        quotas = source.quotas(request.namespace, request.meta, resize=request.resize)
        decision = self._decide(request, self._service.policy, quotas, today)
        if not isinstance(decision, Denied) and not request.dry_run:
            source.charge(request.namespace, request.meta, decision.charges, resize=request.resize)
        return decision

    async def _confirmed(self, request: Request, denied: Denied, cluster: Cluster) -> Decision:
        """What becomes of a refusal for a quota with live quotas; without them, nothing is refused for one.

        A cache that is behind must refuse nothing, and what we let pass the API server's own quota check still sees.
        """
        policy, today = self._service.policy, _today()
        quotas = await cluster.live(request.namespace)
        if quotas is None:
            self._service.metrics.refusal_looked_at("failed")
            logs.warning("refusal not confirmed, the Pod is let pass", uid=request.uid, namespace=request.namespace,
                         pod=request.pod_name, refusal=denied.message)  # fmt: skip
            return self._decide(request, policy, (), today)
        decision = self._decide(request, policy, quotas, today)
        self._service.metrics.refusal_looked_at("confirmed" if isinstance(decision, Denied) else "overturned")
        return decision

    async def _reject(self, send: Send, status: int, message: str) -> None:
        self._service.metrics.bad_request(self._path)
        logs.warning("bad request", endpoint=self._path, status=status, error=message)
        await self._send(send, status, b"text/plain; charset=utf-8", f"{message}\n".encode(), close=status == 413)

    async def _send(self, send: Send, status: int, kind: bytes, body: bytes, *, close: bool = False) -> None:
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if close or self._service.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

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


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


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
