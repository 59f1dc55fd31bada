"""What becomes of a Pod or a job: the pure core, from a Request to a Decision, without HTTP, clock, or I/O."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from webhook.admission import denial as refusal
from webhook.admission import earlier
from webhook.admission.applied import Applied, Standing, applied, as_it_is, operations, standing
from webhook.admission.constraints import Constraints
from webhook.admission.decision import Allowed, Decision, Denied, ReportOnly
from webhook.admission.record import by_name, merged, place
from webhook.admission.wire import Request
from webhook.api.limit_range import ranges_of
from webhook.api.pod import Pod, containers
from webhook.api.resource_quota import Charges
from webhook.flyte.task import Identification, Task, identify, primary, task_of_namespace
from webhook.jobs.role import Role
from webhook.policy.model import Policy
from webhook.policy.settings import Creator, Settings
from webhook.rules import apply_rules, denial_reason
from webhook.rules.defaulting import default, without_sums
from webhook.rules.effective import computed_qos
from webhook.rules.findings import Change, Verdict
from webhook.rules.over_limit import deny_over_limit, over_maximum
from webhook.rules.quota import Asked, Cost, check_quotas, cost_of, counted_limits
from webhook.rules.replicas import deny_replicas
from webhook.rules.resize import unclampable
from webhook.rules.workload import Workload, workload_of

MOST_NAMED: Final = 20  # values over a maximum that a message names


class Part(NamedTuple):
    """Pods that are alike: the Pod itself, or those of one role of a job."""

    role: Role
    workload: Workload

    def asks(self, workload: Workload, cost: Cost) -> Asked:
        """Return what all its Pods ask for, each of this workload and cost."""
        names = [container.name or "" for _, container in containers(self.role.pod)]
        return Asked(workload, cost, names, self.role.name, self.role.count)


class Subject(NamedTuple):
    """A Pod or a job of Flyte's that is to be decided about."""

    request: Request
    task: Task
    settings: Settings  # what the policy says for the task
    parts: Sequence[Part]
    constraints: Constraints

    @property
    def asked_by(self) -> Creator:
        """Who reads the answer. No Flyte resizes Pods: whoever does is answered as the API server would."""
        return "operator" if self.request.resize else refusal.creator(self.task, is_job=self.request.job is not None)


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
    made = [applied(part.workload) if part.role.is_ours else as_it_is(part.workload) for part in subject.parts]
    outgrown = next((each.outgrown for each in made if each.outgrown), "")
    if outgrown and "clamp" not in subject.settings.skips:
        return _too_large(subject.request, outgrown, subject.settings)
    asked = [_settled(part, each) for part, each in zip(subject.parts, made, strict=True)]
    decided = _judged(subject, asked, *_written(subject, made))
    if isinstance(decided, Denied):
        return decided
    notes = [
        part.role.named(note)
        for part, each in zip(subject.parts, made, strict=True)
        for note in (*part.role.notes, *each.workload.notes)
    ]
    return _noted(subject, replace(decided, notes=tuple(notes)))


def _settled(part: Part, made: Applied) -> Asked:
    """Return what the Pods ask for that are made of the object once it has the changes."""
    settled = part.role.settled(made.workload)
    return part.asks(settled, made.cost if settled is made.workload else applied(settled).cost)


def _written(subject: Subject, made: Sequence[Applied]) -> tuple[tuple[Change, ...], bytes]:
    """Return the changes of the object, and the operations of a JSON Patch that makes them."""
    if subject.request.job is None:
        return made[0].changes, made[0].patch
    changes: list[Change] = []
    beside: list[Change] = []
    absent: set[str] = set()
    for part, each in zip(subject.parts, made, strict=True):
        if each.changes:
            written = part.role.written(each.workload, each.changes)
            changes += written
            beside += part.role.beside(each.workload, written)
            absent.update(part.role.absent(part.workload))
    in_order = merged(changes)  # as the record has them
    return in_order, operations([*in_order, *beside], absent)


def _noted(subject: Subject, decided: Allowed) -> Allowed:
    """Add what an earlier review has left on the object, as far as that can be verified."""
    noted = earlier.found(subject.request.metadata)
    changes = [change for part in subject.parts if noted.changes for change in _earlier(part, noted.changes, subject)]
    return replace(decided, earlier=tuple(changes), is_noted=True)


