"""What is left where people look: on the Pod, in the audit log, in warnings. All of it is told from the Changes."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from webhook import pod as pods
from webhook.decision import Allowed, Change, Decision, Denied, Rule, Told, outcome
from webhook.patch import escape, unescape
from webhook.pod import Pod

PREFIX: Final = "flyte-admission.io"
CHANGES: Final = f"{PREFIX}/changes"
PATH: Final = f"/metadata/annotations/{escape(CHANGES)}"
MOST_BYTES: Final = 256 * 1024  # of all annotations of an object: ValidateAnnotationsSize in kubernetes' apimachinery
_CONTAINER: Final = re.compile("/spec/(?:containers|initContainers)/[0-9]+(?=/resources/)")
_IN_JSON: Final = re.compile(f'"path":"({_CONTAINER.pattern})')  # quoted like this it is no part of a text
BY_IMPORTANCE: Final[tuple[Rule, ...]] = ("clamp", "tolerate", "fill")
MOST_WARNINGS: Final = 20  # the API server takes 4096 characters in all
LONGEST_WARNING: Final = 120


class Record(Struct, frozen=True, omit_defaults=True):
    """The annotation: by which policy the Pod was changed, and each Change; containers go by their names.

    `from` is what to put back for the Pod as it was made, null for nothing.
    """

    policy: str
    changes: tuple[Change, ...] = ()
    omitted: int = 0  # changes that were too many for an annotation: the audit log has them


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode


def record(pod: Pod, changes: Sequence[Change], policy: str) -> str:
    """The changes as JSON; those that an earlier review left on the Pod are kept, for it may come to us twice.

    Empty without changes.
    """
    if not changes:
        return ""
    if earlier := _earlier(pod):
        both = merged((*earlier.changes, *by_name(pod, changes)))
        return _encode(Record(policy, both, earlier.omitted)).decode()
    names = {pointer: _encode(path).decode()[1:-1] for pointer, path in _names(pod).items()}
    # In the text at once, for that costs a fraction of what it does change by change.
    text = _encode(Record(policy, tuple(changes))).decode()
    return _IN_JSON.sub(lambda path: f'"path":"{names.get(path[1], path[1])}', text)


def annotation(pod: Pod, told: str) -> Change | None:
    """The Change that puts the record on the Pod; none of it where the Pod's annotations leave no room."""
    others = pod.metadata.annotations or {}
    room = MOST_BYTES - len(CHANGES)
    for name, value in others.items():
        if name != CHANGES:
            room -= len(name.encode()) + len((value or "").encode())
    text = told if len(told.encode()) <= room else _in_short(told)
    if len(text.encode()) > room:
        return None
    return Change(PATH, others.get(CHANGES), text, "trace", "what was changed")


def _in_short(told: str) -> str:
    """The record without its changes, which the audit log has, but how many there are."""
    whole = _decode(told)
    return _encode(Record(whole.policy, omitted=whole.omitted + len(whole.changes))).decode()


def by_name(pod: Pod, changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes with containers by name where the path has their index, which other webhooks may shift."""
    names = _names(pod)
    return tuple(
        replace(change, path=_CONTAINER.sub(lambda path: names.get(path[0], path[0]), change.path))
        for change in changes
    )


def _names(pod: Pod) -> Mapping[str, str]:
    """The pointers of containers, and the same with the container's name in place of its index."""
    return {
        pointer: f"{pointer.rpartition('/')[0]}/{escape(container.name)}"
        for pointer, container in pods.containers(pod)
        if container.name
    }


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


def audit(pod: Pod, decision: Decision, told: str) -> dict[str, str] | None:
    """The audit annotations, `told` being the record; the API server puts the name of the webhook before each key.

    `changes` is the record, `more-changes` where an earlier review of the Pod has left one, for the API server drops
    a second value of a key; `mode` and `refusal` say what would have been, `outlook` whether a refused Pod may fit
    later, `exempted` what it was spared and why.
    """
    decided = outcome(decision)
    settings = decided.settings
    notes: dict[str, str] = {}
    if isinstance(decision, Told):
        notes["mode"] = settings.mode
        if isinstance(decided, Denied):
            notes["refusal"] = f"{decided.code} {decided.reason}: {decided.message}"
    if isinstance(decided, Denied) and decided.outlook:
        notes["outlook"] = decided.outlook
    if told:
        notes["more-changes" if CHANGES in (pod.metadata.annotations or {}) else "changes"] = told
    if settings.skips:
        notes["exempted"] = "; ".join(f"{rule}: {reason}" for rule, reason in settings.skips.items())
    return notes or None


def warnings(pod: Pod, decision: Decision) -> list[str]:
    """What the client is told: in the mode `warn` what would be, else what was changed if the policy says so."""
    decided, only_told = outcome(decision), isinstance(decision, Told)
    settings, would = decided.settings, "would be " if only_told else ""
    told = settings.mode == "warn" if only_told else settings.warnings and isinstance(decided, Allowed)
    if not told:
        return []
    lines = [f"{would}refused: {decided.message}"] if isinstance(decided, Denied) else []
    changes = sorted(by_name(pod, decided.changes), key=lambda change: BY_IMPORTANCE.index(change.rule))
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
