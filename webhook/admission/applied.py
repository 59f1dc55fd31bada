"""What the rules make of a Workload, memoised: the Pods of a task are all alike.

Nothing in a Workload differs from one Pod of a task to the next: no name, no label, no image. What it costs follows
from it too; whether its quotas have that does not, and is asked for each Pod.
"""

from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from webhook.admission.record import merged
from webhook.api import bounds, patch
from webhook.api.resources import Resources
from webhook.rules import apply_rules
from webhook.rules.defaulting import default
from webhook.rules.findings import Change
from webhook.rules.quota import Cost, cost_of
from webhook.rules.workload import Workload

MEMOISED: Final = 512  # Workloads
# Larger ones are decided each time: no ordinary Pod is, and others could fill the memory with them.
MOST_PARTS: Final = 32  # containers, and tolerations
MOST_CHARACTERS: Final = 3072  # of names and amounts
MOST_PATCH: Final = 16 * 1024  # bytes
_encode: Final = msgspec.json.Encoder().encode


class Applied(Struct, frozen=True, gc=False):
    """A Workload after the rules: what they changed, and what the Pod costs then."""

    workload: Workload
    changes: tuple[Change, ...]
    patch: bytes  # the operations that make the changes, without the brackets of a JSON Patch
    cost: Cost
    outgrown: str = ""  # what the rules have made larger than a Pod may be


class Standing(Struct, frozen=True, gc=False):
    """A Workload as it stands: after what is over a maximum were lowered, what that is, and what the Pod costs."""

    after: Workload
    over: tuple[Change, ...]
    cost: Cost
    patch: bytes = b""


R = TypeVar("R", Applied, Standing)


def _memoised(function: Callable[[Workload], R]) -> Callable[[Workload], R]:
    """Memoise what becomes of Workloads that are no larger than ordinary ones; the oldest of them leave."""
    known: dict[Workload, R] = {}

    @wraps(function)
    def recalled(workload: Workload) -> R:
        found = known.get(workload)
        if found is None:
            found = function(workload)
            if _is_ordinary(workload) and len(found.patch) <= MOST_PATCH:
                if len(known) >= MEMOISED:
                    del known[next(iter(known))]
                known[workload] = found
        return found

    return recalled


def _is_ordinary(workload: Workload) -> bool:
    tolerations = workload.tolerations or ()
    if len(workload.blocks) > MOST_PARTS or len(tolerations) > MOST_PARTS:
        return False
    blocks = (*(block.resources for block in workload.blocks), workload.pod_level, workload.overhead)
    texts = (text or "" for it in tolerations for text in (it.key, it.operator, it.value, it.effect))
    return sum(it.size for it in blocks if it) + sum(map(len, texts)) <= MOST_CHARACTERS


@_memoised
def applied(workload: Workload) -> Applied:
    """Return what the rules make of a Pod that is to be created."""
    after, made = apply_rules(workload)
    changes = merged(made)
    return Applied(after, changes, operations(changes, workload.absent), cost_of(default(after)[0]), _outgrown(after))


@_memoised
def standing(workload: Workload) -> Standing:
    """Return what the rules would lower in a Pod that is to be created as it is, and what it costs as it is."""
    after, made = apply_rules(workload, only="clamp")
    return Standing(after, merged(made), cost_of(default(workload)[0]))


def as_it_is(workload: Workload) -> Applied:
    """Return the Workload of Pods that no rule applies to."""
    return Applied(workload, (), b"", cost_of(default(workload)[0]))


def operations(changes: Iterable[Change], absent: Collection[str]) -> bytes:
    """Return the operations of a JSON Patch that makes the changes, without its brackets; empty for no change.

    `absent` has the pointers of parents that may have to be added first.
    """
    return _encode(patch.build(changes, absent))[1:-1]


def _outgrown(workload: Workload) -> str:
    """Return what the rules have made larger than a Pod may be, which nobody could review again; empty for nothing."""
    if len(workload.tolerations or ()) > bounds.TOLERATIONS:
        return f"spec.tolerations: more than {bounds.TOLERATIONS} items, with those of the policy"
    if sum(len(block.requests) + len(block.limits) for block in workload.blocks) > bounds.AMOUNTS:
        return f"requests and limits: more than {bounds.AMOUNTS} in all containers, with those of the policy"
    for pointer, block in workload.all_blocks():
        if block and (side := _outgrown_side(block)):
            where = pointer.removeprefix("/").replace("/", ".")
            return f"{where}.resources.{side}: more than {bounds.RESOURCE_NAMES} names, with those of the policy"
    return ""


def _outgrown_side(block: Resources) -> str:
    sides = {"requests": block.requests, "limits": block.limits}
    return next((side for side, amounts in sides.items() if len(amounts or ()) > bounds.RESOURCE_NAMES), "")
