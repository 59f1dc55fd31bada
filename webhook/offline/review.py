"""The review of Pods from a file: the decisions of /mutate, without a server."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jsonpatch
import msgspec
from msgspec.structs import replace

from webhook.admission import wire
from webhook.admission.answer import patch_of
from webhook.admission.applied import operations
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.admission.decision import Allowed, Decision, Denied, ReportOnly, outcome
from webhook.admission.record import by_name, in_brief
from webhook.admission.wire import BadReviewError, Request
from webhook.api.pod import Pod, containers, decode
from webhook.api.resource_list import text
from webhook.api.resource_quota import Charges
from webhook.api.wire import plainly
from webhook.cluster.ledger import Ledger
from webhook.flyte.task import Task, is_flyte_pod
from webhook.offline import manifests
from webhook.offline.manifests import Manifest
from webhook.policy.model import Policy
from webhook.policy.settings import Settings
from webhook.rules.defaulting import default
from webhook.rules.workload import workload_of

Decide: TypeAlias = Callable[[Request, Policy, Constraints, str], Decision]
KINDS = ("Pod", "AdmissionReview")


@dataclass(frozen=True, slots=True)
class Report:
    """One Pod and its decision; `pod` is what would be stored, None if it is refused."""

    request: Request
    decision: Decision
    pod: dict[str, Any] | None
    has_ended: bool = False

    @property
    def decided_outcome(self) -> str:
        """The word for the decision, in whatever mode: refused, changed, unchanged, or ignored.

        A Pod that is not Flyte's or has ended, and a request that the webhook does not review, is ignored.
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
        if self.has_ended:
            return "it has ended"
        if self.request.problem:
            return ""
        if self.request.pod is None:
            return "the webhook decides about the creation and the resize of Pods alone"
        labels = "execution-id, flyte.org/run, or flyte.org/managed: true"
        return "" if is_flyte_pod(self.request.pod) else f"not a Pod of a Flyte task: it has no label {labels}"


def reports(text: str, file: str, policy: Policy, ledger: Ledger, today: str) -> list[Report]:
    """Review each Pod of the file in turn, and charge the admitted ones, as in the local mode of `serve`.

    ProblemsError says what is not a valid Pod, and where.
    """
    return [_report(manifest, policy, ledger, today) for manifest in manifests.read(text, file, KINDS)]


def _report(manifest: Manifest, policy: Policy, ledger: Ledger, today: str) -> Report:
    try:
        request, stored = request_of(manifest)
    except BadReviewError as error:
        raise manifest.problem(plainly(str(error))) from error
    if manifest.has_ended:
        return Report(request, Allowed(), stored, has_ended=True)
    if manifest.is_stored:
        ledger.release(request.namespace, counted(request, policy.in_mode("audit"), ledger, today))
    decision = decide(request, policy, ledger, today)
    if isinstance(decision, Denied):
        return Report(request, decision, None)
    if not request.dry_run:
        ledger.charge(request.namespace, request.meta, decision.charges, resize=request.resize)
    if isinstance(decision, Allowed) and decision.changes:
        stored = _patched(stored, patch_of(request, decision))
    return Report(request, decision, stored)


def decide(request: Request, policy: Policy, ledger: Ledger, today: str, endpoint: Decide = mutate) -> Decision:
    """Return the decision under the quotas of the ledger, which are not charged yet."""
    quotas = ledger.quotas(request.namespace, request.meta, resize=request.resize)
    return endpoint(request, policy, Constraints(quotas), today)


def counted(request: Request, in_audit: Policy, ledger: Ledger, today: str) -> Charges:
    """Return what the quotas count for the Pod as it is, if it runs; the policy must be in the mode audit."""
    decision = decide(request, in_audit, ledger, today)
    return {} if isinstance(decision, Denied) else decision.charges


def request_of(manifest: Manifest) -> tuple[Request, dict[str, Any]]:
    """Return the request, and its Pod; a manifest first gets the API server's defaults.

    ProblemsError for a manifest that is not a Pod, BadReviewError for an AdmissionReview that is not one.
    """
    if manifest.kind == "AdmissionReview":
        request = wire.decode(msgspec.json.encode(manifest.data))
        return request, manifest.data["request"].get("object")
    metadata = manifest.data.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    review = {
        "apiVersion": wire.API_VERSION,
        "kind": wire.KIND,
        "request": {
            "uid": "review",
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": namespace or "default",
            "object": manifest.data,
        },
    }
    request = wire.decode(msgspec.json.encode(review))
    if request.pod is None:
        raise manifest.problem(request.problem)
    workload = workload_of(request.pod, Task(1), Settings())
    changes = default(workload)[1]
    if not changes:
        return request, manifest.data
    stored = _patched(manifest.data, b"[%b]" % operations(workload, changes))
    return replace(request, pod=decode(msgspec.json.encode(stored))), stored


def _patched(pod: dict[str, Any], patch: bytes) -> dict[str, Any]:
    patched: dict[str, Any] = jsonpatch.apply_patch(pod, msgspec.json.decode(patch))
    return patched


def as_data(report: Report) -> dict[str, Any]:
    """Return the report for programs: outcome, changes, message of a denial, resulting Pod."""
    decided = outcome(report.decision)
    data: dict[str, Any] = {
        "pod": report.request.pod_name,
        "namespace": report.request.namespace,
        "outcome": report.outcome,
        **({"why": report.ignored_for} if report.ignored_for else {}),
        "changes": msgspec.to_builtins(decided.changes),
        "notes": [*_notes(decided)],
    }
    if isinstance(decided, Denied):
        data |= {"code": decided.code, "reason": decided.reason, "message": decided.message}
    return data | {"result": report.pod}


def as_text(report: Report) -> str:
    """Return the report for people."""
    decided = outcome(report.decision)
    why = f" ({report.ignored_for})" if report.ignored_for else ""
    lines = [f"{report.request.namespace}/{report.request.pod_name}: {report.outcome}{why}"]
    if report.request.pod:
        lines += [f"  {in_brief(change)}" for change in by_name(report.request.pod, decided.changes)]
    lines += [f"  {note}" for note in _notes(decided)]
    if isinstance(decided, Denied):
        lines.append(f"  {decided.code} {decided.reason}: {decided.message}")
    elif report.outcome != "ignored":
        lines += ["  result:", *(f"    {line}" for line in _summary(decode(msgspec.json.encode(report.pod))))]
    return "\n".join(lines)


def _notes(decided: Allowed | Denied) -> Sequence[str]:
    return decided.notes if isinstance(decided, Allowed) else ()


def _summary(pod: Pod) -> Iterable[str]:
    """Yield the requests, limits and tolerations of the resulting Pod."""
    for _, container in containers(pod):
        for side, resources in (("requests", container.requests), ("limits", container.limits)):
            yield f"{container.name}: {side} {text(resources, sorted(resources)) or 'nothing'}"
    for toleration in pod.spec.tolerations or ():
        yield f"tolerates {msgspec.json.encode(toleration).decode()}"
