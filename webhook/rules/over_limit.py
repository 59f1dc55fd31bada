"""Denies Pods with more than a maximum, where the policy has `over_limit: refuse` for the resource.

A task that was written for four devices fails later and with worse words where it gets two.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from webhook.api.pod import POD_LEVEL
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, ResourceList, maximum
from webhook.api.resources import NO_RESOURCES, Resources
from webhook.rules.effective import aggregate, limits_of, requests_of
from webhook.rules.workload import Workload


def deny_over_limit(workload: Workload) -> str:
    """Return what is over its maximum and may not be lowered; empty where there is nothing."""
    refused_by = workload.settings.over_limit_refused_by
    if not refused_by:
        return ""
    found = [
        f"{name} is {amount}{where}, over the maximum {most}; ask for at most {most}, the policy says "
        f"over_limit: refuse ({origin.rpartition('/')[2]})"
        for name, amount, where, most in over_maximum(workload)
        if (origin := refused_by.find(name))
    ]
    return "; ".join(dict.fromkeys(found))


def over_maximum(workload: Workload) -> Iterator[tuple[str, Quantity, str, Quantity]]:
    """Yield what the author of the Pod states over a maximum: the resource, the amount, of what, the maximum.

    Defaults of LimitRanges are not the author's. On a resize only what grows counts; nothing does where an exemption
    skips the maxima.
    """
    if "clamp" not in workload.settings.skips:
        yield from _over_of_containers(workload)
        yield from _over_of_pod(workload)


def _over_of_containers(workload: Workload) -> Iterator[tuple[str, Quantity, str, Quantity]]:
    before = dict(workload.old.all_blocks()) if workload.old else {}
    stated = [(block.pointer, block.stated) for block in workload.blocks]
    for pointer, block in (*stated, (POD_LEVEL, workload.pod_level)):
        of = workload.pod_maximum if pointer == POD_LEVEL else workload.maximum
        had = _stated(before.get(pointer))
        for name, amount in sorted(_stated(block).items()):
            most = of(name)
            if most and amount > max(most, had.get(name, ZERO)):
                yield name, amount, "", most


def _over_of_pod(workload: Workload) -> Iterator[tuple[str, Quantity, str, Quantity]]:
    stated, had = _stated(workload.pod_level), _of_all(workload.old) if workload.old else EMPTY
    for name, amount in sorted(_of_all(workload).items()):
        most = workload.total_maximum(name)
        if name not in stated and most and amount > max(most, had.get(name, ZERO)):
            yield name, amount, " in all containers together", most


def _of_all(workload: Workload) -> ResourceList:
    stated = workload.with_blocks(tuple(replace(block, resources=block.stated) for block in workload.blocks))
    return maximum(aggregate(stated, requests_of), aggregate(stated, limits_of))


def _stated(block: Resources | None) -> ResourceList:
    """Return the larger of request and limit of each resource."""
    resources = block or NO_RESOURCES
    return maximum(resources.requests or EMPTY, resources.limits or EMPTY)
