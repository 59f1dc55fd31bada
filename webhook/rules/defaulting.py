"""The API server's defaulting: requests from limits, rounded to thousandths, and `spec.resources` from the containers.

Sources: SetDefaults_Pod and SetDefaults_ResourceList in kubernetes `pkg/apis/core/v1/defaults.go`, before admission and
after each patch; since 1.37 DefaultPodLevelResources in `pkg/api/pod/util.go`, once after the mutating webhooks.
"""

from collections.abc import Iterator
from itertools import combinations

from msgspec.structs import replace

from webhook.api.pod import POD_LEVEL
from webhook.api.resource_list import HUGEPAGES
from webhook.api.resources import Resources
from webhook.api.version import POD_LEVEL_FIXED
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.effective import aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import Workload

SUMMED = ("cpu", "memory")
COPIED = "the API server copies a limit into a missing request"
ROUNDED = "the API server rounds up to thousandths"


def default(workload: Workload) -> tuple[Workload, list[Change]]:
    """Apply all defaults of the API server; the result is the Pod as its validating plugins see it."""
    workload, changes = hand_over(workload)
    if workload.pod_level is None or workload.kubernetes < POD_LEVEL_FIXED:
        return workload, changes
    workload, level = apply_edits(workload, [_completed(workload)])
    return workload, changes + level


def hand_over(workload: Workload) -> tuple[Workload, list[Change]]:
    """Apply the defaults that come before the webhooks; the result is the Pod as it is handed to them."""
    workload, changes = apply_edits(workload, (_default(block.pointer, block.resources) for block in workload.blocks))
    if workload.pod_level is None:
        return workload, changes
    workload, level = apply_edits(workload, [_rounded(workload)])
    return workload, changes + level


def without_sums(workload: Workload, after: Workload) -> Iterator[Workload]:
    """Yield the Workload as it may have been before the API server summed up `spec.resources` of `after`.

    First as it is; then without the requests that the API server sums up for `after`, or some of them: each of those
    may be the author's too.
    """
    yield workload
    level, now = workload.pod_level, after.pod_level
    if level is None or now is None:
        return
    stated = level.requests or {}
    bare = Resources({name: value for name, value in stated.items() if name not in SUMMED}, now.limits)
    summed = (default(replace(after, pod_level=bare))[0].pod_level or bare).requests or {}
    sums = [name for name in SUMMED if name in stated and stated[name] == summed.get(name)]
    for count in range(1, len(sums) + 1):
        for some in combinations(sums, count):
            kept = {name: value for name, value in stated.items() if name not in some}
            yield replace(workload, pod_level=Resources(kept, level.limits))


def _default(pointer: str, resources: Resources | None) -> EditedBlock:
    edit = Edit(pointer, resources, "api-default")
    _round_up(edit)
    _copy_limits(edit)
    return edit.result()


def _round_up(edit: Edit) -> None:
    for values, put in ((edit.limits, edit.set_limit), (edit.requests, edit.set_request)):
        for name, value in list(values.items()):
            if value.nano % 1_000_000:
                put(name, value.round_up(-3), ROUNDED)


def _copy_limits(edit: Edit) -> None:
    for name, limit in edit.limits.items():
        if name not in edit.requests:
            edit.set_request(name, limit, COPIED)


def _rounded(workload: Workload) -> EditedBlock:
    """Round up `spec.resources`; before 1.37, sum up for it too, requests only where it has a limit."""
    edit = Edit(POD_LEVEL, workload.pod_level, "api-default")
    _round_up(edit)
    if workload.kubernetes < POD_LEVEL_FIXED:
        _sum_up_hugepages(edit, workload)
        if edit.limits:
            _sum_up_requests(edit, workload)
    return edit.result()


def _completed(workload: Workload) -> EditedBlock:
    """Sum up for `spec.resources`, and limits of what all containers limit."""
    edit = Edit(POD_LEVEL, workload.pod_level, "api-default")
    if edit.limits or edit.requests:
        _sum_up_hugepages(edit, workload)
        _sum_up_requests(edit, workload)
        totals = aggregate(workload, limits_of)
        for name, request in edit.requests.items():
            is_limited = name in totals and all(name in block.limits for block in workload.blocks)
            if name in SUMMED and name not in edit.limits and is_limited:
                edit.set_limit(name, max(totals[name], request), "the API server sums up the containers' limits")
    return edit.result()


def _sum_up_hugepages(edit: Edit, workload: Workload) -> None:
    if edit.limits or edit.requests:
        for name, value in aggregate(workload, limits_of).items():
            if name.startswith(HUGEPAGES) and name not in edit.requests and name not in edit.limits:
                edit.set_limit(name, value, "the API server sums up the containers' hugepages")


def _sum_up_requests(edit: Edit, workload: Workload) -> None:
    for name, value in aggregate(workload, requests_of).items():
        if name in SUMMED and name not in edit.requests:
            edit.set_request(name, value, "the API server sums up the containers' requests")
    _copy_limits(edit)
