"""Why a Pod or job was changed or refused: from its record, an event of the audit log, or a line of our log."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from webhook import jobs
from webhook.admission import earlier
from webhook.admission.record import ADDED_TOLERATION, PREFIX, Record, in_brief, names
from webhook.api import pod as pods
from webhook.api.patch import unescape
from webhook.api.pod import Pod
from webhook.api.quantity import Quantity, QuantityError, parse
from webhook.flyte.task import Task, identify, primary, task_of_namespace
from webhook.offline.manifests import Manifest
from webhook.offline.review import JOBS, request_of
from webhook.policy.model import Layer, Policy, TaskScope
from webhook.rules.fill import DEFAULT, MAXIMUM
from webhook.rules.findings import Change

EXPLAINED_KINDS: Final = ("Pod", *JOBS, "Event")
SECTION: Final = "plugins.k8s"
_record: Final = msgspec.json.Decoder(Record).decode


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the webhook did with a Pod or a job, as far as the source has it."""

    namespace: str
    pod: str  # or the job
    source: str  # of all this, such as `its record`; empty where there is no record
    task: Task
    policy: str = ""  # the digest of the policy
    changes: tuple[Change, ...] = ()  # containers by their names
    omitted: int = 0  # changes that the source has no room for
    refusal: str = ""  # code, reason and text, as Flyte got it
    mode: str = ""  # in which nothing was done
    dry_run: bool = False  # whether the client asked only what would happen
    notes: tuple[str, ...] = ()
    primary: frozenset[str] = frozenset()  # the paths, by name, of the containers that run the task; none if unknown


def of_manifest(manifest: Manifest, policy: Policy) -> Explanation:
    """Explain a Pod, a job, or an event of the audit log; ProblemsError if it cannot be read."""
    if manifest.kind == "Event":
        return _of_event(manifest.data, policy)
    request = request_of(manifest)[0]
    metadata, namespace = request.metadata, request.namespace
    pod = request.pod or Pod(metadata)
    task = identify(pod, namespace, policy.identification) or task_of_namespace(namespace, policy.identification)
    noted, named = earlier.found(metadata), names(request.roles)
    source = "its record" if noted.changes or noted.omitted else ""
    return Explanation(
        namespace, request.object_name, source, task, noted.policy, noted.changes, noted.omitted,
        primary=frozenset(named.get(role.at + primary(role.pod), "") for role in request.roles),
    )  # fmt: skip


