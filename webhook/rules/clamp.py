"""Lowers every container to the maxima, and requests to their limits.

This is one half of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every container.
"""

from webhook.api.resources import Resources
from webhook.policy.settings import Settings
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.findings import Change
from webhook.rules.workload import Workload


def clamp(workload: Workload) -> tuple[Workload, list[Change]]:
    """Lower all containers so that none is over a maximum and no request is over its limit."""
    clamped = (_clamp(block.pointer, block.resources, workload.settings) for block in workload.blocks)
    return apply_edits(workload, clamped)


def _clamp(pointer: str, resources: Resources | None, settings: Settings) -> EditedBlock:
    edit = Edit(pointer, resources, "clamp")
    if edit.is_negative:
        return edit.result()
    for name in edit.names:
        edit.lower(name, settings.limits.get(name))
    return edit.result()
