"""What the API server fills in before admission and again after each patch: requests from limits, whole millis.

SetDefaults_Pod and SetDefaults_ResourceList in kubernetes `pkg/apis/core/v1/defaults.go`. Since 1.37 what
`spec.resources` lacks is summed up after /mutate only (PodLevelResourcesFixDefaulting); quotas count the same anyway.
"""

from webhook.api.resource_list import HUGEPAGES
from webhook.api.resources import Resources
from webhook.rules.edit import Edit, Edited, edited
from webhook.rules.effective import aggregate, limits_of, requests_of
from webhook.rules.findings import Change
from webhook.rules.workload import LEVEL, Workload

COPIED = "the API server copies a limit into a missing request"
ROUNDED = "the API server rounds up to thousandths"


def default(workload: Workload) -> tuple[Workload, list[Change]]:
    """The Pod as admission sees it."""
    workload, changes = edited(workload, (_default(block.pointer, block.resources) for block in workload.blocks))
    if workload.level is None:
        return workload, changes
    workload, level = edited(workload, [_pod_level(workload)])
    return workload, changes + level


def _default(pointer: str, resources: Resources | None) -> Edited:
    edit = Edit(pointer, resources, "api-default")
    _round_up(edit)
    _copy_limits(edit)
    return edit.done()


def _round_up(edit: Edit) -> None:
    for values, put in ((edit.limits, edit.limit), (edit.requests, edit.request)):
        for name, value in list(values.items()):
            if value.nano % 1_000_000:
                put(name, value.round_up(-3), ROUNDED)


def _copy_limits(edit: Edit) -> None:
    for name, limit in edit.limits.items():
        if name not in edit.requests:
            edit.request(name, limit, COPIED)


def _pod_level(workload: Workload) -> Edited:
    """defaultHugePagePodLimits, then defaultPodRequests."""
    edit = Edit(LEVEL, workload.level, "api-default")
    _round_up(edit)
    if edit.limits or edit.requests:
        for name, value in aggregate(workload, limits_of).items():
            if name.startswith(HUGEPAGES) and name not in edit.requests and name not in edit.limits:
                edit.limit(name, value, "the API server sums up the containers' hugepages")
    if edit.limits:
        for name, value in aggregate(workload, requests_of).items():
            if name in ("cpu", "memory") and name not in edit.requests:
                edit.request(name, value, "the API server sums up the containers' requests")
        _copy_limits(edit)
    return edit.done()
