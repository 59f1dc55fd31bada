"""The scan of Pods and jobs that run: what would become of each if it were created now."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from webhook.admission import earlier
from webhook.admission.decide import mutate, states_too_much
from webhook.admission.decision import Allowed, Denied, outcome
from webhook.admission.record import by_name
from webhook.api.patch import unescape
from webhook.api.resource_list import DEVICE_CLASS, is_extended
from webhook.cluster.ledger import Ledger
from webhook.flyte.task import Task
from webhook.jobs.role import Role
from webhook.offline.review import constraints_of, counted
from webhook.offline.running import Running, RunningPod
from webhook.policy.model import Policy
from webhook.policy.settings import Mode
from webhook.rules.findings import Change

REFUSED: Final = "refused"
DEVICE_LOWERED: Final = "fewer devices than the task asks for"
OPERATED_LOWERED: Final = "an operator's Pod is lowered, and its operator does not know"
SIDECAR_LIMITED: Final = "a container beside the task gets a limit"


@dataclass(frozen=True, slots=True)
class Scanned:
    """A Pod or job of Flyte's that runs, and what would become of it if it were created now."""

    namespace: str
    kind: str
    name: str
    project: str
    domain: str
    mode: Mode  # in which the outcome is only reported, unless it is `enforce`
    decided: Allowed | Denied
    changes: tuple[Change, ...]  # containers by their names
    has_record: bool  # whether the webhook has changed it when it was created
    is_over_maximum: bool  # whether it states more than a maximum
    risks: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """The word for the decision: refused, changed, unchanged."""
        return REFUSED if isinstance(self.decided, Denied) else "changed" if self.changes else "unchanged"

    @property
    def is_unseen(self) -> bool:
        """Whether the webhook did not review its creation: it has no record of changes, or the policy refuses it.

        It may also have reviewed it under another policy, which needed no change. A refusal for a quota alone proves
        nothing, since the quota may have had room then.
        """
        is_refused = isinstance(self.decided, Denied) and self.decided.outlook is None
        return self.mode == "enforce" and not self.has_record and (bool(self.changes) or is_refused)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for its changes and its refusal, each once, in the words that Pods have in common."""
        found = [_reason(change) for change in self.changes]
        if isinstance(self.decided, Denied):
            found.insert(0, f"{REFUSED}: {_in_brief(self.decided.message)}")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Scan:
    """The findings in the order in which the Pods were created, and what was found beside them."""

    findings: list[Scanned]
    running: Running

    def reasons(self) -> list[tuple[str, int]]:
        """Return the reasons with the number of their Pods, refusals first, then the most frequent."""
        counts = Counter(reason for finding in self.findings for reason in finding.reasons)
        return sorted(counts.items(), key=lambda each: (not each[0].startswith(REFUSED), -each[1]))

    def risks(self) -> list[tuple[str, int]]:
        """Return the risks with the number of their Pods, the most frequent first."""
        return Counter(risk for finding in self.findings for risk in finding.risks).most_common()


def findings(running: Running, ledger: Ledger, policy: Policy, today: str) -> Iterator[Scanned]:
    """Decide about each Pod and job that runs as if all of them were created anew, in the order in which they were.

    The quotas of the ledger count Pods that run. That is taken back first, so that no Pod is charged twice.
    """
    for each in running.pods:
        if each.pod:
            namespace = each.request.namespace
            ledger.release(namespace, counted(each.pod, ledger.quotas(namespace, each.pod.metadata)))
    yield from (_finding(each, ledger, policy, today) for each in running.pods)


def _finding(each: RunningPod, ledger: Ledger, policy: Policy, today: str) -> Scanned:
    request, task, record = each.request, each.task, earlier.found(each.request.metadata)
    constraints = constraints_of(request, ledger)
    decided = outcome(mutate(request, policy, constraints, today))
    if isinstance(decided, Allowed) and request.pod:
        ledger.charge(request.namespace, request.meta, decided.charges)
    return Scanned(
        namespace=request.namespace,
        kind=request.kind,
        name=request.object_name,
        project=task.project,
        domain=task.domain,
        mode=decided.settings.mode,
        decided=decided,
        changes=by_name(request.roles, decided.changes),
        has_record=bool(record.changes or record.omitted),
        is_over_maximum=states_too_much(request, policy, constraints, today),
        risks=tuple(dict.fromkeys(_risks(request.roles, task, decided.changes))),
    )


def _risks(roles: Iterable[Role], task: Task, changes: Iterable[Change]) -> Iterator[str]:
    """Yield what may make a task fail later that runs today."""
    beside = {pointer for role in roles for pointer in _beside(role, task)}
    for change in changes:
        where, _, rest = change.path.partition("/resources/")
        side, _, step = rest.partition("/")
        name = unescape(step)
        if change.rule == "clamp" and (is_extended(name) or name.startswith(DEVICE_CLASS)):
            yield DEVICE_LOWERED
        if change.rule == "clamp" and task.operated:
            yield OPERATED_LOWERED
        if side == "limits" and where in beside and (change.before is None or change.rule == "clamp"):
            yield SIDECAR_LIMITED


def _beside(role: Role, task: Task) -> Iterator[str]:
    """Yield the pointers of the containers that run as long as the task, beside it."""
    for pointer, container in role.containers():
        is_init = pointer.startswith(f"{role.at}/spec/initContainers/")
        if container.restart_policy == "Always" if is_init else pointer != role.at + task.primary:
            yield pointer


def _reason(change: Change) -> str:
    """Return the change as far as Pods have it in common."""
    if change.path.endswith("/-"):
        return f"tolerate {change.after.get('key', 'everything')}: {change.why}"
    verb = "remove" if change.after is None else "lower" if change.rule == "clamp" else "set"
    what = f"{change.side}.{change.resource}" if change.side else unescape(change.path.rpartition("/")[2])
    return f"{verb} {what}: {change.why}"


def _in_brief(message: str) -> str:
    """Return a refusal without the name of the Pod and the amounts."""
    return message.partition(" is forbidden: ")[2].partition(", requested: ")[0].partition(";")[0]


def as_data(found: Scan, policy: Policy) -> dict[str, Any]:
    """Return the scan for programs."""
    return {
        "policy": policy.digest,
        "ended": found.running.ended,
        "others": found.running.others,
        "reasons": dict(found.reasons()),
        "risks": dict(found.risks()),
        "found": [_as_data(finding) for finding in found.findings],
    }


def _as_data(finding: Scanned) -> dict[str, Any]:
    data: dict[str, Any] = {
        "namespace": finding.namespace,
        "kind": finding.kind,
        "name": finding.name,
        "project": finding.project,
        "domain": finding.domain,
        "mode": finding.mode,
        "outcome": finding.outcome,
        "over_maximum": finding.is_over_maximum,
        "has_record": finding.has_record,
        "unseen": finding.is_unseen,
        "risks": list(finding.risks),
        "changes": msgspec.to_builtins(finding.changes),
    }
    if isinstance(finding.decided, Denied):
        data |= {"code": finding.decided.code, "message": finding.decided.message}
    return data