def _earlier(part: Part, noted: Sequence[Change], subject: Subject) -> tuple[Change, ...]:
    """Return those of the claimed changes that the rules would make again to the Pods as they were before them."""
    role = part.role
    in_pod = [replace(change, path=path) for change in noted if (path := role.in_pod(change.path))]
    pod, claimed = earlier.undone(role.pod, in_pod)
    role = role.before(pod, noted)
    replayed = _workload(role, subject.task, subject.settings, subject.constraints)
    found: tuple[Change, ...] = ()
    for before in without_sums(replayed, after=part.workload):
        made = applied(before)
        confirmed = earlier.confirmed(claimed, by_name([Role("", pod)], made.changes))
        in_object = [replace(change, path=role.in_object(change.path)) for change in confirmed]
        again = [change for change in role.consequences(made.workload, made.changes) if change in noted]
        if confirmed == claimed:
            return (*in_object, *again)
        found = max(found, (*in_object, *again), key=len)
    return found


def _resized(subject: Subject) -> Allowed | Denied:
    if denied := _denied_by_policy(subject):
        return denied
    (part,) = subject.parts
    clamped, made = apply_rules(part.workload)
    changes = merged(made)
    if why := _unresizable(part, clamped, changes):
        return _forbidden(subject, why)
    asked = [part.asks(clamped, cost_of(default(clamped)[0]))]
    decided = _judged(subject, asked, changes, operations(changes, part.workload.absent))
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
    after = [part._replace(workload=_changed(part.workload)) if part.role.is_ours else part for part in subject.parts]
    return _in_its_mode(subject, _validated(subject._replace(parts=after)))


def _changed(workload: Workload) -> Workload:
    return applied(workload).workload if workload.old is None else apply_rules(workload)[0]


def _validated(subject: Subject) -> Allowed | Denied:
    if denied := _denied_by_policy(subject):
        return denied
    stands = [_standing(part) for part in subject.parts]
    over = [
        change
        for part, each in zip(subject.parts, stands, strict=True)
        if part.role.is_ours and each.over
        for change in part.role.written(each.after, each.over)
    ]
    if over:
        return _forbidden(
            subject, _over(subject.request.roles, over), refusal.NOT_ALLOWED["job"] if subject.request.job else 403
        )
    asked = [part.asks(part.workload, each.cost) for part, each in zip(subject.parts, stands, strict=True)]
    return _judged(subject, asked)


def states_too_much(request: Request, policy: Policy, constraints: Constraints, today: str) -> bool:
    """Return whether the Pod or job, as it comes, states more than a maximum, whatever the policy makes of that."""
    subject = _subject(request, policy, constraints, today)
    return subject is not None and any(
        True for part in subject.parts if part.role.is_ours for _ in over_maximum(part.workload)
    )


def _standing(part: Part) -> Standing:
    workload = part.workload
    if workload.old is None:
        return standing(workload)
    clamped, made = apply_rules(workload)
    return Standing(clamped, (*merged(made), *_unclampable(workload)), cost_of(default(workload)[0]))


def task_of(request: Request, how: Identification) -> Task | None:
    """Return the task of the Pod or job; None for what is not ours to decide.

    That is a request that we do not handle, what is not Flyte's, and a job that an operator derived from another one.
    """
    if request.job:
        task = identify(Pod(request.job.metadata), request.namespace, how)
        return None if task and task.operated else task
    stored = request.old or request.pod  # a resize changes no label, whatever labels it brings
    return identify(stored, request.namespace, how) if stored else None


def _subject(request: Request, policy: Policy, constraints: Constraints, today: str) -> Subject | None:
    task = task_of(request, policy.identification)
    if task is None:
        return None
    settings = policy.settings(task, request.namespace, today)
    parts = [Part(role, _workload(role, task, settings, constraints, request.old)) for role in request.roles]
    return Subject(request, task, settings, parts, constraints)


def _workload(role: Role, task: Task, settings: Settings, constraints: Constraints, old: Pod | None = None) -> Workload:
    """Return the Workload of the Pods of the role, with what quotas and LimitRanges demand of it."""
    workload = workload_of(role.pod, _task_of(role, task), settings, old, fixed=role.fixed).on(constraints.kubernetes)
    counted = counted_limits(workload, constraints.quotas)
    return replace(workload, counted_limits=counted, ranges=ranges_of(constraints.limit_ranges))


