"""What is left where people look: on the Pod, in the audit log, in warnings. All of it is told from the Changes."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from webhook.admission.decision import Allowed, Decision, Denied, Told, outcome
from webhook.api import bounds as limits
from webhook.api import pod as pods
from webhook.api.patch import escape, unescape
from webhook.api.pod import Pod
from webhook.rules.findings import Change, Rule

PREFIX: Final = "flyte-admission.io"
CHANGES: Final = f"{PREFIX}/changes"
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


_FIRST_NOTE: Final = b'{"op":"add","path":"/metadata/annotations","value":{"%b":%%b}}' % CHANGES.encode()
_NOTE: Final = b'{"op":"add","path":"/metadata/annotations/%b","value":%%b}' % escape(CHANGES).encode()
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode  # of what we have written
_decode_string: Final = msgspec.json.Decoder(str).decode


def record(pod: Pod, decided: Allowed | Denied) -> bytes:
    """Return what was changed, as a JSON string of JSON, by an earlier review too; empty without changes."""
    if not decided.changes:
        return b""
    changes = by_name(pod, decided.changes)
    if decided.earlier:
        changes = merged((*decided.earlier, *changes))
    return _encode(_encode(Record(decided.settings.policy, changes)).decode())


def noted(pod: Pod, told: bytes) -> bytes:
    """The operation that puts the record on the Pod, as JSON; empty where the Pod's annotations leave no room."""
    others = pod.metadata.annotations
    room = limits.ANNOTATIONS_BYTES - len(CHANGES)
    for name, text in (others or {}).items():
        if name != CHANGES:
            room -= len(name.encode()) + len((text or "").encode())
    if not _fits(told, room):
        told = _in_short(told)
        if not _fits(told, room):
            return b""
    return (_FIRST_NOTE if others is None else _NOTE) % told


def _fits(told: bytes, room: int) -> bool:
    """Whether the string is not longer than that, in bytes without its quotes and escapes."""
    return len(told) - 2 <= room or len(_decode_string(told).encode()) <= room


def _in_short(told: bytes) -> bytes:
    """The record without its changes, which the audit log has, but how many there are."""
    whole = _decode(_decode_string(told))
    return _encode(_encode(Record(whole.policy, omitted=len(whole.changes))).decode())


def by_name(pod: Pod, changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes with containers by name where the path has their index, which other webhooks may shift."""
    known = names(pod)
    return tuple(_named(change, known) for change in changes)


def _named(change: Change, known: Mapping[str, str]) -> Change:
    pointer, slash, rest = change.path.partition("/resources/")
    return replace(change, path=f"{known[pointer]}{slash}{rest}") if pointer in known else change


def names(pod: Pod) -> Mapping[str, str]:
    """The pointers of containers, and the same with the container's name in place of its index."""
    return {
        pointer: f"{pointer.rpartition('/')[0]}/{escape(container.name)}"
        for pointer, container in pods.containers(pod)
        if container.name
    }


def merged(changes: Sequence[Change]) -> tuple[Change, ...]:
    """One Change a value: what it was at first, what it is in the end, and every reason in between.

    A value that is in the end what it was at first is left out.
    """
    merged: dict[str, Change] = {}
    appended: dict[tuple[str, bytes], Change] = {}
    for change in changes:
        if change.path.endswith("/-"):
            appended[change.path, _encode(change.after)] = change
        elif first := merged.get(change.path):
            why = first.why if first.why == change.why else f"{first.why}; {change.why}"
            merged[change.path] = replace(change, before=first.before, why=why)
        else:
            merged[change.path] = change
    return (*(change for change in merged.values() if change.before != change.after), *appended.values())


def audit(decision: Decision, told: bytes) -> dict[str, str | Raw] | None:
    """The audit annotations, `told` being the record; the API server puts the name of the webhook before each key.

    `changes` is the record, `more-changes` where an earlier review of the Pod has changed it, for the API server drops
    a second value of a key; `mode` and `refusal` say what would have been, `outlook` whether a refused Pod may fit
    later, `exempted` what it was spared and why.
    """
    decided = outcome(decision)
    settings = decided.settings
    notes: dict[str, str | Raw] = {}
    only_told = isinstance(decision, Told)
    if only_told:
        notes["mode"] = settings.mode
    if isinstance(decided, Denied):
        if only_told:
            notes["refusal"] = f"{decided.code} {decided.reason}: {decided.message}"
        if decided.outlook:
            notes["outlook"] = decided.outlook
    if told:
        notes["more-changes" if decided.earlier else "changes"] = Raw(told)
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
