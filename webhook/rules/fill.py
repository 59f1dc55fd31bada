"""Fills missing requests and limits of containers from the defaults. Zero counts as missing, as in Flyte.

In the primary container this is one half of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go: fill a
request from its limit, else from the default, and a limit from its request. Flyte has no rule for the others, which
state a request alone to say what they use at least: their limit becomes the default, unless the request is larger.

Where cpu or memory has a maximum and no default, the maximum is the default, as in a LimitRange: without a limit the
container would be unbounded. What is filled stays within the LimitRanges of the namespace, against which the API server
checks the Pod after the webhook.
"""

from webhook.api.quantity import ZERO
from webhook.api.resource_list import EMPTY, is_device, whole
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload

DEFAULT = "not set; the default"
MAXIMUM = "not set, and there is no default; the maximum"
SAME = "not set; same as the request"
OF_RANGE = "the default of a LimitRange, under the request"
MINIMUM = "under the minimum of a LimitRange"


def fill(workload: Workload) -> tuple[Workload, list[Change]]:
    """Fill all containers, except for resources that `spec.resources` states for the Pod as a whole."""
    return apply_edits(workload, (_fill(block, workload) for block in workload.blocks))


def _fill(block: Block, workload: Workload) -> EditedBlock:
    edit = Edit(block.pointer, block.resources, "fill")
    if edit.is_negative:
        return edit.result()
    defaults, level = workload.defaults_of(block), workload.pod_resources
    governed = {*(level.requests or ()), *(level.limits or ())}
    for name in sorted({*edit.requests, *edit.limits, *defaults.requests, *defaults.bounds} - governed):
        _raise_default_of_range(edit, name, block, workload)
        is_demanded = not edit.limits.get(name) and workload.demands_limit(name)
        if name in defaults.completes or is_device(name) or is_demanded:
            _complete(edit, name, block, workload)
            _raise(edit, name, block, workload)
    return edit.result()


def _complete(edit: Edit, name: str, block: Block, workload: Workload) -> None:
    """Fill the request and the limit of one resource where they are missing or zero."""
    request, limit, defaults = edit.requests.get(name), edit.limits.get(name), workload.defaults_of(block)
    if limit and not request:
        edit.set_request(name, limit, "not set; same as the limit")
    elif not limit and request:
        _limit(edit, name, block, workload)
    elif not limit and (default := defaults.requests.get(name)):
        edit.set_request(name, default, DEFAULT)
        edit.set_limit(name, defaults.limits[name], SAME if defaults.limits[name] == default else DEFAULT)
    elif not limit and (most := defaults.bounds.get(name)):
        edit.set_limit(name, edit.set_request(name, most, MAXIMUM), SAME)


def _raise_default_of_range(edit: Edit, name: str, block: Block, workload: Workload) -> None:
    """Raise the limit that a LimitRange has given to a secondary container that requests more.

    Its author states a request alone. In the primary container Flyte's rule holds: the limit lowers the request.
    """
    stated = (block.stated and block.stated.limits) or EMPTY
    request, limit = edit.requests.get(name), edit.limits.get(name)
    if block.pointer != workload.primary and request and limit and limit < request and not stated.get(name):
        default = workload.defaults_of(block).limits.get(name, ZERO)
        edit.set_limit(name, whole(name, max(request, default)), OF_RANGE)


def _raise(edit: Edit, name: str, block: Block, workload: Workload) -> None:
    """Raise what was filled to the minimum of a LimitRange; not over what the container states, or may have."""
    least = workload.ranges.container.least.get(name, ZERO)
    bounds = workload.maximum(name), block.limits.get(name), block.requests.get(name)
    least = min(bound for bound in (least, *bounds) if bound is not None)
    request, limit = edit.requests.get(name), edit.limits.get(name)
    if request and request < least and not block.requests.get(name):
        request = edit.set_request(name, least, MINIMUM)
    if limit and limit < max(least, request or ZERO) and not block.limits.get(name):
        edit.set_limit(name, max(least, request or ZERO), MINIMUM)


def _limit(edit: Edit, name: str, block: Block, workload: Workload) -> None:
    """Fill the limit of a container that states a request alone.

    A secondary container gets none where no default says how much, unless a ResourceQuota or LimitRange demands it.
    """
    request, defaults = whole(name, edit.requests[name]), workload.defaults_of(block)
    default = defaults.limits.get(name)
    if block.pointer == workload.primary or is_device(name):
        edit.set_limit(name, request, SAME)
    elif default:
        edit.set_limit(name, max(request, default), SAME if request >= default else DEFAULT)
    elif workload.demands_limit(name):
        edit.set_limit(name, request, SAME)
