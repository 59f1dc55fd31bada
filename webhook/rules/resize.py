"""Bounds a resize: no container and no Pod grows over a maximum.

A resize changes only cpu and memory, of any container that has not ended (ValidatePodResize in kubernetes
`pkg/apis/core/validation`). The rules bound growth only: a running container never loses what it has.
"""

from collections.abc import Callable

from webhook.api.pod import POD_LEVEL
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, only
from webhook.api.resources import Resources
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.effective import COMPUTE, aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import Workload


def clamp_growth(workload: Workload) -> tuple[Workload, list[Change]]:
    """Lower the growth of each container to the maxima."""
    before = {block.pointer: block for block in (workload.old or workload).blocks}
    return apply_edits(
        workload,
        (
            _clamp(block.pointer, block.resources, before.get(block.pointer, block).resources, workload.growth_maximum)
            for block in workload.blocks
        ),
    )


def _clamp(
    pointer: str, resources: Resources | None, old: Resources | None, maximum: Callable[[str], Quantity | None]
) -> EditedBlock:
    edit, had = Edit(pointer, resources, "clamp"), Edit(pointer, old, "clamp")
    if edit.is_negative:
        return edit.result()
    for name in COMPUTE:
        most = maximum(name)
        if most is None:
            continue
        limit, limit_before = edit.limits.get(name), had.limits.get(name)
        request, request_before = edit.requests.get(name), had.requests.get(name, ZERO)
        if limit_before and not limit:
            limit = edit.set_limit(name, max(most, limit_before), f"unlimited; the maximum is {most}")
        elif limit_before and limit and limit > max(most, limit_before):
            limit = edit.set_limit(name, max(most, limit_before), f"over the maximum {most}")
        if request and request > max(most, request_before):
            edit.set_request(name, max(most, request_before), f"over the maximum {most}")
    return edit.result()


def unclampable(workload: Workload) -> tuple[Change, ...]:
    """Return growth over a maximum that no patch can lower: in `spec.resources` of the Pod as a whole."""
    old, level = workload.old, workload.pod_level
    if old is None or level is None:
        return ()
    # Where the old Pod stated nothing, its containers were its bounds.
    stated = old.pod_resources
    requests = {**aggregate(old, requests_of), **(stated.requests or EMPTY)}
    limits = {**only(aggregate(old, limits_of), level.limits or EMPTY), **(stated.limits or EMPTY)}
    _, _, over = _clamp(POD_LEVEL, level, Resources(requests, limits), workload.pod_maximum)
    return over
