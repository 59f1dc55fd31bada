"""The review behind an endpoint: decode, decide, confirm an unconfirmed denial, encode, count and log."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import takewhile
from time import perf_counter
from typing import Final, NamedTuple, TypeAlias, TypeGuard

from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import task_of
from webhook.admission.decision import Allowed, Decision, Denied, ReportOnly, outcome
from webhook.admission.wire import Request
from webhook.api.resource_quota import ResourceQuota
from webhook.cluster.reservations import Reservation
from webhook.policy.model import Policy
from webhook.server.state import Cluster, State
from webhook.shared.clock import today
from webhook.telemetry import logs
from webhook.telemetry.history import Refusal
from webhook.telemetry.metrics import Reviewed

WAITS: Final = (0.0, 0.02, 0.04, 0.08, 0.16, 0.3, 0.35)  # seconds before each live read; in all more than HELD
LONGEST_WAIT: Final = 0.65  # seconds after which no wait begins: the API server has its answer within two
# The last argument is the date in UTC, YYYY-MM-DD.
Decide: TypeAlias = Callable[[Request, Policy, Constraints, str], Decision]
Decided: TypeAlias = tuple[Decision, Sequence[ResourceQuota]]  # and by which quotas


class Answer(NamedTuple):
    """An AdmissionReview in JSON, and the call that counts and logs it once it is sent."""

    body: bytes
    report: Callable[[], object]


class Reviewer:
    """The reviewer of one endpoint."""

    def __init__(
        self,
        path: str,
        decide: Decide,
        state: State,
        *,
        is_last: bool = False,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Take the pure function that decides, and the state that it decides by.

        Nothing but the API server's own quota check follows the last review of a Pod, so it counts what is under way.
        """
        self._clock = clock
        self._path = path
        self._decide = decide
        self._state = state
        self._is_last = is_last

    async def review(self, body: bytes | bytearray) -> Answer:
        """Answer the review in the body; BadReviewError if it is not a review."""
        start = perf_counter()
        request = wire.decode(body)
        decision = await self._decided(request) if request.roles else self._decided_by(request, Constraints())
        return Answer(encode(request, decision), partial(self._report, request, decision, perf_counter() - start))

    def oversized(self, head: bytes) -> Answer:
        """Deny a review that is too large to be kept, by how it begins; BadReviewError if that is not one."""
        start = perf_counter()
        request = wire.undecoded(head, "larger than any Pod that can be stored")
        decision = self._decided_by(request, Constraints())
        return Answer(encode(request, decision), partial(self._report, request, decision, perf_counter() - start))

    def _decided_by(self, request: Request, constraints: Constraints) -> Decision:
        return self._decide(request, self._state.policy, constraints, today())

    def _constraints(self, request: Request, quotas: Sequence[ResourceQuota], *, may_deny: bool = True) -> Constraints:
        source = self._state.cluster or self._state.ledger
        return Constraints(quotas, source.limit_ranges(request.namespace), source.kubernetes, may_deny)

    async def _decided(self, request: Request) -> Decision:
        """Decide, and charge what is let through; without an await between the last decision and the charge."""
        if cluster := self._state.cluster:
            decision, quotas = await self._decided_in(cluster, request)
            if self._is_last and _is_charged(decision, request):
                cluster.reservations.reserve(_reservation(request, decision), quotas)
            return decision
        ledger, meta, resize = self._state.ledger, request.meta, request.resize
        quotas = ledger.quotas(request.namespace, meta, resize=resize)
        decision = self._decided_by(request, self._constraints(request, quotas))
        if _is_charged(decision, request):
            ledger.charge(request.namespace, meta, decision.charges, resize=resize)
        return decision

    async def _decided_in(self, cluster: Cluster, request: Request) -> Decided:
        """Decide by cached quotas, and again by live ones where these deny the Pod or come close to it.

        A stale cache must not deny a Pod. Where live quotas cannot be read, the Pod is let pass: the API server's own
        quota check comes after us.
        """
        quotas = cluster.quotas(request.namespace)
        decision = self._decided_by(request, self._constraints(request, quotas))
        if isinstance(decision, Denied) and decision.outlook:
            if live := await self._decided_live(cluster, request):
                self._state.metrics.denial_rechecked("confirmed" if isinstance(live[0], Denied) else "overturned")
                return live
            self._state.metrics.denial_rechecked("failed")
            logs.warning("refusal not confirmed, the request is let pass", uid=request.uid, namespace=request.namespace,
                         kind=request.kind, name=request.object_name, refusal=decision.message)  # fmt: skip
            quotas = cluster.quotas(request.namespace)
            return self._decided_by(request, self._constraints(request, quotas, may_deny=False)), quotas
        if self._has_room(cluster, request, decision, quotas, live=False):
            return decision, quotas
        return await self._decided_live(cluster, request) or (decision, quotas)

    async def _decided_live(self, cluster: Cluster, request: Request) -> Decided | None:
        """Decide by live quotas; None without them.

        While there is room for the Pod, but not beside what is under way, read them again: they may have that already.
        """
        start, decided, is_settled = self._clock(), None, True
        for wait in takewhile(lambda _: self._clock() - start <= LONGEST_WAIT, WAITS):
            quotas = await cluster.live(request.namespace, wait)
            if quotas is None:
                break
            decision = self._decided_by(request, self._constraints(request, quotas))
            decided = decision, quotas
            is_settled = self._has_room(cluster, request, decision, quotas, live=True)
            if is_settled:
                break
        if wait:
            self._state.metrics.waited("settled" if is_settled else "unsettled")
        if decided and not is_settled:
            return decided[0], ()  # reserve nothing: the API server may refuse it, and nobody should wait for that
        return decided

    def _has_room(
        self, cluster: Cluster, request: Request, decision: Decision, quotas: Sequence[ResourceQuota], *, live: bool
    ) -> bool:
        """Return whether the Pod has room beside what is under way, if it is let through because it fits."""
        if not (self._is_last and request.pod and isinstance(decision, Allowed)) or "quota" in decision.settings.skips:
            return True
        return cluster.reservations.leave_room(_reservation(request, decision), quotas, live=live)

    def _report(self, request: Request, decision: Decision, seconds: float) -> None:
        """Count and log one review, with the number of changes by rule."""
        decided = outcome(decision)
        word = "denied" if isinstance(decided, Denied) else "changed" if decided.changes else "allowed"
        if isinstance(decision, ReportOnly) and word != "allowed":
            word = f"would_be_{word}"
        counts = Counter[str](change.rule for change in decided.changes)
        reviewed = Reviewed(self._path, word, self._domain(request), request.namespace, seconds)
        self._state.metrics.answered(reviewed, decision, counts)
        if request.job:
            self._state.metrics.job_answered(request.kind, word)
        self._remember(request, decided, word, counts)
        refusal = {"refusal": decided.message, "code": decided.code} if isinstance(decided, Denied) else {}
        logs.info(
            "review",
            endpoint=self._path,
            decision=word,
            mode=decided.settings.mode,
            uid=request.uid,
            namespace=request.namespace,
            kind=request.kind,
            name=request.object_name,
            dry_run=request.dry_run,
            milliseconds=round(seconds * 1000, 3),
            changes=counts,
            **refusal,
        )

    def _domain(self, request: Request) -> str:
        """Return the domain of the task, or "other" if the policy does not name it: a label must be bounded."""
        how = self._state.policy.identification
        task = task_of(request, how)
        return task.domain if task and task.domain in how.namespaces.domains else "other"

    def _remember(self, request: Request, decided: Allowed | Denied, word: str, counts: Iterable[str]) -> None:
        """Add the review to the history of the last hour, for the status page."""
        history = self._state.history
        if isinstance(decided, Denied):
            reason = decided.outlook or decided.reason
            history.add(word, reason)
            who = request.namespace, request.object_name
            history.refuse(Refusal(*who, word, reason, decided.message, request.dry_run))
        else:
            history.add(word, ", ".join(sorted(counts)))


def _is_charged(decision: Decision, request: Request) -> TypeGuard[Allowed | ReportOnly]:
    """Return whether the API server is about to charge the request: a Pod, not a job that is made of Pods later."""
    return not isinstance(decision, Denied) and not request.dry_run and request.pod is not None


def _reservation(request: Request, decision: Allowed | ReportOnly) -> Reservation:
    return Reservation(request.namespace, request.meta.name or "", decision.charges)
