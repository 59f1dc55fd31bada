"""Keeps what the rules have set within the LimitRanges, by which the API server checks the Pod after the webhooks.

Its LimitRanger plugin checks `min`, `max` and `maxLimitRequestRatio` of each container and of the Pod
(PodValidateLimitFunc in kubernetes `plugin/pkg/admission/limitranger`). Other rules lower to `max`; the rest is here.
Amounts that the author states are left to the plugin, unless it is the rules that broke the ratio of the Pod.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from webhook.api.pod import POD_LEVEL
from webhook.api.quantity import NANO, ZERO, Quantity
from webhook.api.resource_list import EMPTY, ResourceList, round_down, unit
from webhook.api.resources import NO_RESOURCES, Resources
from webhook.rules.defaulting import default
from webhook.rules.edit import SIDES, Edit, EditedBlock, Side, apply_edits, has_negative
from webhook.rules.effective import aggregate, limits_of, requests_of
from webhook.rules.fill import MINIMUM
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload

RATIO: Final = "over {} times the request, the ratio of a LimitRange"


def keep(before: Workload, after: Workload) -> tuple[Workload, list[Change]]:
    """Move what differs from `before` into the LimitRanges, and note what they refuse all the same."""
    if has_negative(before):
        return after, []
    workload, changes = apply_edits(after, map(_fit, before.blocks, after.blocks, [after] * len(after.blocks)))
    for name in sorted(workload.ranges.pod.least):
        for side in SIDES:
            workload, made = _up_to_minimum(before, workload, name, side)
            changes += made
        workload, made = _down_to_maximum(before, workload, name)
        changes += made
    for name in sorted(workload.ranges.pod.ratio):
        workload, made = _down_to_ratio(before, workload, name)
        changes += made
    for note in _contradictions(workload):
        workload = workload.noting(note)
    return workload, changes


def _fit(was: Block, block: Block, workload: Workload) -> EditedBlock:
    """Lower a limit to the ratio to its request."""
    edit = Edit(block.pointer, block.resources, "fill")
    for name in edit.names:
        request, limit = edit.requests.get(name), edit.limits.get(name)
        if request == was.requests.get(name) and limit == was.limits.get(name):
            continue
        ratio = workload.ranges.container.ratio.get(name) if was.limits.get(name) else workload.ranges.ratio(name)
        if ratio and request and limit and limit > (most := max(request, _times(ratio, request, name))):
            edit.set_limit(name, most, RATIO.format(ratio))
    return edit.result()


def _times(ratio: Quantity, request: Quantity, name: str) -> Quantity:
    """Return the largest limit with this ratio to the request, by the floating point numbers of the plugin."""
    nano = round_down(name, request.nano * ratio.nano // NANO)
    is_over = nano / request.nano * 1000 > ratio.nano / (NANO // 1000)
    return Quantity(nano - unit(name) * is_over, request.format)


def _up_to_minimum(before: Workload, workload: Workload, name: str, side: Side) -> tuple[Workload, list[Change]]:
    """Raise what the rules have set until the Pod has the minimum, in the primary container first."""
    changes: list[Change] = []
    least = workload.ranges.pod.least[name]
    least = min(least, workload.total_maximum(name) or least)
    if side == "limits" and _of_pod(workload, "requests").get(name, ZERO) < least:
        return workload, changes  # the plugin refuses the Pod for its requests
    for was, block in _ours(before, workload, name, side):
        total = _of_pod(workload, side).get(name)
        if total is None or total >= least:
            break
        lack = least - (total if block.pointer == POD_LEVEL else _running(workload, side).get(name, ZERO))
        edit = Edit(block.pointer, block.resources, "fill")
        maximum = workload.pod_maximum(name) if block.pointer == POD_LEVEL else workload.maximum(name)
        bounds = maximum, was.limits.get(name), (was.requests if side == "requests" else was.limits).get(name)
        _raise(edit, name, side, lack, [bound for bound in bounds if bound])
        workload, made = apply_edits(workload, [edit.result()])
        changes += made
    return workload, changes


def _raise(edit: Edit, name: str, side: Side, lack: Quantity, bounds: list[Quantity]) -> None:
    """Raise one amount by what is lacking, and its limit with it, as far as all bounds allow."""
    value, limit = (edit.requests if side == "requests" else edit.limits)[name], edit.limits.get(name)
    raised = min([value + lack, *bounds])
    if raised > value and side == "requests":
        edit.set_request(name, raised, MINIMUM)
    if raised > value and limit and limit < raised:
        edit.set_limit(name, raised, MINIMUM)


def _down_to_maximum(before: Workload, workload: Workload, name: str) -> tuple[Workload, list[Change]]:
    """Lower limits to the maximum of the Pod, over which requests raised to its minimum have taken them."""
    most = workload.total_maximum(name)
    if most is None or name in _level(workload.pod_level).limits:
        return workload, []
    running = [(block, block) for block in workload.blocks if not block.is_init or block.is_sidecar]
    pairs = [*_ours(before, workload, name, "limits")][::-1] + running
    why = f"over its share of the {most} that the Pod as a whole may have"
    return _lower(workload, name, pairs, lambda now: max(_of_pod(now, "limits").get(name, ZERO) - most, ZERO), why)


def _down_to_ratio(before: Workload, workload: Workload, name: str) -> tuple[Workload, list[Change]]:
    """Lower limits until the Pod has the ratio: those that the rules have set, then all if the rules have broken it."""
    ratio = workload.ranges.pod.ratio[name]
    ours = [*_ours(before, workload, name, "limits")][::-1]
    others = [(block, block) for block in workload.blocks if not _excess(before, name, ratio)]
    return _lower(workload, name, [*ours, *ours, *others], lambda now: _excess(now, name, ratio), RATIO.format(ratio))


def _lower(
    workload: Workload,
    name: str,
    pairs: Iterable[tuple[Block, Block]],
    excess_of: Callable[[Workload], Quantity],
    why: str,
) -> tuple[Workload, list[Change]]:
    """Lower limits, not under their requests, until nothing is in excess; `pairs` are blocks as they came and are."""
    changes = list[Change]()
    for was, block in pairs:
        edit = Edit(block.pointer, dict(workload.all_blocks())[block.pointer], "clamp")
        limit, excess = edit.limits.get(name), excess_of(workload)
        if not excess or not limit:
            continue
        least = max(edit.requests.get(name, ZERO), min(workload.ranges.container.least.get(name, ZERO), limit))
        if block.pointer == POD_LEVEL:
            least = max([least, *(each.limits.get(name, ZERO) for each in workload.blocks if not each.is_init)])
        needs_limit = block.pointer in (workload.primary, POD_LEVEL) or workload.needs_limit(name)
        if limit > least:
            edit.set_limit(name, max(least, limit - excess), why)
        elif not was.limits.get(name) and not needs_limit and name not in workload.ranges.pod.most:
            edit.remove("limits", name, why)
        workload, made = apply_edits(workload, [edit.result()])
        changes += made
    return workload, changes


def _excess(workload: Workload, name: str, ratio: Quantity) -> Quantity:
    """Return by how much the limit of the Pod is over the ratio."""
    request, limit = (_of_pod(workload, side).get(name, ZERO) for side in SIDES)
    return max(limit - _times(ratio, request, name), ZERO) if request and limit else ZERO


def _ours(before: Workload, workload: Workload, name: str, side: Side) -> Iterator[tuple[Block, Block]]:
    """Yield the blocks in which the rules have set the amount, as they were and as they are, the primary one first.

    That is `spec.resources` where the amount is stated there. Init containers that end add nothing.
    """
    level = _level(workload.pod_level)
    pairs = [(_level(before.pod_level), level)]
    if name not in (level.requests if side == "requests" else level.limits):
        running = zip(before.blocks, workload.blocks, strict=True)
        pairs = sorted(
            ((was, now) for was, now in running if not now.is_init or now.is_sidecar),
            key=lambda pair: pair[1].pointer != workload.primary,
        )
    for was, now in pairs:
        stated, value = ((each.requests if side == "requests" else each.limits).get(name) for each in (was, now))
        if value and value != stated:
            yield was, now


def _level(resources: Resources | None) -> Block:
    return Block(POD_LEVEL, resources)


def _of_pod(workload: Workload, side: Side) -> ResourceList:
    """Return what the plugin takes for requests or limits of the Pod."""
    whole = default(workload)[0]
    level = whole.pod_level or NO_RESOURCES
    if side == "requests":
        return {**aggregate(whole, requests_of), **(level.requests or EMPTY)}
    return {**aggregate(whole, limits_of), **(level.limits or EMPTY)}


def _running(workload: Workload, side: Side) -> ResourceList:
    """Return the sum of the containers and sidecars, without those that end before."""
    blocks = tuple(block for block in workload.blocks if not block.is_init or block.is_sidecar)
    return aggregate(workload.with_blocks(blocks), requests_of if side == "requests" else limits_of)


def _contradictions(workload: Workload) -> Iterator[str]:
    """Yield where a minimum is over a maximum, so that the plugin refuses what the rules lower."""
    whole, ranges = default(workload)[0], workload.ranges
    names = {name for _, block in whole.all_blocks() if block for name in (block.requests or ())}
    for name in sorted(names):
        least, most = ranges.container.least.get(name, ZERO), workload.maximum(name)
        if most and most < least:
            yield f"a LimitRange wants at least {name}={least} in a container, the maximum is {most}"
        whole_maximum = workload.pod_maximum if name in _level(whole.pod_level).requests else workload.total_maximum
        of_pod, of_all = ranges.pod.least.get(name, ZERO), whole_maximum(name)
        holders = sum(name in block.requests for block in whole.blocks if not block.is_init)
        together = Quantity(least.nano * holders, least.format)
        if of_all and of_all < of_pod:
            yield f"a LimitRange wants at least {name}={of_pod} in a Pod, the maximum is {of_all}"
        elif of_all and of_all < together:
            yield f"a LimitRange wants at least {name}={least} in each container, the maximum of the Pod is {of_all}"
