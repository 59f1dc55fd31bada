"""Bound a resize: it may take no container, and no Pod, over a maximum.

A resize changes cpu and memory alone, of every container that has not ended (ValidatePodResize in kubernetes
`pkg/apis/core/validation`). Only what grows is looked at: a running container never loses what it has.
"""

from webhook.api.quantity import ZERO
from webhook.api.resource_list import EMPTY, only
from webhook.api.resources import Resources
from webhook.policy.settings import Settings
from webhook.rules.edit import Edit, Edited, edited
from webhook.rules.effective import COMPUTE, aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import LEVEL, Workload


def clamp_growth(workload: Workload) -> tuple[Workload, list[Change]]:
    """The Pod with no container grown over a maximum."""
    before = {block.pointer: block for block in (workload.old or workload).blocks}
    return edited(
        workload,
        (
            _clamp(block.pointer, block.resources, before.get(block.pointer, block).resources, workload.settings)
            for block in workload.blocks
        ),
    )


def _clamp(pointer: str, resources: Resources | None, old: Resources | None, settings: Settings) -> Edited:
    edit, had = Edit(pointer, resources, "clamp"), Edit(pointer, old, "clamp")
    if edit.is_negative:
        return edit.done()
    for name in COMPUTE:
        most = settings.pod_maximum(name)
        if most is None:
            continue
        limit, limit_before = edit.limits.get(name), had.limits.get(name)
        request, request_before = edit.requests.get(name), had.requests.get(name, ZERO)
        if limit_before and not limit:
            limit = edit.limit(name, max(most, limit_before), f"unlimited; the maximum is {most}")
        elif limit_before and limit and limit > max(most, limit_before):
            limit = edit.limit(name, max(most, limit_before), f"over the maximum {most}")
        if request and request > max(most, request_before):
            edit.request(name, max(most, request_before), f"over the maximum {most}")
    return edit.done()


def unclampable(workload: Workload) -> tuple[Change, ...]:
    """What a resize asks for beyond a maximum and no patch can lower: `spec.resources` of the Pod as a whole."""
    old, level = workload.old, workload.level
    if old is None or level is None:
        return ()
    # What it did not state was bounded by its containers.
    stated = old.stated
    requests = {**aggregate(old, requests_of), **(stated.requests or EMPTY)}
    limits = {**only(aggregate(old, limits_of), level.limits or EMPTY), **(stated.limits or EMPTY)}
    _, _, over = _clamp(LEVEL, level, Resources(requests, limits), workload.settings)
    return over
