"""What an earlier review has changed in the Pod, by the record that it left there, as far as that can be verified.

The API server asks again where another webhook has changed the Pod since. The author of a Pod may write an annotation
of ours too, so nothing in it is taken on trust: each value that it claims to be ours is put back, and what the rules
then do to the Pod must be what is claimed.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec.structs import replace

from webhook.admission.record import CHANGES, Record, names
from webhook.api import bounds
from webhook.api import pod as pods
from webhook.api.patch import unescape
from webhook.api.pod import ObjectMeta, Pod, Toleration
from webhook.api.quantity import Quantity, QuantityError, parse
from webhook.api.resources import Resources
from webhook.jobs.role import Role
from webhook.rules.findings import Change

APPENDED: Final = "/spec/tolerations/-"
_decode: Final = msgspec.json.Decoder(Record).decode


def found(metadata: ObjectMeta) -> Record:
    """Return the record that an annotation claims to be ours; an empty one where there is none."""
    text = (metadata.annotations or {}).get(CHANGES) or ""
    if text and len(text) <= bounds.ANNOTATIONS_BYTES:
        with suppress(msgspec.DecodeError, RecursionError):
            return _decode(text)
    return Record("")


def undone(pod: Pod, claimed: Iterable[Change]) -> tuple[Pod, tuple[Change, ...]]:
    """Return the Pod as it was before the changes, and those of them whose outcome it has now."""
    blocks = _Blocks(pod)
    appended = {toleration for change in claimed if (toleration := _toleration(change))}
    present = appended.intersection(pod.spec.tolerations or ())
    found = tuple(
        change
        for change in claimed
        if (_toleration(change) in present if change.path == APPENDED else blocks.put_back(change))
    )
    if present:
        kept = [toleration for toleration in pod.spec.tolerations or () if toleration not in present]
        pod = replace(pod, spec=replace(pod.spec, tolerations=kept))
    return blocks.put_into(pod), found


def confirmed(claimed: Iterable[Change], made: Iterable[Change]) -> tuple[Change, ...]:
    """Return those of the claimed changes that the rules have `made` of the same value, in the words of the rules."""
    appended = [change for change in made if change.path == APPENDED]
    others = {change.path: change for change in made if change.path != APPENDED}
    known = {toleration: change for change in appended if (toleration := _toleration(change))}
    kept = []
    for claim in claimed:
        if claim.path == APPENDED:
            if (toleration := _toleration(claim)) in known:
                kept.append(known.pop(toleration))
        elif (change := others.get(claim.path)) and change.before == claim.before and _is_within(claim, change):
            kept.append(replace(change, after=claim.after))
            del others[claim.path]
    return tuple(kept)


def _is_within(claim: Change, change: Change) -> bool:
    """Return whether the rules would leave no less than what is claimed: an earlier review left nothing above that."""
    claimed, made = _amount(claim.after), _amount(change.after)
    if claim.after is None:
        return change.after is None
    return claimed is not None and made is not None and claimed <= made


def _toleration(change: Change) -> Toleration | None:
    """Return the toleration that the change has appended; None for any other change."""
    try:
        return msgspec.convert(change.after, Toleration) if change.path == APPENDED else None
    except msgspec.ValidationError:
        return None


class _Blocks:
    """The resources of a Pod while claimed changes are put back, by the path that a record has for them."""

    def __init__(self, pod: Pod) -> None:
        by_pointer = names([Role("", pod)])
        self._found: dict[str, tuple[str, dict[str, dict[str, Quantity]]]] = {}
        self._changed: set[str] = set()
        for pointer, block in (
            *((at, container.resources) for at, container in pods.containers(pod)),
            (pods.POD_LEVEL, pod.spec.resources),
        ):
            if block:
                sides = {"requests": dict(block.requests or {}), "limits": dict(block.limits or {})}
                self._found[by_pointer.get(pointer, pointer)] = pointer, sides

    def put_back(self, change: Change) -> bool:
        """Put back what was there before; False where something else is there now, or the claim makes no sense."""
        where, _, rest = change.path.partition("/resources/")
        side, _, step = rest.partition("/")
        name = unescape(step)
        _, sides = self._found.get(where, ("", {}))
        values = sides.get(side, {})
        before, after = _amount(change.before), _amount(change.after)
        if values.get(name) != after or any(
            amount is None and text is not None for amount, text in ((before, change.before), (after, change.after))
        ):
            return False
        if before is None:
            values.pop(name, None)
        else:
            values[name] = before
        self._changed.add(where)
        return True

    def put_into(self, pod: Pod) -> Pod:
        """Return the Pod with the values that were put back."""
        changed: Mapping[str, Resources] = {
            pointer: Resources(sides["requests"] or None, sides["limits"] or None)
            for where, (pointer, sides) in self._found.items()
            if where in self._changed
        }
        return pods.with_resources(pod, changed)


def _amount(text: object) -> Quantity | None:
    try:
        return parse(text) if isinstance(text, str) else None
    except QuantityError:
        return None
