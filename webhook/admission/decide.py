"""What becomes of a Pod: the pure core, from a Request to a Decision, without HTTP, clock, or I/O."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from webhook.admission import denial as refusal
from webhook.admission import earlier
from webhook.admission.applied import applied, operations, standing
from webhook.admission.constraints import Constraints
from webhook.admission.decision import Allowed, Decision, Denied, ReportOnly
from webhook.admission.record import by_name, merged, place
from webhook.admission.wire import Request
from webhook.api.pod import Pod
from webhook.flyte.task import Task, identify, task_of_namespace
from webhook.policy.model import Policy
from webhook.policy.settings import Creator, Settings
from webhook.rules import apply_rules, denial_reason
from webhook.rules.defaulting import default, without_sums
from webhook.rules.effective import computed_qos
from webhook.rules.findings import Change, Verdict
from webhook.rules.over_limit import deny_over_limit
from webhook.rules.quota import check_quotas, cost_of, counted_limits
from webhook.rules.resize import unclampable
from webhook.rules.workload import Workload, workload_of

MOST_NAMED: Final = 20  # values over a maximum that a message names


class Subject(NamedTuple):
    """A Pod of Flyte's that is to be decided about."""

    request: Request
    pod: Pod
    task: Task
    workload: Workload
    constraints: Constraints

    @property
    def settings(self) -> Settings:
        """What the policy says for the task."""
        return self.workload.settings

    @property
    def asked_by(self) -> Creator:
        """Who reads the answer. No Flyte resizes Pods: whoever does is answered as the API server would."""
        return "operator" if self.request.resize else refusal.creator(self.task)

    @property
    def names(self) -> list[str]:
        """The names of its containers, app containers first."""
        spec = self.pod.spec
        return [container.name or "" for container in (*spec.containers, *(spec.init_containers or ()))]


def mutate(request: Request, policy: Policy, constraints: Constraints, today: str) -> Decision:
    """Fill, clamp, tolerate; refuse what would break a quota even so.

    `constraints` are those of the namespace; `today` is YYYY-MM-DD in UTC, for exemptions end.
    """
    if request.problem:
        return _unreadable(request, policy, today)
    subject = _subject(request, policy, constraints, today)
    if subject is None:
        return Allowed()
    return _in_its_mode(subject, _resized(subject) if request.resize else _created(subject))


def _created(subject: Subject) -> Allowed | Denied:
    if denied := _denied_by_policy(subject):
        return denied
    made = applied(subject.workload)
    if made.outgrown and "clamp" not in subject.settings.skips:
        return _too_large(subject.request, made.outgrown, subject.settings)
    verdict = check_quotas(made.workload, made.cost, subject.constraints.quotas, subject.names)
    decided = _judged(subject, verdict, made.changes, made.patch)
    return _noted(subject, replace(decided, notes=made.workload.notes)) if isinstance(decided, Allowed) else decided


def _noted(subject: Subject, decided: Allowed) -> Allowed:
    """Add what an earlier review has left on the Pod, as far as that can be verified."""
    noted = earlier.found(subject.pod)
    changes = _earlier(subject, noted.changes) if noted.changes else ()
    return replace(decided, earlier=changes, omitted=earlier.omitted(subject.pod, noted.omitted), is_noted=True)


def _earlier(subject: Subject, claimed: Sequence[Change]) -> tuple[Change, ...]:
    """Return those of the claimed changes that the rules would make again to the Pod as it was before them."""
    pod, claimed = earlier.undone(subject.pod, claimed)
    replayed = replace(workload_of(pod, subject.task, subject.settings), counted_limits=subject.workload.counted_limits)
    found: tuple[Change, ...] = ()
    for before in without_sums(replayed, after=subject.workload):
        confirmed = earlier.confirmed(claimed, by_name(pod, applied(before).changes))
        if confirmed == claimed:
            return confirmed
        found = max(found, confirmed, key=len)
    return found


def _resized(subject: Subject) -> Allowed | Denied:
    if denied := _denied_by_policy(subject):
        return denied
    clamped, made = apply_rules(subject.workload)
    changes = merged(made)
    if why := _unresizable(subject, clamped, changes):
        return _forbidden(subject, why)
    verdict = check_quotas(clamped, cost_of(default(clamped)[0]), subject.constraints.quotas, subject.names)
    decided = _judged(subject, verdict, changes, operations(subject.workload, changes))
    return replace(decided, notes=clamped.notes) if isinstance(decided, Allowed) else decided


def validate(request: Request, policy: Policy, constraints: Constraints, today: str) -> Decision:
    """Refuse what came in after /mutate: anything over a maximum, or over a quota."""
    if request.problem:
        return _unreadable(request, policy, today)
    subject = _subject(request, policy, constraints, today)
    if subject is None:
        return Allowed()
    if subject.settings.mode == "enforce":
        return _validated(subject)
    # Nothing was changed before, that would have been.
    after = apply_rules(subject.workload)[0] if request.resize else applied(subject.workload).workload
    return _in_its_mode(subject, _validated(subject._replace(workload=after)))


