"""Lower every container to the platform's maxima, and requests to their limits.

This is the other half of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every container.
"""

from webhook.api.resources import Resources
from webhook.policy.settings import Settings
from webhook.rules.edit import Edit, Edited, edited
from webhook.rules.findings import Change
from webhook.rules.workload import Workload


def clamp(workload: Workload) -> tuple[Workload, list[Change]]:
    """The Pod with no container over a maximum and no request over its limit."""
    clamped = (_clamp(block.pointer, block.resources, workload.settings) for block in workload.blocks)
    return edited(workload, clamped)


def _clamp(pointer: str, resources: Resources | None, settings: Settings) -> Edited:
    edit = Edit(pointer, resources, "clamp")
    if edit.is_negative:
        return edit.done()
    for name in edit.names:
        edit.lower(name, settings.limits.get(name))
    return edit.done()