def _task_of(role: Role, task: Task) -> Task:
    """Return the task as the Pods of this role have it, which an operator makes."""
    return replace(task, primary=primary(role.pod), operated=True) if role.name else task


def _in_its_mode(subject: Subject, decision: Allowed | Denied) -> Decision:
    """Return the decision, or only word of it where the mode is not to enforce; the Pod is charged as it came then."""
    if subject.settings.mode == "enforce":
        return decision
    asked = [part.asks(part.workload, cost_of(default(part.workload)[0])) for part in subject.parts]
    return ReportOnly(decision, _charges(subject, check_quotas(asked, subject.constraints.quotas)))


def _charges(subject: Subject, verdict: Verdict) -> Charges:
    """Return what is charged from now on: nothing for a job, whose Pods are charged when they are created."""
    return {} if subject.request.job else verdict.charges


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
    return Denied(413, refusal.REASONS[413], f"{request.who} is forbidden: {why}", settings=settings)


def _unresizable(part: Part, clamped: Workload, changes: Sequence[Change]) -> str:
    """Return why a resize cannot be clamped: it may not change the QoS class, nor is all of it ours to change."""
    if over := _unclampable(clamped):
        return _over([part.role], over)
    asked = part.workload
    if asked.old is None or not changes:
        return ""
    before, wanted, after = map(computed_qos, (asked.old, asked, clamped))
    if not before == wanted != after:
        return ""
    what = _over([part.role], changes)
    return f"{what}; at the maximum the QoS class would change from {before} to {after}, which no resize may"


def _unclampable(workload: Workload) -> tuple[Change, ...]:
    return () if "clamp" in workload.settings.skips else unclampable(workload)


def _over(roles: Iterable[Role], changes: Sequence[Change]) -> str:
    """Return what is too much, by its place in the object."""
    found = [
        f"{place(change)} is {change.before or 'not set'}, {change.why}"
        for change in by_name(roles, changes[:MOST_NAMED])
    ]
    left_out = len(changes) - len(found)
    return "; ".join([*found, *([f"and {left_out} more"] if left_out else [])])


def _forbidden(subject: Subject, why: str, code: int = 403) -> Denied:
    """Refuse in the words of the API server's own plugins."""
    return Denied(code, refusal.REASONS[code], f"{subject.request.who} is forbidden: {why}", settings=subject.settings)


def _denied_by_policy(subject: Subject) -> Denied | None:
    """Return the denial of what the policy does not allow, however much is free."""
    asked_by = subject.asked_by
    workers = [(part.role.name, part.role.most) for part in subject.parts if part.role.are_workers]
    if why := deny_replicas(subject.request.kind, workers, subject.settings):
        return _forbidden(subject, why, subject.settings.denial_codes.never_fits[asked_by])
    for part in (part for part in subject.parts if part.role.is_ours):
        if not subject.request.resize and (why := denial_reason(part.workload)):
            return _forbidden(subject, part.role.named(why), refusal.NOT_ALLOWED[asked_by])
        if why := deny_over_limit(part.workload):
            return _forbidden(subject, part.role.named(why), subject.settings.denial_codes.never_fits[asked_by])
    return None


def _judged(
    subject: Subject, asked: Sequence[Asked], changes: tuple[Change, ...] = (), operations: bytes = b""
) -> Allowed | Denied:
    """Return Allowed or Denied, by what the API server would charge for the Pods after the changes."""
    settings, job = subject.settings, subject.request.job
    verdict = check_quotas(asked, subject.constraints.quotas)
    allowed = Allowed(changes, _charges(subject, verdict), settings, operations)
    if "quota" in settings.skips or not subject.constraints.may_deny:
        return allowed
    if job and verdict.is_negative:  # the API server would refuse only the Pods of that role, one after the other
        return replace(_forbidden(subject, str(verdict.violations[0]), refusal.NOT_ALLOWED["job"]), changes=changes)
    waits = bool(job and job.is_suspended) and verdict.outlook == "fits-later"
    if not verdict.refuses or waits:
        return allowed
    words = refusal.OF_JOB if job else refusal.OF_RESIZE if subject.request.resize else refusal.OF_POD
    decided = refusal.refused(subject.request.who, subject.asked_by, settings, verdict, words=words)
    if isinstance(decided, Allowed):
        return replace(decided, changes=changes, patch=operations)
    return replace(decided, changes=changes)
