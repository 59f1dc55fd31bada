"""The review behind an endpoint: decode, decide, confirm an unconfirmed denial, encode, count and log."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple, TypeAlias

from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decision import Allowed, Decision, Denied, ReportOnly, outcome
from webhook.admission.wire import Request
from webhook.api.resource_quota import ResourceQuota
from webhook.flyte.task import identify
from webhook.policy.model import Policy
from webhook.server.state import State
from webhook.shared.clock import today
from webhook.telemetry import logs
from webhook.telemetry.metrics import Reviewed

# The last argument is the date in UTC, YYYY-MM-DD.
Decide: TypeAlias = Callable[[Request, Policy, Constraints, str], Decision]


class Answer(NamedTuple):
    """An AdmissionReview in JSON, and the call that counts and logs it once it is sent."""

    body: bytes
    report: Callable[[], object]


class Reviewer:
    """The reviewer of one endpoint."""

    def __init__(self, path: str, decide: Decide, state: State) -> None:
        """Take the pure function that decides, and the state that it decides by."""
        self._path = path
        self._decide = decide
        self._state = state

    async def review(self, body: bytes | bytearray) -> Answer:
        """Answer the review in the body; BadReviewError if it is not a review.

        A denial by cached quotas is unconfirmed, and decided once more on live ones.
        """
        start = perf_counter()
        request = wire.decode(body)
        decision, cluster = self._decide_and_charge(request), self._state.cluster
        if isinstance(decision, Denied) and decision.outlook and cluster:
            decision = self._confirm(request, decision, await cluster.live(request.namespace))
        return Answer(encode(request, decision), partial(self._report, request, decision, perf_counter() - start))

    def oversized(self, head: bytes) -> Answer:
        """Deny a review that is too large to be kept, by how it begins; BadReviewError if that is not one."""
        start = perf_counter()
        request = wire.undecoded(head, "larger than any Pod that can be stored")
        decision = self._decide_and_charge(request)
        return Answer(encode(request, decision), partial(self._report, request, decision, perf_counter() - start))

    def _decide_and_charge(self, request: Request) -> Decision:
        """Decide, and charge what is admitted; without an await between the two."""
        day = today()
        if request.pod is None:
            return self._decide(request, self._state.policy, Constraints(), day)
        decision = self._decide(request, self._state.policy, Constraints(self._quotas(request)), day)
        if not isinstance(decision, Denied) and not request.dry_run:
            self._state.quota_source.charge(request.namespace, request.meta, decision.charges, resize=request.resize)
        return decision

    def _quotas(self, request: Request) -> Sequence[ResourceQuota]:
        return self._state.quota_source.quotas(request.namespace, request.meta, resize=request.resize)

    def _confirm(self, request: Request, denied: Denied, quotas: Sequence[ResourceQuota] | None) -> Decision:
        """Decide by live quotas; without them, by the cached ones, but deny nothing.

        A stale cache must not deny a Pod. The API server's own quota check still sees each Pod that passes here.
        """
        policy = self._state.policy
        if quotas is None:
            self._state.metrics.denial_rechecked("failed")
            logs.warning("refusal not confirmed, the Pod is let pass", uid=request.uid, namespace=request.namespace,
                         pod=request.pod_name, refusal=denied.message)  # fmt: skip
            return self._decide(request, policy, Constraints(self._quotas(request), may_deny=False), today())
        decision = self._decide(request, policy, Constraints(quotas), today())
        self._state.metrics.denial_rechecked("confirmed" if isinstance(decision, Denied) else "overturned")
        return decision

    def _report(self, request: Request, decision: Decision, seconds: float) -> None:
        """Count and log one review, with the number of changes by rule."""
        decided = outcome(decision)
        word = "denied" if isinstance(decided, Denied) else "changed" if decided.changes else "allowed"
        if isinstance(decision, ReportOnly) and word != "allowed":
            word = f"would_be_{word}"
        counts = Counter[str](change.rule for change in decided.changes)
        reviewed = Reviewed(self._path, word, self._domain(request), request.namespace, seconds)
        self._state.metrics.answered(reviewed, decision, counts)
        self._remember(request, decided, word, counts)
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

    def _domain(self, request: Request) -> str:
        """Return the domain of the task, or "other" if the policy does not name it: a label must be bounded."""
        how = self._state.policy.identification
        task = identify(request.pod, request.namespace, how) if request.pod else None
        return task.domain if task and task.domain in how.namespaces.domains else "other"

    def _remember(self, request: Request, decided: Allowed | Denied, word: str, counts: Iterable[str]) -> None:
        """Add the review to the history of the last hour, for the status page."""
        history = self._state.history
        if isinstance(decided, Denied):
            reason = decided.outlook or decided.reason
            history.add(word, reason)
            history.refuse(word, reason, request.namespace, request.pod_name, decided.message)
        else:
            history.add(word, ", ".join(sorted(counts)))
