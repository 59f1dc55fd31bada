"""Bound `spec.resources` as a container is bounded, and keep the containers within it.

What it states for the Pod as a whole is completed and clamped. The result is never one that the API server refuses:
there no request is under the sum of the containers' requests, and no limit under that of a container
(validatePodResourceConsistency in kubernetes `pkg/apis/core/validation`).
"""

from typing import NamedTuple

from webhook.api import resource_list
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, HUGEPAGES, ResourceList
from webhook.api.resources import Resources
from webhook.policy.settings import Defaults, Settings
from webhook.rules.edit import Edit, Edited, edited, has_negative
from webhook.rules.effective import COMPUTE, aggregate, limits_of
from webhook.rules.findings import Change
from webhook.rules.workload import LEVEL, Block, Workload


class Sums(NamedTuple):
    """What the containers ask for together."""

    requests: ResourceList
    limits: ResourceList


def complete(workload: Workload) -> tuple[Workload, list[Change]]:
    """The Pod with requests and limits of the cpu and memory that `spec.resources` states and leaves unlimited."""
    if not _states(workload):
        return workload, []
    edit, sums = Edit(LEVEL, workload.level, "fill"), _sums(workload)
    for name in COMPUTE:
        if not _is_stated(edit, name, sums):
            continue
        if name in edit.requests or _is_unlimited(edit, workload, name, sums):
            _complete_request(edit, name, workload.settings.defaults, sums.requests.get(name))
        request, largest = edit.requests.get(name), _largest_limit(workload, name)
        if request and _is_unlimited(edit, workload, name, sums):
            is_largest = largest > request
            why = "not set; the largest limit of its containers" if is_largest else "not set; same as the request"
            edit.limit(name, largest if is_largest else request, why)
    return edited(workload, [edit.done()])


def _is_stated(edit: Edit, name: str, sums: Sums) -> bool:
    """Whether the author states it: a request that is the sum of the containers' may be the API server's own."""
    request = edit.requests.get(name)
    is_sum = bool(request) and request == sums.requests.get(name)
    return name in edit.limits or (request is not None and not is_sum)


def _complete_request(edit: Edit, name: str, defaults: Defaults, total: Quantity | None) -> None:
    if edit.requests.get(name):
        return
    if total:
        edit.request(name, total, "not set; what its containers request together")
    elif limit := edit.limits.get(name):
        edit.request(name, limit, "not set; same as the limit")
    elif default := defaults.amounts.get(name):
        edit.request(name, default, "not set; the default")
    elif most := defaults.bounds.get(name):
        edit.request(name, most, "not set, and there is no default; the maximum")


def _states(workload: Workload) -> bool:
    """Whether `spec.resources` states anything, and nothing in the Pod is refused by the API server anyway."""
    level = workload.stated
    return bool(level.requests or level.limits) and not has_negative(workload)


def _sums(workload: Workload) -> Sums:
    return Sums(aggregate(workload, _requests_within_limits), aggregate(workload, limits_of))


def _requests_within_limits(block: Block) -> ResourceList:
    limits = block.limits
    return {name: min(request, limits.get(name) or request) for name, request in block.requests.items()}


def _is_unlimited(edit: Edit, workload: Workload, name: str, sums: Sums) -> bool:
    """Whether nothing limits what the Pod uses of a resource that `spec.resources` states, or will state.

    The API server states the sum of the containers' requests. Limits that all containers have are a limit for the Pod.
    """
    request = edit.requests.get(name) or sums.requests.get(name)
    if edit.limits.get(name) or not (request or name in edit.names):
        return False
    covered = all(block.limits.get(name) for block in workload.blocks)
    return name in edit.limits or not covered or bool(request and request > sums.limits.get(name, ZERO))


def _largest_limit(workload: Workload, name: str) -> Quantity:
    """The largest limit of an app container: the API server wants none over that of the Pod."""
    return max((block.limits.get(name, ZERO) for block in workload.blocks if not block.is_init), default=ZERO)


