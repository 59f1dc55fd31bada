"""The record of the Changes where people look: on the Pod, in the audit log, in warnings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from webhook.admission.decision import Allowed, Decision, Denied, ReportOnly, outcome
from webhook.admission.wire import Request
from webhook.api import bounds
from webhook.api.patch import escape, unescape
from webhook.api.pod import POD_LEVEL, ObjectMeta
from webhook.api.quantity import QuantityError, parse
from webhook.jobs.role import Role
from webhook.rules.findings import Change, Rule

PREFIX: Final = "flyte-admission.io"
CHANGES: Final = f"{PREFIX}/changes"
BY_IMPORTANCE: Final[tuple[Rule, ...]] = ("clamp", "tolerate", "cpu-limits", "fill")
ADDED_TOLERATION: Final = "/tolerations/-"  # how the path of a toleration that was added ends
MOST_WARNINGS: Final = 20  # the API server takes 4096 characters in all
LONGEST_WARNING: Final = 120


class Record(Struct, frozen=True, omit_defaults=True):
    """The annotation: the digest of the policy, and each Change; containers go by their names.

    `from` is what to put back for the Pod as it was made, null for nothing.
    """

    policy: str
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()  # what was left undone, and why
    omitted: int = 0  # changes that were too many for an annotation: the audit log has them


_FIRST_NOTE: Final = b'{"op":"add","path":"/metadata/annotations","value":{"%b":%%b}}' % CHANGES.encode()
_NOTE: Final = b'{"op":"add","path":"/metadata/annotations/%b","value":%%b}' % escape(CHANGES).encode()
_REMOVE: Final = b'{"op":"remove","path":"/metadata/annotations/%b"}' % escape(CHANGES).encode()
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Record).decode  # of what we have written
_decode_string: Final = msgspec.json.Decoder(str).decode


def record(request: Request, decided: Allowed | Denied) -> bytes:
    """Return what was changed, as a JSON string of JSON, by an earlier review too; empty without changes."""
    allowed = decided if isinstance(decided, Allowed) else Allowed()
    changes = by_name(request.roles, decided.changes)
    if allowed.earlier:
        changes = merged((*allowed.earlier, *changes))
    return _text(Record(decided.settings.policy, changes, allowed.notes)) if changes else b""


def _text(record: Record) -> bytes:
    return _encode(_encode(record).decode())


def note(metadata: ObjectMeta, text: bytes) -> bytes:
    """Return the operation that leaves the record in the annotation, and nothing else; empty where it is so already.

    Where the other annotations leave no room for the record, its number of changes is left there, or nothing. A later
    review cannot verify that number, and takes it away.
    """
    annotations = metadata.annotations
    if text and not _fits(text, space := room(metadata)):
        text = _in_short(text)
        text = text if _fits(text, space) else b""
    if not text:
        return _REMOVE if annotations and CHANGES in annotations else b""
    if annotations is None:
        return _FIRST_NOTE % text
    return b"" if annotations.get(CHANGES) == _decode_string(text) else _NOTE % text


def room(metadata: ObjectMeta) -> int:
    """Return the bytes that the other annotations leave for the value of ours."""
    others = (metadata.annotations or {}).items()
    taken = sum(len(name.encode()) + len((value or "").encode()) for name, value in others if name != CHANGES)
    return bounds.ANNOTATIONS_BYTES - len(CHANGES) - taken


def _fits(text: bytes, room: int) -> bool:
    """Return whether the string fits into that many bytes, without its quotes and escapes."""
    return len(text) - 2 <= room or len(_decode_string(text).encode()) <= room


def _in_short(text: bytes) -> bytes:
    """Return the record with the number of its changes in their place; the audit log has them."""
    whole = _decode(_decode_string(text))
    return _text(Record(whole.policy, omitted=len(whole.changes)))


def by_name(roles: Iterable[Role], changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes as people read them: containers by name, as other webhooks may shift their index.

    A resource stands at the end of the path as it is called, without the escapes of a JSON Pointer.
    """
    known = names(roles)
    return tuple(_named(change, known) for change in changes)


def _named(change: Change, known: Mapping[str, str]) -> Change:
    if not change.side:  # such as `resources` of a group of Ray, whose pointer an earlier review is found by
        return change
    pointer, slash, rest = change.path.partition("/resources/")
    return replace(change, path=f"{known.get(pointer, pointer)}{slash}{unescape(rest)}")


def names(roles: Iterable[Role]) -> Mapping[str, str]:
    """Return, by the pointer of a container, the same with its name in place of its index."""
    return {
        pointer: f"{pointer.rpartition('/')[0]}/{escape(container.name)}"
        for role in roles
        for pointer, container in role.containers()
        if container.name
    }


