"""Fills missing requests and limits of containers from the defaults. Zero counts as missing, as in Flyte.

In the primary container this is one half of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go: fill a
request from its limit, else from the default, and a limit from its request. Flyte has no rule for the others, which
state a request alone to say what they use at least: their limit becomes the default, unless the request is larger.

Where cpu or memory has a maximum and no default, the maximum is the default, as in a LimitRange: without a limit the
container would be unbounded. What is filled stays within the LimitRanges of the namespace, against which the API server
checks the Pod after the webhook.
"""

from webhook.api.quantity import NANO, ZERO, Quantity
from webhook.api.resource_list import EMPTY, is_device, round_down, whole
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.effective import aggregate, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import Block, Workload

DEFAULT = "not set; the default"
MAXIMUM = "not set, and there is no default; the maximum"
SAME = "not set; same as the request"
MINIMUM = "under the minimum of a LimitRange"


def fill(workload: Workload) -> tuple[Workload, list[Change]]:
    """Fill all containers, except for resources that `spec.resources` states for the Pod as a whole."""
    filled, changes = apply_edits(workload, (_fill(block, workload) for block in workload.blocks))
    filled, more = apply_edits(filled, (_up_to_pod_minimum(block, workload, filled) for block in filled.blocks))
    return filled, [*changes, *more]


def _fill(block: Block, workload: Workload) -> EditedBlock:
    edit = Edit(block.pointer, block.resources, "fill")
    if edit.is_negative:
        return edit.result()
    defaults, level = workload.defaults_of(block), workload.pod_resources
    governed = {*(level.requests or ()), *(level.limits or ())}
    for name in sorted({*edit.requests, *edit.limits, *defaults.requests, *defaults.bounds} - governed):
        if name in defaults.completes or is_device(name):
            request, limit = edit.requests.get(name), edit.limits.get(name)
            _complete(edit, name, block, workload)
            _fit(edit, name, workload, request=not request, limit=not limit)
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


def _limit(edit: Edit, name: str, block: Block, workload: Workload) -> None:
    """Fill the limit of a container that states a request alone.

    A secondary container gets none where no default says how much, unless a ResourceQuota or LimitRange demands it.
    """
    request, defaults = whole(name, edit.requests[name]), workload.defaults_of(block)
    default, bound = defaults.limits.get(name), defaults.bounds.get(name)
    if block.pointer == workload.primary or is_device(name):
        edit.set_limit(name, request, SAME)
    elif most := default or bound:
        edit.set_limit(name, max(request, most), SAME if request >= most else DEFAULT if default else MAXIMUM)
    elif workload.demands_limit(name):
        edit.set_limit(name, request, SAME)


def _fit(edit: Edit, name: str, workload: Workload, *, request: bool, limit: bool) -> None:
    """Raise what has been filled, `request` or `limit`, to the minimum; lower a limit to the ratio to its request."""
    least = workload.ranges.container.least.get(name, ZERO)
    if request and (filled := edit.requests.get(name)) and filled < least:
        edit.set_request(name, least, MINIMUM)
    asked, most = edit.requests.get(name), edit.limits.get(name)
    if not (limit and asked and most):
        return
    if most < max(asked, least):
        most = edit.set_limit(name, max(asked, least), MINIMUM)
    ratio = workload.ranges.ratio(name)
    if ratio and most > (highest := Quantity(round_down(name, asked.nano * ratio.nano // NANO), most.format)):
        edit.set_limit(name, max(asked, highest), f"over {ratio} times the request, the ratio of a LimitRange")


def _up_to_pod_minimum(block: Block, before: Workload, filled: Workload) -> EditedBlock:
    """Raise what has been filled in the primary container, where the Pod is under the minimum of a LimitRange."""
    edit = Edit(block.pointer, block.resources, "fill")
    stated = next(each for each in before.blocks if each.pointer == block.pointer)
    level = before.pod_resources
    if block.pointer != before.primary or edit.is_negative:
        return edit.result()
    for name, least in sorted(before.ranges.pod.least.items()):
        request = edit.requests.get(name)
        lack = least - aggregate(filled, requests_of).get(name, ZERO)
        if request and not stated.requests.get(name) and lack > ZERO and name not in (level.requests or EMPTY):
            raised = edit.set_request(name, request + lack, MINIMUM)
            if (limit := edit.limits.get(name)) and limit < raised:
                edit.set_limit(name, raised, MINIMUM)
    return edit.result()