def _validated(subject: Subject) -> Allowed | Denied:
    workload = subject.workload
    if denied := _denied_by_policy(subject):
        return denied
    if not subject.request.resize:
        stands = standing(workload)
        over, asks = stands.over, stands.cost
    else:
        over, asks = (*merged(apply_rules(workload)[1]), *_unclampable(workload)), cost_of(default(workload)[0])
    if over:
        return _forbidden(subject, _over(subject.pod, over))
    return _judged(subject, check_quotas(workload, asks, subject.constraints.quotas, subject.names))


def _subject(request: Request, policy: Policy, constraints: Constraints, today: str) -> Subject | None:
    """Return None for what is not ours to decide: no request that we handle, or no Pod of Flyte's."""
    pod, stored = request.pod, request.old or request.pod  # a resize changes no label, whatever labels it brings
    task = identify(stored, request.namespace, policy.identification) if stored else None
    if pod is None or task is None:
        return None
    settings = policy.settings(task, request.namespace, today)
    workload = workload_of(pod, task, settings, request.old)
    counted = counted_limits(workload, constraints.quotas)
    return Subject(request, pod, task, replace(workload, counted_limits=counted), constraints)


def _in_its_mode(subject: Subject, decision: Allowed | Denied) -> Decision:
    """Return the decision, or only word of it where the mode is not to enforce; the Pod is charged as it came then."""
    if subject.settings.mode == "enforce":
        return decision
    workload = subject.workload
    return ReportOnly(
        decision,
        check_quotas(workload, cost_of(default(workload)[0]), subject.constraints.quotas, subject.names).charges,
    )


def _unreadable(request: Request, policy: Policy, today: str) -> Decision:
    """Refuse what no rule can look at.

    How strictly goes by the namespace alone, for such a Pod does not say whose it is.
    """
    task = task_of_namespace(request.namespace, policy.identification)
    settings = policy.settings(task, request.namespace, today)
    if "clamp" in settings.skips:
        return Allowed(settings=settings)
    denied = _too_large(request, request.problem, settings)
    return denied if settings.mode == "enforce" else ReportOnly(denied)


def _too_large(request: Request, why: str, settings: Settings) -> Denied:
    """Refuse for good: either Flyte takes 413 for final."""
    return Denied(413, refusal.REASONS[413], f'pods "{request.pod_name}" is forbidden: {why}', settings=settings)


def _unresizable(subject: Subject, clamped: Workload, changes: Sequence[Change]) -> str:
    """Return why a resize cannot be clamped: it may not change the QoS class, nor is all of it ours to change."""
    if over := _unclampable(clamped):
        return _over(subject.pod, over)
    workload = subject.workload
    if workload.old is None or not changes:
        return ""
    before, asked, after = map(computed_qos, (workload.old, workload, clamped))
    if not before == asked != after:
        return ""
    what = _over(subject.pod, changes)
    return f"{what}; at the maximum the QoS class would change from {before} to {after}, which no resize may"


def _unclampable(workload: Workload) -> tuple[Change, ...]:
    return () if "clamp" in workload.settings.skips else unclampable(workload)


def _over(pod: Pod, changes: Sequence[Change]) -> str:
    """Return what is too much, by its place in the Pod."""
    found = [
        f"{place(change)} is {change.before or 'not set'}, {change.why}"
        for change in by_name(pod, changes[:MOST_NAMED])
    ]
    left_out = len(changes) - len(found)
    return "; ".join([*found, *([f"and {left_out} more"] if left_out else [])])


def _forbidden(subject: Subject, why: str, code: int = 403) -> Denied:
    """Refuse in the words of the API server's own plugins."""
    message = f'pods "{subject.request.pod_name}" is forbidden: {why}'
    return Denied(code, refusal.REASONS[code], message, settings=subject.settings)


def _denied_by_policy(subject: Subject) -> Denied | None:
    """Return the denial of what the policy does not allow, however much is free."""
    if not subject.request.resize and (why := denial_reason(subject.workload)):
        return _forbidden(subject, why, refusal.NOT_ALLOWED[subject.asked_by])
    if why := deny_over_limit(subject.workload):
        return _forbidden(subject, why, subject.settings.denial_codes.never_fits[subject.asked_by])
    return None


def _judged(
    subject: Subject, verdict: Verdict, changes: tuple[Change, ...] = (), operations: bytes = b""
) -> Allowed | Denied:
    """Return Allowed or Denied, by what the API server would charge for the Pod after the changes."""
    settings = subject.settings
    if not verdict.refuses or "quota" in settings.skips or not subject.constraints.may_deny:
        return Allowed(changes, verdict.charges, settings, operations)
    resize = subject.request.resize
    denied = refusal.refused(subject.request.pod_name, subject.asked_by, settings, verdict, grows=resize)
    return replace(denied, changes=changes)
