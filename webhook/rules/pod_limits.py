"""Keeps a Pod within the maxima for the Pod as a whole: `pod_limits` of the policy.

They apply to what Kubernetes counts for a Pod: the sum of its containers and native sidecars, or the peak of an init
container. Amounts over a maximum are lowered in proportion: limits that rules have filled in first, down to their
requests, since the author did not ask for more; then all. Devices go to the containers in order, the primary one first.
On a resize only the growth is lowered: a running container keeps what it has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from webhook.api import resource_list
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, HUGEPAGES, NATIVE, ResourceList, round_down, unit
from webhook.rules.edit import Edit, Side, apply_edits, has_negative
from webhook.rules.effective import COMPUTE, Selector, aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload


@dataclass(slots=True)
class Part:
    """The amount of a resource in one container, in nanos, and what of it is lowered last, and what never."""

    edit: Edit
    is_init: bool  # runs before the others, beside the sidecars that were started before it
    is_sidecar: bool
    amount: int
    asked: int  # what the author asks for; of a limit that rules have filled in, the request
    kept: int


def clamp_pod(workload: Workload) -> tuple[Workload, list[Change]]:
    """Lower the containers to the maxima of the Pod, except for resources that `spec.resources` states."""
    if not (workload.settings.pod_limits or workload.ranges.pod.most) or has_negative(workload):
        return workload, []
    workload, limits = _clamp_side(workload, "limits", limits_of)
    workload, requests = _clamp_side(workload, "requests", requests_of)
    return workload, [*limits, *requests]


def _clamp_side(workload: Workload, side: Side, of: Selector) -> tuple[Workload, list[Change]]:
    over = _over(workload, side, of)
    if not over:
        return workload, []
    had = {block.pointer: of(block) for block in workload.old.blocks} if workload.old else None
    edits = {block.pointer: Edit(block.pointer, block.resources, "clamp") for block in workload.blocks}
    parts: dict[str, list[Part]] = {name: [] for name in sorted(over)}
    for block in _in_order(workload):
        for name, amount in resource_list.only(of(block), over).items():
            before = None if had is None else had.get(block.pointer, EMPTY)
            least = workload.ranges.container.least.get(name, ZERO).nano
            kept = amount.nano if block.is_fixed else _kept(name, amount.nano, side, before, least)
            is_init = block.is_init and not block.is_sidecar
            asked = max(kept, _asked(block, name, amount, side).nano)
            parts[name].append(Part(edits[block.pointer], is_init, block.is_sidecar, amount.nano, asked, kept))
    for name, holders in parts.items():
        _fit(name, holders, over[name].nano)
        for part in holders:
            _put(part, name, side, over[name])
    return apply_edits(workload, (edit.result() for edit in edits.values()))


def _over(workload: Workload, side: Side, of: Selector) -> ResourceList:
    """Return the maximum of each resource that the Pod has too much of."""
    level = workload.pod_resources
    stated = (level.limits if side == "limits" else level.requests) or EMPTY
    had = aggregate(workload.old, of) if workload.old else EMPTY
    over = {}
    for name, total in aggregate(workload, of).items():
        most = workload.total_maximum(name)
        if most is None or stated.get(name) or (workload.old and name not in COMPUTE):
            continue
        most = max(most, had.get(name, most))
        if total > most:
            over[name] = most
    return over


def _in_order(workload: Workload) -> list[Block]:
    """Return the containers as they stand, the primary one before all others."""
    return sorted(workload.blocks, key=lambda block: block.pointer != workload.primary)


def _kept(name: str, amount: int, side: Side, had: ResourceList | None, least: int) -> int:
    """Return the amount that a container keeps: what it had, the minimum of a LimitRange, and at least one unit.

    Zero would mean no limit.
    """
    least = max(least, unit(name) if name in NATIVE else 0)
    if had is None:
        return min(amount, least)
    before = had.get(name)
    if side == "limits" and not before:
        return amount  # it was unlimited
    return min(amount, max(before.nano if before else 0, least))


def _asked(block: Block, name: str, amount: Quantity, side: Side) -> Quantity:
    stated = (block.stated and block.stated.limits) or EMPTY
    return amount if side == "requests" or stated.get(name) else min(amount, block.requests.get(name, amount))


def _fit(name: str, parts: Sequence[Part], most: int) -> None:
    """Lower the amounts so that the Pod as a whole has no more than `most`."""
    shared = _in_proportion if _is_divisible(name) else _in_turn
    sidecars = [part for part in parts if part.is_sidecar]
    shared(name, [part for part in parts if not part.is_init], most)
    shared(name, sidecars, most - max((part.kept for part in parts if part.is_init), default=0))
    started = 0  # total of the sidecars before the current init container
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
    if (asked := sum(part.asked for part in parts)) <= most:
        for part in parts:
            more = part.amount - part.asked
            part.amount = part.asked + round_down(name, more * (most - asked) // (total - asked))
        return
    shares = [max(part.kept, round_down(name, part.amount * most // total)) for part in parts]
    if sum(shares) > most:  # because of the kept amounts: share only the rest
        room = max(most - kept, 0)
        shares = [part.kept + round_down(name, (part.amount - part.kept) * room // (total - kept)) for part in parts]
    for part, share in zip(parts, shares, strict=True):
        part.amount = share


def _in_turn(name: str, parts: Sequence[Part], most: int) -> None:
    for part in parts:
        part.amount = min(part.amount, round_down(name, most))
        most -= part.amount


def _put(part: Part, name: str, side: Side, most: Quantity) -> None:
    """Record the lowered amount in the edit; a request is lowered with its limit."""
    edit, asked = part.edit, (part.edit.limits if side == "limits" else part.edit.requests)[name]
    if part.amount == asked.nano:
        return
    share = "over what is left" if part.is_init or not _is_divisible(name) else "over its share"
    why = f"{share} of the {most} that the Pod as a whole may have"
    if side == "limits":
        edit.set_limit(name, Quantity(part.amount, asked.format), why)
    if name in edit.requests and edit.requests[name].nano > part.amount:
        edit.set_request(name, Quantity(part.amount, asked.format), why)