def merged(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Join the Changes of each value: from the first value to the last, with every reason in between.

    A value that ends as it began is left out.
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


def audit(decision: Decision, text: bytes) -> dict[str, str | Raw] | None:
    """Return the audit annotations; the API server puts the name of the webhook before each key.

    `changes` is the record. It is `more-changes` where an earlier review has changed the Pod, because the API server
    drops a second value of a key. `mode` and `refusal` report what would have happened, `outlook` whether a refused Pod
    may fit later, `waits` why a job that is admitted does not start yet, `notes` what was left undone, `exempted` the
    rules that the Pod was exempted from, and why.
    """
    decided = outcome(decision)
    settings = decided.settings
    notes: dict[str, str | Raw] = {}
    only_reported = isinstance(decision, ReportOnly)
    if only_reported:
        notes["mode"] = settings.mode
    if isinstance(decided, Denied):
        if only_reported:
            notes["refusal"] = f"{decided.code} {decided.reason}: {decided.message}"
        if decided.outlook:
            notes["outlook"] = decided.outlook
    elif decided.waits:
        notes["outlook"], notes["waits"] = "fits-later", decided.waits
    if decided.changes:
        notes["more-changes" if isinstance(decided, Allowed) and decided.earlier else "changes"] = Raw(text)
    if isinstance(decided, Allowed) and decided.notes:
        notes["notes"] = "; ".join(decided.notes)
    if settings.skips:
        notes["exempted"] = "; ".join(f"{rule}: {reason}" for rule, reason in settings.skips.items())
    return notes or None


def warnings(request: Request, decision: Decision) -> list[str]:
    """Return the warnings for the client: what would happen in the mode `warn`, else what was changed."""
    decided, only_reported = outcome(decision), isinstance(decision, ReportOnly)
    settings, would = decided.settings, "would be " if only_reported else ""
    wanted = settings.mode == "warn" if only_reported else settings.warnings and isinstance(decided, Allowed)
    if not wanted:
        return []
    if isinstance(decided, Denied):
        lines = [f"{would}refused: {decided.message}"]
    else:
        lines = [*([f"waits: {decided.waits}"] if decided.waits else []), *decided.notes]
    changes = sorted(by_name(request.roles, decided.changes), key=lambda change: BY_IMPORTANCE.index(change.rule))
    lines += (f"{would}{in_brief(change)}" for change in changes)
    if len(lines) > MOST_WARNINGS:
        left_out = len(lines) - MOST_WARNINGS + 1
        lines[MOST_WARNINGS - 1 :] = [f"and {left_out} more changes, which the audit log has"]
    return [_short(line) for line in lines]


def in_brief(change: Change) -> str:
    """Return a change for people: what was set or lowered, of which container, from what to what, and why."""
    if change.path.endswith(ADDED_TOLERATION):
        key, effect = change.after.get("key", "everything"), change.after.get("effect", "every effect")
        return f"tolerated: {key}:{effect} ({change.why})"
    if change.after is None:
        return f"removed: {place(change)}, which was {change.before} ({change.why})"
    before = f" from {change.before}" if change.before is not None else ""
    return f"{_verb(change)}: {place(change)}{before} to {change.after} ({change.why})"


def _verb(change: Change) -> str:
    """Return what became of a value: two reviews together may have raised what one of them lowered."""
    if not (isinstance(change.before, str | int) and isinstance(change.after, str | int)):
        return "set"
    try:
        before, after = parse(str(change.before)), parse(str(change.after))
    except QuantityError:  # such as 64g of Spark, which is beside the templates
        return "lowered" if change.rule == "clamp" and not change.side else "set"
    return "lowered" if after < before else "raised" if before and before < after else "set"


def place(change: Change) -> str:
    """Return where a Change with its container by name is, for people: `limits nvidia.com/gpu of main`.

    The template of a job is in brackets; what is not in its Pods goes by its path.
    """
    if not change.side:
        return unescape(change.path.removeprefix("/spec/"))
    where, _, rest = change.path.partition("/resources/")
    side, _, name = rest.partition("/")
    template, _, container = where.rpartition("/containers/" if "/containers/" in where else "/")
    of = "the Pod as a whole" if where == POD_LEVEL else unescape(container)
    template = template.removesuffix("/initContainers").removesuffix("/spec").removesuffix("/template")
    return f"{side} {unescape(name)} of {of}" + (f" ({template.removeprefix('/spec/')})" if template else "")


def _short(text: str) -> str:
    """Return the text in printable ASCII, as the API server drops the rest, cut to the length of a warning."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain if len(plain) <= LONGEST_WARNING else f"{plain[: LONGEST_WARNING - 3]}..."
