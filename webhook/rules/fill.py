"""Fills missing requests and limits of containers from the defaults.

This is one half of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every container: fill a
request from its limit, else from the default, and a limit from its request. Zero counts as missing, as in Flyte. Where
cpu or memory has a maximum and no default, the maximum is the default, as in a LimitRange: without a limit the
container would be unbounded.
"""

from webhook.api.resource_list import is_device
from webhook.api.resources import Resources
from webhook.policy.settings import Defaults
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.findings import Change
from webhook.rules.workload import Workload


def fill(workload: Workload) -> tuple[Workload, list[Change]]:
    """Fill all containers, except for resources that `spec.resources` states for the Pod as a whole."""
    settings, level = workload.settings, workload.pod_resources
    return apply_edits(
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


def _fill(pointer: str, resources: Resources | None, defaults: Defaults, level: Resources) -> EditedBlock:
    edit = Edit(pointer, resources, "fill")
    if edit.is_negative:
        return edit.result()
    governed = {*(level.requests or ()), *(level.limits or ())}
    for name in sorted({*edit.requests, *edit.limits, *defaults.amounts, *defaults.bounds} - governed):
        if name in defaults.completes or is_device(name):
            _complete(edit, name, defaults)
    return edit.result()


def _complete(edit: Edit, name: str, defaults: Defaults) -> None:
    """Fill the request and the limit of one resource where they are missing or zero."""
    request, limit = edit.requests.get(name), edit.limits.get(name)
    if not request and limit:
        request = edit.set_request(name, limit, "not set; same as the limit")
    elif not request and (default := defaults.amounts.get(name)):
        request = edit.set_request(name, default, "not set; the default")
    elif not request and (most := defaults.bounds.get(name)):
        request = edit.set_request(name, most, "not set, and there is no default; the maximum")
    if not limit and request:
        edit.set_limit(name, request, "not set; same as the request")
