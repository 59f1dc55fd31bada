"""Fill what containers leave open from the platform's defaults.

This is half of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every container: fill a
request from its limit, else from the default, and a limit from its request. A zero counts as missing, as it does in
Flyte. Where cpu or memory has a maximum and no default, the maximum is the default, as in a LimitRange: without a limit
nothing would bound it.
"""

from webhook.api.resource_list import is_device
from webhook.api.resources import Resources
from webhook.policy.settings import Defaults
from webhook.rules.edit import Edit, Edited, edited
from webhook.rules.findings import Change
from webhook.rules.workload import Workload


def fill(workload: Workload) -> tuple[Workload, list[Change]]:
    """The Pod with defaults; what `spec.resources` states for the Pod as a whole is left open in containers."""
    settings, level = workload.settings, workload.stated
    return edited(
        workload,
        (
            _fill(
                block.pointer,
                block.resources,
                settings.defaults if block.pointer == workload.primary else settings.secondary_defaults,
                level,
            )
            for block in workload.blocks
        ),
    )


def _fill(pointer: str, resources: Resources | None, defaults: Defaults, level: Resources) -> Edited:
    edit = Edit(pointer, resources, "fill")
    if edit.is_negative:
        return edit.done()
    governed = {*(level.requests or ()), *(level.limits or ())}
    for name in sorted({*edit.requests, *edit.limits, *defaults.amounts, *defaults.bounds} - governed):
        if name in defaults.completes or is_device(name):
            _complete(edit, name, defaults)
    return edit.done()


def _complete(edit: Edit, name: str, defaults: Defaults) -> None:
    """Fill in the request and the limit of one resource, where they are missing or zero."""
    request, limit = edit.requests.get(name), edit.limits.get(name)
    if not request and limit:
        request = edit.request(name, limit, "not set; same as the limit")
    elif not request and (default := defaults.amounts.get(name)):
        request = edit.request(name, default, "not set; the default")
    elif not request and (most := defaults.bounds.get(name)):
        request = edit.request(name, most, "not set, and there is no default; the maximum")
    if not limit and request:
        edit.limit(name, request, "not set; same as the request")
