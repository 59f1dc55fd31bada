"""What is left where people look: on the Pod, in the audit log, in warnings. All of it is told from the Changes."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from webhook import pod as pods
from webhook.decision import Allowed, Change, Decision, Denied, Rule, Told
from webhook.patch import escape, unescape
from webhook.pod import Pod

PREFIX: Final = "flyte-admission.io"
CHANGES: Final = f"{PREFIX}/changes"
MOST_BYTES: Final = 256 * 1024  # of all annotations of an object: ValidateAnnotationsSize in kubernetes' apimachinery
BY_IMPORTANCE: Final[tuple[Rule, ...]] = ("clamp", "tolerate", "fill")
MOST_WARNINGS: Final = 20  # the API server takes 4096 characters in all
LONGEST_WARNING: Final = 120


class Record(Struct, frozen=True, omit_defaults=True):
    """The annotation: by which policy the Pod was changed, and each Change; containers go by their names.

    `from` is what to put back for the Pod as it was made, null for nothing.
    """

    policy: str
    changes: tuple[Change, ...] = ()
    omitted: int = 0  # changes that were too many for an annotation


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode


def record(pod: Pod, changes: Sequence[Change], policy: str) -> Record:
    """The changes; what an earlier review left on the Pod is kept, for it may come to us twice."""
    named = by_name(pod, changes)
    earlier = _earlier(pod)
    return Record(policy, merged((*earlier.changes, *named)), earlier.omitted) if earlier else Record(policy, named)


def annotation(pod: Pod, changes: Sequence[Change], policy: str) -> Change | None:
    """The Change that puts the record on the Pod; none of it where the Pod's annotations leave no room."""
    others = pod.metadata.annotations or {}
    room = MOST_BYTES - len(CHANGES)
    for name, value in others.items():
        if name != CHANGES:
            room -= len(name.encode()) + len((value or "").encode())
    whole = record(pod, changes, policy)
    for fitting in (whole, Record(policy, omitted=whole.omitted + len(whole.changes))):
        text = _encode(fitting)
        if len(text) <= room:
            path = f"/metadata/annotations/{escape(CHANGES)}"
            return Change(path, others.get(CHANGES), text.decode(), "trace", "what was changed")
    return None


def by_name(pod: Pod, changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes with containers by name where the path has their index, which other webhooks may shift."""
    names = {pointer: container.name for pointer, container in pods.containers(pod) if container.name}
    return tuple(_named(change, names) for change in changes)


def _named(change: Change, names: Mapping[str, str]) -> Change:
    pointer, slash, rest = change.path.partition("/resources/")
    name = names.get(pointer)
    if name is None:
        return change
    return replace(change, path=f"{pointer.rpartition('/')[0]}/{name}{slash}{rest}")


def merged(changes: Sequence[Change]) -> tuple[Change, ...]:
    """One Change a value: what it was at first, what it is in the end, and every reason in between."""
    merged: dict[str, Change] = {}
    appended: dict[tuple[str, bytes], Change] = {}
    for change in changes:
        if change.path.endswith("/-"):
            appended[change.path, _encode(change.after)] = change
        elif (first := merged.get(change.path)) and first.why != change.why:
            merged[change.path] = replace(change, before=first.before, why=f"{first.why}; {change.why}")
        elif first:
            merged[change.path] = replace(change, before=first.before)
        else:
            merged[change.path] = change
    return (*merged.values(), *appended.values())


def _earlier(pod: Pod) -> Record | None:
    """What is on the Pod already; anything that is not of our making is overwritten."""
    text = (pod.metadata.annotations or {}).get(CHANGES)
    try:
        return _decode(text) if text else None
    except (msgspec.DecodeError, RecursionError):
        return None


def audit(pod: Pod, decision: Decision) -> dict[str, str] | None:
    """The audit annotations; the API server puts the name of the webhook before each key.

    `changes` is the record, `more-changes` where an earlier review of the Pod has left one, for the API server drops
    a second value of a key; `mode` and `refusal` say what would have been, `outlook` whether a refused Pod may fit
    later, `exempted` what it was spared and why.
    """
    outcome = decision.would if isinstance(decision, Told) else decision
    settings = outcome.settings
    notes: dict[str, str] = {}
    if isinstance(decision, Told):
        notes["mode"] = settings.mode
        if isinstance(outcome, Denied):
            notes["refusal"] = f"{outcome.code} {outcome.reason}: {outcome.message}"
    if isinstance(outcome, Denied) and outcome.outlook:
        notes["outlook"] = outcome.outlook
    if outcome.changes:
        again = CHANGES in (pod.metadata.annotations or {})
        notes["more-changes" if again else "changes"] = _encode(record(pod, outcome.changes, settings.policy)).decode()
    if settings.skips:
        notes["exempted"] = "; ".join(f"{rule}: {reason}" for rule, reason in settings.skips.items())
    return notes or None


def warnings(pod: Pod, decision: Decision) -> list[str]:
    """What the client is told besides: in the mode `warn` what would be, else what was changed, if configured."""
    if isinstance(decision, Told):
        settings, outcome, would = decision.would.settings, decision.would, "would be "
        told = settings.mode == "warn"
    else:
        settings, outcome, would = decision.settings, decision, ""
        told = settings.warnings and isinstance(decision, Allowed)
    if not told:
        return []
    lines = [f"{would}refused: {outcome.message}"] if isinstance(outcome, Denied) else []
    changes = sorted(by_name(pod, outcome.changes), key=lambda change: BY_IMPORTANCE.index(change.rule))
    lines += (f"{would}{_in_brief(change)}" for change in changes)
    if len(lines) > MOST_WARNINGS:
        left_out = len(lines) - MOST_WARNINGS + 1
        lines[MOST_WARNINGS - 1 :] = [f"and {left_out} more changes, which the audit log has"]
    return [_short(line) for line in lines]


def _in_brief(change: Change) -> str:
    """A change in the space of a warning."""
    if change.path == "/spec/tolerations/-":
        key, effect = change.after.get("key", "everything"), change.after.get("effect", "every effect")
        return f"tolerated: {key}:{effect} ({change.why})"
    where, _, rest = change.path.partition("/resources/")
    side, _, name = rest.partition("/")
    verb = "lowered" if change.rule == "clamp" else "set"
    before = f" from {change.before}" if change.before is not None else ""
    return f"{verb}: {side} {unescape(name)} of {where.rpartition('/')[2]}{before} to {change.after} ({change.why})"


def _short(text: str) -> str:
    """In printable ASCII, for the API server drops what is not, and no longer than a warning may be."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LONGEST_WARNING else f"{plain[: LONGEST_WARNING - 3]}..."
