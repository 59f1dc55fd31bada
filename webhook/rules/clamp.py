"""Lowers every container to the maxima, and requests to their limits.

This is one half of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every container.
"""

from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload


def clamp(workload: Workload) -> tuple[Workload, list[Change]]:
    """Lower all containers so that none is over a maximum and no request is over its limit."""
    return apply_edits(workload, (_clamp(block, workload) for block in workload.blocks))


def _clamp(block: Block, workload: Workload) -> EditedBlock:
    edit, of_ranges = Edit(block.pointer, block.resources, "clamp"), workload.ranges.container.most
    if edit.is_negative:
        return edit.result()
    for name in edit.names:
        edit.lower(name, workload.settings.limits.get(name))
        if name in of_ranges:
            edit.lower(name, of_ranges[name], "over the maximum of a LimitRange,")
    return edit.result()
