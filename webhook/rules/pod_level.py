"""Bounds `spec.resources` like a container, and keeps the containers within it.

The rules complete and clamp `spec.resources`. The API server accepts the result: no request is under the sum of the
containers' requests, and no limit is under that of a container (validatePodResourceConsistency in kubernetes
`pkg/apis/core/validation`).
"""

from typing import Final, NamedTuple

from msgspec.structs import replace

from webhook.api import resource_list
from webhook.api.pod import POD_LEVEL
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, HUGEPAGES, ResourceList
from webhook.api.resources import Resources
from webhook.api.version import POD_LEVEL_FIXED
from webhook.policy.settings import Defaults
from webhook.rules.edit import Edit, EditedBlock, apply_edits, has_negative
from webhook.rules.effective import COMPUTE, aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload

SUMMED_UP: Final = "what its containers request together"


class Totals(NamedTuple):
    """Requests and limits of all containers together."""

    requests: ResourceList
    limits: ResourceList


def set_sums_aside(workload: Workload) -> tuple[Workload, list[Change]]:
    """Remove the requests of `spec.resources` that are sums of its containers': nobody states them.

    Before 1.37 the API server sums up beside a limit before the webhooks, and never again. So the cpu that a sidecar
    requests would be all that a Pod has which states its memory. A zero stays: an earlier review, which has put the
    limit there, may have left it.
    """
    if workload.kubernetes >= POD_LEVEL_FIXED or not workload.pod_resources.limits or not _states(workload):
        return workload, []
    edit, totals = Edit(POD_LEVEL, workload.pod_level, "fill"), aggregate(workload, requests_of)
    sums = tuple((name, total) for name, total in edit.requests.items()
                 if name in COMPUTE and name not in edit.limits and total and total == totals.get(name))  # fmt: skip
    for name, _ in sums:
        edit.remove("requests", name, SUMMED_UP)
    workload, changes = apply_edits(workload, [edit.result()])
    return replace(workload, sums=sums), changes


def sum_up(workload: Workload) -> tuple[Workload, list[Change]]:
    """Set the requests that were set aside to what the containers request now."""
    edit, totals = Edit(POD_LEVEL, workload.pod_level, "fill"), aggregate(workload, requests_of)
    for name, before in workload.sums:
        if name not in edit.requests:
            edit.set_request(name, before if before == totals[name] else totals[name], SUMMED_UP)
    return apply_edits(replace(workload, sums=()), [edit.result()])


def fill_pod_level(workload: Workload) -> tuple[Workload, list[Change]]:
    """Complete requests and limits of the cpu and memory that `spec.resources` states without a limit."""
    if not _states(workload):
        return workload, []
    edit, totals = Edit(POD_LEVEL, workload.pod_level, "fill"), _totals(workload)
    for name in COMPUTE:
        if not _is_stated(edit, name, totals, workload.pod_resources):
            continue
        if name in edit.requests or _is_unlimited(edit, workload, name, totals):
            _complete_request(edit, name, workload.settings.defaults, totals.requests.get(name))
        request, largest = edit.requests.get(name), _largest_limit(workload, name)
        if request and _is_unlimited(edit, workload, name, totals):
            is_largest = largest > request
            why = "not set; the largest limit of its containers" if is_largest else "not set; same as the request"
            edit.set_limit(name, resource_list.whole(name, largest if is_largest else request), why)
    return apply_edits(workload, [edit.result()])


def _is_stated(edit: Edit, name: str, totals: Totals, level: Resources) -> bool:
    """Return whether the author states it.

    A request equal to the sum of the containers' may be the API server's, which sums up only beside a limit.
    """
    request = edit.requests.get(name)
    is_sum = bool(level.limits) and bool(request) and request == totals.requests.get(name)
    return name in edit.limits or (request is not None and not is_sum)


def _complete_request(edit: Edit, name: str, defaults: Defaults, total: Quantity | None) -> None:
    if edit.requests.get(name):
        return
    if total:
        edit.set_request(name, resource_list.whole(name, total), f"not set; {SUMMED_UP}")
    elif limit := edit.limits.get(name):
        edit.set_request(name, limit, "not set; same as the limit")
    elif default := defaults.requests.get(name):
        edit.set_request(name, default, "not set; the default")
        if (limit := defaults.limits[name]) != default:
            edit.set_limit(name, limit, "not set; the default")
    elif most := defaults.bounds.get(name):
        edit.set_request(name, most, "not set, and there is no default; the maximum")


def _states(workload: Workload) -> bool:
    """Return whether `spec.resources` is not empty and the Pod has no negative amount, which the API server refuses."""
    level = workload.pod_resources
    return bool(level.requests or level.limits) and not has_negative(workload)


def _totals(workload: Workload) -> Totals:
    return Totals(aggregate(workload, _requests_within_limits), aggregate(workload, limits_of))


def _requests_within_limits(block: Block) -> ResourceList:
    limits = block.limits
    return {name: min(request, limits.get(name) or request) for name, request in block.requests.items()}


def _is_unlimited(edit: Edit, workload: Workload, name: str, totals: Totals) -> bool:
    """Return whether a resource in `spec.resources`, or defaulted there later, has no limit for the Pod.

    The API server defaults to the sum of the containers' requests, zero included. Limits on all containers also limit
    the Pod.
    """
    if edit.limits.get(name) or not (name in totals.requests or name in edit.names):
        return False
    request = edit.requests.get(name) or totals.requests.get(name)
    covered = all(block.limits.get(name) for block in workload.blocks)
    return name in edit.limits or not covered or bool(request and request > totals.limits.get(name, ZERO))


