"""One endpoint behind its path: decide about the review in a body, confirm an unconfirmed denial, count and log it."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple, TypeAlias

from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.decision import Decision, Denied, ReportOnly, outcome
from webhook.admission.wire import Request
from webhook.api.resource_quota import ResourceQuota
from webhook.policy.model import Policy
from webhook.server.state import Service
from webhook.shared.clock import today
from webhook.telemetry import logs

# Date in UTC, YYYY-MM-DD, as the last argument.
Decide: TypeAlias = Callable[[Request, Policy, Sequence[ResourceQuota], str], Decision]


class Answer(NamedTuple):
    """The AdmissionReview that answers, and what is to be done once it is on its way."""

    body: bytes
    note: Callable[[], object]


class Reviewer:
    """What decides for one endpoint."""

    def __init__(self, path: str, decide: Decide, service: Service) -> None:
        """`decide` is the pure function behind the path."""
        self._path = path
        self._decide = decide
        self._service = service

    async def review(self, body: bytes | bytearray) -> Answer:
        """Answer the review in the body; BadReviewError if it is none.

        A denial for cached quotas is decided once more, on live ones.
        """
        start = perf_counter()
        request = wire.decode(body)
        decision, cluster = self._decided(request), self._service.cluster
        if isinstance(decision, Denied) and decision.outlook and cluster:
            decision = self._confirmed(request, decision, await cluster.live(request.namespace))
        return Answer(encode(request, decision), partial(self._note, request, decision, perf_counter() - start))

    def oversized(self, head: bytes) -> Answer:
        """Deny a review that is too large to be kept, by how it begins; BadReviewError if that is not one."""
        start = perf_counter()
        request = wire.undecoded(head, "larger than any Pod that can be stored")
        decision = self._decided(request)
        return Answer(encode(request, decision), partial(self._note, request, decision, perf_counter() - start))

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

    def _note(self, request: Request, decision: Decision, seconds: float) -> None:
        """Count one review, and log it: what was decided, and how many values each rule changed, by its name."""
        decided = outcome(decision)
        word = "denied" if isinstance(decided, Denied) else "changed" if decided.changes else "allowed"
        only_told = isinstance(decision, ReportOnly) and word != "allowed"
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