def of_line(line: str, policy: Policy) -> Explanation | None:
    """Explain a line of our log, or an event of the audit log on one line; None for any other line.

    What is before its JSON, such as the time or the Pod that `kubectl logs` puts there, does not matter.
    """
    _, brace, rest = line.partition("{")
    try:
        data = msgspec.json.decode(brace + rest, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if data.get("kind") == "Event" and _text(data.get("apiVersion")).startswith("audit.k8s.io/"):
        return _of_event(data, policy) if is_review(data) else None
    return _of_log(data, policy) if data.get("event") == "review" else None


def is_review(event: dict[str, Any]) -> bool:
    """Return whether the event of the audit log ends what the webhook is asked about: a creation, or a resize."""
    about = _map(event.get("objectRef"))
    kind, part = (_text(about.get("apiGroup")), _text(about.get("resource"))), _text(about.get("subresource"))
    is_ours = kind in {("", "pods"), ("", "")} or kind in jobs.KINDS
    is_handled = part == "resize" or (part == "" and event.get("verb", "create") == "create")
    return is_ours and is_handled and event.get("stage") != "RequestReceived"


def _of_event(event: dict[str, Any], policy: Policy) -> Explanation:
    """Explain an event of the audit log (audit.k8s.io/v1): its annotations of ours, and the status of the response."""
    about, status = _map(event.get("objectRef")), _map(event.get("responseStatus"))
    notes = {key.partition("/")[2]: str(text) for key, text in _map(event.get("annotations")).items() if _is_ours(key)}
    records = [_decoded(notes[key]) for key in ("changes", "more-changes") if key in notes]
    refusal = notes.get("refusal", "")
    if isinstance(code := status.get("code"), int) and code >= 400:
        refusal = f"{code} {status.get('reason', '')}: {status.get('message', '')}"
    namespace = _text(about.get("namespace"))
    return Explanation(
        namespace,
        _text(about.get("name")) or "Unknown",
        f"the audit log of {_text(event.get('requestReceivedTimestamp')) or 'an unknown time'}",
        task_of_namespace(namespace, policy.identification),
        next((record.policy for record in records), ""),
        tuple(change for record in records for change in record.changes),
        sum(record.omitted for record in records),
        refusal,
        notes.get("mode", ""),
        "dryRun=All" in _text(event.get("requestURI")),
        tuple(f"{key}: {notes[key]}" for key in ("outlook", "waits", "notes", "exempted") if key in notes),
    )


def _of_log(line: dict[str, Any], policy: Policy) -> Explanation:
    """Explain a line of our log, which has the number of changes by rule in their place."""
    namespace, counts = _text(line.get("namespace")), _map(line.get("changes"))
    refusal = f"{line.get('code', '')} {line['refusal']}" if "refusal" in line else ""
    decided = f"{line.get('endpoint', '')} decided: {line.get('decision', '')}"
    return Explanation(
        namespace,
        _text(line.get("name")) or "Unknown",
        f"the log of {_text(line.get('time')) or 'an unknown time'}",
        task_of_namespace(namespace, policy.identification),
        omitted=sum(count for count in counts.values() if isinstance(count, int)),
        refusal=refusal,
        mode="" if line.get("mode") == "enforce" else _text(line.get("mode")),
        dry_run=line.get("dry_run") is True,
        notes=(decided, *(f"changes by {rule}: {count}" for rule, count in counts.items())),
    )


def _is_ours(key: str) -> bool:
    """Return whether the API server had the audit annotation from the webhook: it puts the webhook's name first."""
    return key.partition("/")[0].endswith(PREFIX)


def _decoded(text: str) -> Record:
    try:
        return _record(text)
    except (msgspec.DecodeError, RecursionError):
        return Record("")


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def lines(found: Explanation, policy: Policy) -> Iterator[tuple[Change, str]]:
    """Yield each change with the line of the policy, `file:line`, that it comes from; empty where none says it.

    The line states the amount of the change, for an audit event does not say the workflow, which may have an override.
    """
    task = found.task
    scope = TaskScope(task.domain, task.project, task.workflow, task.name)
    scopes = policy.matching(scope, task.generation, operated=task.operated)
    layer = policy.effective(scopes)
    for change in found.changes:
        yield change, _line(change, found.primary, policy, layer)


def _line(change: Change, primary: frozenset[str], policy: Policy, layer: Layer) -> str:
    if change.rule == "tolerate":
        return _line_of_toleration(change, policy)
    if change.rule == "cpu-limits":
        return layer.cpu_limits[1] if layer.cpu_limits else ""
    where, _, rest = change.path.partition("/resources/")
    name = unescape(rest.partition("/")[2])
    if change.rule == "clamp" or change.why.startswith(MAXIMUM):
        of_one, of_pod = (policy.stated(limits, name) for limits in (layer.limits, layer.pod_limits))
        if of_one and _equal(of_one.value, change.after):
            return of_one.origin
        return of_pod.origin if of_pod else ""
    if not change.why.startswith(DEFAULT):
        return ""  # it follows from what the Pod states
    is_secondary = where not in (*primary, pods.POD_LEVEL)
    defaults = (is_secondary and layer.secondary_defaults) or layer.defaults
    if (default := defaults.get(name)) is None or not (primary or not layer.secondary_defaults):
        return ""
    stated = any(_equal(value, change.after) for value in (default.request, default.limit))
    return default.origin if stated else ""


def _line_of_toleration(change: Change, policy: Policy) -> str:
    settings = policy.tolerations
    stated = {f"resource-tolerations.{name}": listed for name, listed in settings.by_resource.items()} | {
        "default-tolerations": settings.always, "interruptible-tolerations": settings.interruptible,
    }  # fmt: skip
    keys = (key for key, listed in stated.items() if change.after in msgspec.to_builtins(listed))
    return policy.origins.get(f"{SECTION}.{next(keys, '')}", "")


def _equal(value: Quantity, text: object) -> bool:
    try:
        return isinstance(text, str) and parse(text) == value
    except QuantityError:
        return False


def as_data(found: Explanation, policy: Policy) -> dict[str, Any]:
    """Return the explanation for programs."""
    return {
        "namespace": found.namespace,
        "pod": found.pod,
        "project": found.task.project,
        "domain": found.task.domain,
        "source": found.source,
        "policy": found.policy,
        "changes": [msgspec.to_builtins(change) | {"line": line} for change, line in lines(found, policy)],
        "omitted": found.omitted,
        "refusal": found.refusal,
        "mode": found.mode,
        "dry_run": found.dry_run,
        "notes": list(found.notes),
    }


def as_text(found: Explanation, policy: Policy) -> Iterator[str]:
    """Yield the explanation for people. Anyone with the right to edit a Pod can forge its record."""
    who = f"{found.namespace}/{found.pod}"
    if not found.source:
        yield f"{who}: has no record; it needed no change, or was made without the webhook"
        return
    word = "refused" if found.refusal else "changed" if found.changes or found.omitted else "not changed"
    dry = " in a dry run" if found.dry_run else ""
    yield f"{who}: {'would have been ' if found.mode else ''}{word}{dry}, by {found.source}"
    for change, line in lines(found, policy):
        is_ours = not change.path.endswith(ADDED_TOLERATION) or isinstance(change.after, dict)
        yield f"  {in_brief(change) if is_ours else change.path}{f'  # {line}' if line else ''}"
    if found.omitted and not found.changes:
        yield f"  {found.omitted} changes, which the audit log has"
    yield from (f"  {note}" for note in found.notes)
    if found.refusal:
        yield f"  {'answer in the mode enforce' if found.mode else 'answer'}: {found.refusal}"
    if found.mode:
        yield f"  nothing was done: the mode was {found.mode}"
    if found.policy:
        other = f"; the one given is {policy.digest}" if policy.digest not in ("", found.policy) else ""
        yield f"  policy: {found.policy}{other}"