def _largest_limit(workload: Workload, name: str) -> Quantity:
    """Return the largest limit of an app container: the API server refuses one over that of the Pod."""
    return max((block.limits.get(name, ZERO) for block in workload.blocks if not block.is_init), default=ZERO)


def clamp_pod_level(workload: Workload) -> tuple[Workload, list[Change]]:
    """Lower `spec.resources` to the maxima, and the containers to what was lowered there."""
    if not _states(workload):
        return workload, []
    before, totals = workload.pod_resources, _totals(workload)
    workload, level = apply_edits(workload, [_clamped(workload, totals)])
    if not level:
        return workload, []
    bounds, least = _bounds(before, workload.pod_resources), workload.ranges.container.least
    kept = aggregate(workload, lambda block: _kept(block, least))
    workload, within = apply_edits(workload, (_within(block, bounds, totals, least, kept) for block in workload.blocks))
    return workload, [*level, *within]


def _clamped(workload: Workload, totals: Totals) -> EditedBlock:
    edit = Edit(POD_LEVEL, workload.pod_level, "clamp")
    for name in COMPUTE:
        most = workload.pod_maximum(name)
        if most is not None and _is_unlimited(edit, workload, name, totals):
            used = max(edit.requests.get(name, ZERO), totals.requests.get(name, ZERO), _largest_limit(workload, name))
            limit = min(used or most, most) if name in edit.names else most
            edit.set_limit(name, limit, f"unlimited; the maximum is {most}")
    for name in edit.names:
        edit.lower(name, workload.pod_maximum(name))
    _anticipate(edit, workload, totals)
    return edit.result()


def _anticipate(edit: Edit, workload: Workload, totals: Totals) -> None:
    """Set maxima where the sums that the API server fills into `spec.resources` would be over them.

    It fills in requests, hugepages, and limits that all containers have (DefaultPodLevelResources in kubernetes
    `pkg/api/pod`).
    """
    for name, total in sorted(totals.limits.items()):
        most = workload.pod_maximum(name)
        if most is None or name in edit.limits or total <= most:
            continue
        why = f"not set; the limits of its containers are {total} together, over the maximum {most}"
        if name in COMPUTE and all(name in block.limits for block in workload.blocks):
            edit.set_limit(name, most, why)
        elif name.startswith(HUGEPAGES) and name not in edit.requests:
            edit.set_request(name, edit.set_limit(name, most, why), "same as the limit")
    for name in COMPUTE:
        most, total = workload.pod_maximum(name), totals.requests.get(name, ZERO)
        if most is not None and name not in edit.requests and total > most:
            edit.set_request(name, most, f"not set; its containers request {total}, over the maximum {most}")
            edit.lower(name, None)


def _bounds(before: Resources, now: Resources) -> Totals:
    """Return the amounts in `spec.resources` that differ from before."""
    requests, limits = now.requests or EMPTY, now.limits or EMPTY
    touched = {
        name
        for was, side in ((before.requests or EMPTY, requests), (before.limits or EMPTY, limits))
        for name, value in side.items()
        if was.get(name) != value
    }
    return Totals(resource_list.only({**limits, **requests}, touched), resource_list.only(limits, touched))


def _kept(block: Block, least: ResourceList) -> ResourceList:
    """Return what a container keeps of its requests: the minimum of a LimitRange."""
    return {name: min(amount, least.get(name, ZERO)) for name, amount in block.requests.items()}


def _within(block: Block, bounds: Totals, totals: Totals, least: ResourceList, kept: ResourceList) -> EditedBlock:
    """Lower requests and hugepages in proportion to those of all containers, and limits to that of the Pod.

    Requests stay over the minimum of a LimitRange, of which all containers have `kept` together, where that fits.
    """
    edit = Edit(block.pointer, block.resources, "clamp")
    for name, most in sorted(bounds.limits.items()):
        limit, request, total = edit.limits.get(name), edit.requests.get(name), totals.limits.get(name, ZERO)
        if limit and name.startswith(HUGEPAGES) and total > most:
            why = f"over its share of the {most} that the Pod as a whole may have"
            limit = edit.set_limit(name, _share(name, limit, most, total), why)
            if request and request > limit:
                edit.set_request(name, limit, why)
        elif limit and limit > most:
            edit.set_limit(name, most, f"over the {most} that the Pod as a whole may have")
    for name, most in sorted(bounds.requests.items()):
        request, total = edit.requests.get(name), totals.requests.get(name, ZERO)
        if request and total > most and not name.startswith(HUGEPAGES):
            own, all_own = _kept(block, least)[name], kept.get(name, ZERO)
            if all_own >= most:
                own = all_own = ZERO
            share = own + _share(name, request - own, most - all_own, total - all_own)
            edit.set_request(name, share, f"over its share of the {most} that the Pod as a whole may request")
    return edit.result()


def _share(name: str, amount: Quantity, most: Quantity, total: Quantity) -> Quantity:
    """Return amount x most / total, rounded down so that the sum fits."""
    return Quantity(resource_list.round_down(name, amount.nano * most.nano // total.nano), amount.format)
