"""The review of Pods from a file: the decisions of /mutate, without a server."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jsonpatch
import msgspec
from msgspec.structs import replace

from webhook.admission import wire
from webhook.admission.answer import patch_of
from webhook.admission.applied import operations
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate, task_of
from webhook.admission.decision import Allowed, Decision, Denied, ReportOnly, outcome
from webhook.admission.record import by_name, in_brief
from webhook.admission.wire import BadReviewError, Request
from webhook.api.pod import Pod, containers, decode, decode_new
from webhook.api.resource_list import text
from webhook.api.resource_quota import Charges, ResourceQuota
from webhook.api.version import NEWEST, Version
from webhook.api.wire import plainly
from webhook.cluster.ledger import Ledger
from webhook.flyte.task import Identification, Task, is_flytes
from webhook.jobs import KINDS
from webhook.jobs.role import Role
from webhook.offline import manifests
from webhook.offline.limit_ranger import with_defaults
from webhook.offline.manifests import Manifest
from webhook.policy.model import Policy
from webhook.policy.settings import Settings
from webhook.rules import quota
from webhook.rules.defaulting import default, hand_over
from webhook.rules.workload import workload_of

Decide: TypeAlias = Callable[[Request, Policy, Constraints, str], Decision]
JOBS = {kind.name: (group, resource) for (group, resource), kind in KINDS.items()}
LABELS = ("execution-id", "flyte.org/run", "flyte.org/managed: true")
REVIEWED = ("Pod", *JOBS, "AdmissionReview")


@dataclass(frozen=True, slots=True)
class Report:
    """One Pod or job and its decision; `stored` is what would be stored, None if it is refused."""

    request: Request
    decision: Decision
    stored: dict[str, Any] | None
    has_ended: bool = False

    @property
    def decided_outcome(self) -> str:
        """The word for the decision, in whatever mode: refused, changed, unchanged, or ignored.

        What is not Flyte's, has ended, or is derived from a job, and a request that the webhook does not review, is
        ignored.
        """
        if self.ignored_for:
            return "ignored"
        decided = outcome(self.decision)
        return "refused" if isinstance(decided, Denied) else "changed" if decided.changes else "unchanged"

    @property
    def outcome(self) -> str:
        """The word for the decision; for changes and refusals that are only reported it begins with "would be "."""
        word, reported = self.decided_outcome, isinstance(self.decision, ReportOnly)
        return f"would be {word}" if reported and word in ("refused", "changed") else word

    @property
    def ignored_for(self) -> str:
        """Why the webhook does not decide about this; empty if it does."""
        request = self.request
        if self.has_ended:
            return "it has ended"
        if request.problem or task_of(request, Identification()):
            return ""
        if not request.roles:
            return "the webhook decides about the creation of Pods and jobs, and the resize of Pods, alone"
        if request.job and is_flytes(request.job.metadata):
            return "an operator derived it from another object"
        return f"not of a Flyte task: it has no label {', '.join(LABELS[:-1])}, or {LABELS[-1]}"


def reports(text: str, file: str, policy: Policy, ledger: Ledger, today: str) -> list[Report]:
    """Review each Pod and job of the file in turn, and charge the admitted ones, as in the local mode of `serve`.

    ProblemsError says what is not valid, and where.
    """
    return [_report(manifest, policy, ledger, today) for manifest in manifests.read(text, file, REVIEWED)]


def _report(manifest: Manifest, policy: Policy, ledger: Ledger, today: str) -> Report:
    try:
        request, stored = request_of(manifest, ledger)
    except BadReviewError as error:
        raise manifest.problem(plainly(str(error))) from error
    if manifest.has_ended:
        return Report(request, Allowed(), stored, has_ended=True)
    if manifest.is_stored:
        pod = as_it_runs(manifest)
        ledger.release(request.namespace, counted(pod, ledger.quotas(request.namespace, pod.metadata)))
    decision = decide(request, policy, ledger, today)
    if isinstance(decision, Denied):
        return Report(request, decision, None)
    if request.pod and not request.dry_run:
        ledger.charge(request.namespace, request.meta, decision.charges, resize=request.resize)
    if isinstance(decision, Allowed) and decision.changes:
        stored = _patched(stored, patch_of(request, decision))
    return Report(request, decision, stored)


def decide(request: Request, policy: Policy, ledger: Ledger, today: str, endpoint: Decide = mutate) -> Decision:
    """Return the decision under the quotas of the ledger, which are not charged yet."""
    return endpoint(request, policy, constraints_of(request, ledger), today)


def constraints_of(request: Request, ledger: Ledger) -> Constraints:
    """Return what the namespace demands, without what is charged for this Pod already."""
    quotas = ledger.quotas(request.namespace, request.meta, resize=request.resize)
    return Constraints(quotas, ledger.limit_ranges(request.namespace), ledger.kubernetes)


def as_it_runs(manifest: Manifest) -> Pod:
    """Return the Pod with its status, which counts while it is resized; ProblemsError if it cannot be read."""
    try:
        return decode(msgspec.json.encode(manifest.data))
    except msgspec.DecodeError as error:
        raise manifest.problem(plainly(str(error))) from error


def counted(pod: Pod, quotas: Iterable[ResourceQuota]) -> Charges:
    """Return what the quotas count for a Pod that runs."""
    return quota.counted(default(workload_of(pod, Task(1), Settings()))[0], quotas)


def request_of(manifest: Manifest, ledger: Ledger | None = None) -> tuple[Request, dict[str, Any]]:
    """Return the request, and its object.

    The manifest of a Pod first gets the defaults of the API server, and of the LimitRanges if it is a new one.
    ProblemsError for a manifest that is not a Pod or job, BadReviewError for an AdmissionReview that is not one.
    """
    if manifest.kind == "AdmissionReview":
        request = wire.decode(msgspec.json.encode(manifest.data))
        return request, manifest.data["request"].get("object")
    metadata = manifest.data.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    group, resource = JOBS.get(manifest.kind, ("", "pods"))
    review = {
        "apiVersion": wire.API_VERSION,
        "kind": wire.KIND,
        "request": {
            "uid": "review",
            "operation": "CREATE",
            "resource": {"group": group, "resource": resource},
            "namespace": namespace or "default",
            "object": manifest.data,
        },
    }
    request = wire.decode(msgspec.json.encode(review))
    if request.problem:
        raise manifest.problem(request.problem)
    if request.pod is None:
        return request, manifest.data
    stored = _defaulted(manifest.data, request.pod, ledger.kubernetes if ledger else NEWEST)
    if ledger and not manifest.is_stored:
        stored = with_defaults(stored, ledger.limit_ranges(request.namespace))
    return replace(request, pod=decode_new(msgspec.json.encode(stored))), stored


def _defaulted(data: dict[str, Any], pod: Pod, kubernetes: Version) -> dict[str, Any]:
    """Return the manifest of the Pod as the API server of that version completes it."""
    workload = workload_of(pod, Task(1), Settings()).on(kubernetes)
    changes = hand_over(workload)[1]
    return _patched(data, b"[%b]" % operations(changes, workload.absent)) if changes else data


def _patched(data: dict[str, Any], patch: bytes) -> dict[str, Any]:
    patched: dict[str, Any] = jsonpatch.apply_patch(data, msgspec.json.decode(patch))
    return patched


def as_data(report: Report) -> dict[str, Any]:
    """Return the report for programs: outcome, changes, message of a denial, resulting object."""
    decided = outcome(report.decision)
    data: dict[str, Any] = {
        report.request.kind.lower(): report.request.object_name,
        "namespace": report.request.namespace,
        "outcome": report.outcome,
        **({"why": report.ignored_for} if report.ignored_for else {}),
        "changes": msgspec.to_builtins(by_name(report.request.roles, decided.changes)),
        "notes": [*_notes(decided)],
    }
    if isinstance(decided, Denied):
        data |= {"code": decided.code, "reason": decided.reason, "message": decided.message}
    elif decided.waits:
        data["waits"] = decided.waits
    return data | {"result": report.stored}


def as_text(report: Report) -> Iterator[str]:
    """Yield the report for people."""
    decided = outcome(report.decision)
    why = f" ({report.ignored_for})" if report.ignored_for else ""
    yield f"{report.request.namespace}/{report.request.object_name}: {report.outcome}{why}"
    yield from (f"  {in_brief(change)}" for change in by_name(report.request.roles, decided.changes))
    yield from (f"  {note}" for note in _notes(decided))
    if isinstance(decided, Denied):
        yield f"  {decided.code} {decided.reason}: {decided.message}"
    elif report.outcome != "ignored":
        yield from [f"  waits: {decided.waits}"] if decided.waits else []
        yield "  result:"
        yield from (f"    {line}" for role in _result(report) for line in _summary(role))


def _notes(decided: Allowed | Denied) -> Sequence[str]:
    return decided.notes if isinstance(decided, Allowed) else ()


def _result(report: Report) -> Iterable[Role]:
    """Return the roles of the resulting job; a Pod is its only role."""
    data = msgspec.json.encode(report.stored)
    if report.request.job is None:
        return [Role("", decode(data))]
    return KINDS[JOBS[report.request.kind]].decode(msgspec.Raw(data)).roles


def _summary(role: Role) -> Iterable[str]:
    """Yield the number of Pods, and requests, limits and tolerations of each."""
    indent = "  " if role.name else ""
    if role.name:
        yield f"{role.name}: {role.count} Pod{'s'[: role.count != 1]}"
    for _, container in containers(role.pod):
        for side, resources in (("requests", container.requests), ("limits", container.limits)):
            yield f"{indent}{container.name}: {side} {text(resources, sorted(resources)) or 'nothing'}"
    for toleration in role.pod.spec.tolerations or ():
        yield f"{indent}tolerates {msgspec.json.encode(toleration).decode()}"
