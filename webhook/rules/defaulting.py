"""The API server's defaulting, before admission and after each patch: requests from limits, rounded to thousandths.

Source: SetDefaults_Pod and SetDefaults_ResourceList in kubernetes `pkg/apis/core/v1/defaults.go`. Since 1.37 the API
server sums up missing `spec.resources` only after /mutate (PodLevelResourcesFixDefaulting); quotas count the same.
"""

from msgspec.structs import replace

from webhook.api.pod import POD_LEVEL
from webhook.api.resource_list import HUGEPAGES
from webhook.api.resources import Resources
from webhook.rules.edit import Edit, EditedBlock, apply_edits
from webhook.rules.effective import aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import Workload

SUMMED = ("cpu", "memory")
COPIED = "the API server copies a limit into a missing request"
ROUNDED = "the API server rounds up to thousandths"


def default(workload: Workload) -> tuple[Workload, list[Change]]:
    """Apply the API server's defaults; the result is the Pod as its admission plugins see it."""
    workload, changes = apply_edits(workload, (_default(block.pointer, block.resources) for block in workload.blocks))
    if workload.pod_level is None:
        return workload, changes
    workload, level = apply_edits(workload, [_pod_level(workload)])
    return workload, changes + level


def without_sums(workload: Workload, after: Workload) -> Workload:
    """Return the Workload without what the API server summed up in `spec.resources` once it had become `after`.

    What it sums up for both alike is kept.
    """
    level, now = workload.pod_level, after.pod_level
    if level is None or now is None:
        return workload
    requests = {name: value for name, value in (now.requests or {}).items() if name not in SUMMED}
    bare = Resources(requests, now.limits)
    summed, before = (default(replace(each, pod_level=bare))[0].pod_level for each in (after, workload))
    new = {
        name: value
        for name, value in ((summed and summed.requests) or {}).items()
        if name not in requests and ((before and before.requests) or {}).get(name) != value
    }
    kept = {name: value for name, value in (level.requests or {}).items() if new.get(name) != value}
    return replace(workload, pod_level=Resources(kept, level.limits))


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


def _pod_level(workload: Workload) -> EditedBlock:
    """Apply defaultHugePagePodLimits, then defaultPodRequests."""
    edit = Edit(POD_LEVEL, workload.pod_level, "api-default")
    _round_up(edit)
    if edit.limits or edit.requests:
        for name, value in aggregate(workload, limits_of).items():
            if name.startswith(HUGEPAGES) and name not in edit.requests and name not in edit.limits:
                edit.set_limit(name, value, "the API server sums up the containers' hugepages")
    if edit.limits:
        for name, value in aggregate(workload, requests_of).items():
            if name in SUMMED and name not in edit.requests:
                edit.set_request(name, value, "the API server sums up the containers' requests")
        _copy_limits(edit)
    return edit.result()