def clamp(workload: Workload) -> tuple[Workload, list[Change]]:
    """The Pod with nothing in `spec.resources` over a maximum, and its containers within what was lowered there."""
    if not _states(workload):
        return workload, []
    before, sums = workload.stated, _sums(workload)
    workload, level = edited(workload, [_clamped(workload, workload.settings, sums)])
    if not level:
        return workload, []
    bounds = _bounds(before, workload.stated)
    workload, within = edited(workload, (_within(block, bounds, sums) for block in workload.blocks))
    return workload, [*level, *within]


def _clamped(workload: Workload, settings: Settings, sums: Sums) -> Edited:
    edit = Edit(LEVEL, workload.level, "clamp")
    for name in COMPUTE:
        most = settings.pod_maximum(name)
        if most is not None and _is_unlimited(edit, workload, name, sums):
            used = max(edit.requests.get(name, ZERO), sums.requests.get(name, ZERO), _largest_limit(workload, name))
            limit = min(used or most, most) if name in edit.names else most
            edit.limit(name, limit, f"unlimited; the maximum is {most}")
    for name in edit.names:
        edit.lower(name, settings.pod_maximum(name))
    _anticipate(edit, workload, settings, sums)
    return edit.done()


def _anticipate(edit: Edit, workload: Workload, settings: Settings, sums: Sums) -> None:
    """State what is over a maximum in the sums that the API server states where `spec.resources` leaves them out.

    DefaultPodLevelResources in kubernetes `pkg/api/pod`: requests, hugepages, and limits that all containers have.
    """
    for name, total in sorted(sums.limits.items()):
        most = settings.pod_maximum(name)
        if most is None or name in edit.limits or total <= most:
            continue
        why = f"not set; the limits of its containers are {total} together, over the maximum {most}"
        if name in COMPUTE and all(name in block.limits for block in workload.blocks):
            edit.limit(name, most, why)
        elif name.startswith(HUGEPAGES) and name not in edit.requests:
            edit.request(name, edit.limit(name, most, why), "same as the limit")
    for name in COMPUTE:
        most, total = settings.pod_maximum(name), sums.requests.get(name, ZERO)
        if most is not None and name not in edit.requests and total > most:
            edit.request(name, most, f"not set; its containers request {total}, over the maximum {most}")
            edit.lower(name, None)


def _bounds(before: Resources, now: Resources) -> Sums:
    """What `spec.resources` has now of each name that was touched there."""
    requests, limits = now.requests or EMPTY, now.limits or EMPTY
    touched = {
        name
        for was, side in ((before.requests or EMPTY, requests), (before.limits or EMPTY, limits))
        for name, value in side.items()
        if was.get(name) != value
    }
    return Sums(resource_list.only({**limits, **requests}, touched), resource_list.only(limits, touched))


def _within(block: Block, bounds: Sums, sums: Sums) -> Edited:
    """The container's requests, and hugepages, cut in proportion to what all ask for; its limits to that of the Pod."""
    edit = Edit(block.pointer, block.resources, "clamp")
    for name, most in sorted(bounds.limits.items()):
        limit, request, total = edit.limits.get(name), edit.requests.get(name), sums.limits.get(name, ZERO)
        if limit and name.startswith(HUGEPAGES) and total > most:
            why = f"over its share of the {most} that the Pod as a whole may have"
            limit = edit.limit(name, _share(name, limit, most, total), why)
            if request and request > limit:
                edit.request(name, limit, why)
        elif limit and limit > most:
            edit.limit(name, most, f"over the {most} that the Pod as a whole may have")
    for name, most in sorted(bounds.requests.items()):
        request, total = edit.requests.get(name), sums.requests.get(name, ZERO)
        if request and total > most and not name.startswith(HUGEPAGES):
            share = _share(name, request, most, total)
            edit.request(name, share, f"over its share of the {most} that the Pod as a whole may request")
    return edit.done()


def _share(name: str, amount: Quantity, most: Quantity, total: Quantity) -> Quantity:
    """amount x most / total, rounded down so that the sum fits."""
    return Quantity(resource_list.round_down(name, amount.nano * most.nano // total.nano), amount.format)
