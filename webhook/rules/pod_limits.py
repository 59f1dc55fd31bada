"""Keep a Pod within the maxima for it as a whole: `pod_limits` of the policy.

They hold for what Kubernetes counts of a Pod: the sum of its containers and native sidecars, or the peak of an init
container. What is over them is lowered in proportion; devices go to the containers as they stand, the primary one
first. On a resize the growth alone is lowered: a running container keeps what it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from webhook.api import resource_list
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, HUGEPAGES, NATIVE, ResourceList, round_down, unit
from webhook.rules.edit import Edit, Side, edited, has_negative
from webhook.rules.effective import COMPUTE, Pick, aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload


@dataclass(slots=True)
class Part:
    """What one container has of a resource, in nanos, and what it keeps of that in any case."""

    edit: Edit
    is_init: bool  # runs before the others, beside the sidecars that were started before it
    is_sidecar: bool
    amount: int
    kept: int


def bound(workload: Workload) -> tuple[Workload, list[Change]]:
    """The Pod with no more in its containers than it may have as a whole, but for what `spec.resources` states."""
    if not workload.settings.pod_limits or has_negative(workload):
        return workload, []
    workload, limits = _bound(workload, "limits", limits_of)
    workload, requests = _bound(workload, "requests", requests_of)
    return workload, [*limits, *requests]


def _bound(workload: Workload, side: Side, of: Pick) -> tuple[Workload, list[Change]]:
    over = _over(workload, side, of)
    if not over:
        return workload, []
    had = {block.pointer: of(block) for block in workload.old.blocks} if workload.old else None
    edits = {block.pointer: Edit(block.pointer, block.resources, "clamp") for block in workload.blocks}
    parts: dict[str, list[Part]] = {name: [] for name in sorted(over)}
    for block in _in_order(workload):
        for name, amount in resource_list.only(of(block), over).items():
            kept = _kept(name, amount.nano, side, None if had is None else had.get(block.pointer, EMPTY))
            is_init = block.is_init and not block.is_sidecar
            parts[name].append(Part(edits[block.pointer], is_init, block.is_sidecar, amount.nano, kept))
    for name, holders in parts.items():
        _fit(name, holders, over[name].nano)
        for part in holders:
            _put(part, name, side, over[name])
    return edited(workload, (edit.done() for edit in edits.values()))


def _over(workload: Workload, side: Side, of: Pick) -> ResourceList:
    """The most that the Pod may have of each resource that it has too much of."""
    level = workload.stated
    stated = (level.limits if side == "limits" else level.requests) or EMPTY
    had = aggregate(workload.old, of) if workload.old else EMPTY
    over = {}
    for name, total in aggregate(workload, of).items():
        most = workload.settings.pod_limits.get(name)
        if most is None or stated.get(name) or (workload.old and name not in COMPUTE):
            continue
        most = max(most, had.get(name, most))
        if total > most:
            over[name] = most
    return over


def _in_order(workload: Workload) -> list[Block]:
    """Return the containers as they stand, the primary one before all others."""
    return sorted(workload.blocks, key=lambda block: block.pointer != workload.primary)


def _kept(name: str, amount: int, side: Side, had: ResourceList | None) -> int:
    """What a container is not lowered below: what it had, and so much that it is not without a request or limit."""
    least = unit(name) if name in NATIVE else 0
    if had is None:
        return min(amount, least)
    before = had.get(name)
    if side == "limits" and not before:
        return amount  # nothing bounded it
    return min(amount, max(before.nano if before else 0, least))


def _fit(name: str, parts: Sequence[Part], most: int) -> None:
    """Lower the amounts so that the Pod as a whole has no more than `most`."""
    shared = _in_proportion if _is_divisible(name) else _in_turn
    sidecars = [part for part in parts if part.is_sidecar]
    shared(name, [part for part in parts if not part.is_init], most)
    shared(name, sidecars, most - max((part.kept for part in parts if part.is_init), default=0))
    started = 0  # sidecars, before the init container that is looked at
    for part in parts:
        if part.is_sidecar:
            started += part.amount
        elif part.is_init:
            part.amount = max(part.kept, min(part.amount, round_down(name, most - started)))


def _is_divisible(name: str) -> bool:
    return name in NATIVE or name.startswith(HUGEPAGES)


def _in_proportion(name: str, parts: Sequence[Part], most: int) -> None:
    total, kept = sum(part.amount for part in parts), sum(part.kept for part in parts)
    if total <= max(most, kept):
        return
    shares = [max(part.kept, round_down(name, part.amount * most // total)) for part in parts]
    if sum(shares) > most:  # for what is kept: then the rest alone is shared
        room = max(most - kept, 0)
        shares = [part.kept + round_down(name, (part.amount - part.kept) * room // (total - kept)) for part in parts]
    for part, share in zip(parts, shares, strict=True):
        part.amount = share


def _in_turn(name: str, parts: Sequence[Part], most: int) -> None:
    for part in parts:
        part.amount = min(part.amount, round_down(name, most))
        most -= part.amount


def _put(part: Part, name: str, side: Side, most: Quantity) -> None:
    """Write down what the container has now; a request is never over its limit."""
    edit, asked = part.edit, (part.edit.limits if side == "limits" else part.edit.requests)[name]
    if part.amount == asked.nano:
        return
    share = "over what is left" if part.is_init or not _is_divisible(name) else "over its share"
    why = f"{share} of the {most} that the Pod as a whole may have"
    if side == "limits":
        edit.limit(name, Quantity(part.amount, asked.format), why)
    if name in edit.requests and edit.requests[name].nano > part.amount:
        edit.request(name, Quantity(part.amount, asked.format), why)
