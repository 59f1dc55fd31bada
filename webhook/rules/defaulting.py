"""What the API server fills in before admission and again after each patch: requests from limits, whole millis.

SetDefaults_Pod and SetDefaults_ResourceList in kubernetes `pkg/apis/core/v1/defaults.go`. Since 1.37 what
`spec.resources` lacks is summed up after /mutate only (PodLevelResourcesFixDefaulting); quotas count the same anyway.
"""

from webhook import pod as pods
from webhook.decision import Change
from webhook.edit import Edit, Edited, edited, remembered_edit
from webhook.effective import aggregate, limits_of, requests_of
from webhook.pod import Pod, Resources
from webhook.resource_list import HUGEPAGES

COPIED = "the API server copies a limit into a missing request"
ROUNDED = "the API server rounds up to thousandths"


def default(pod: Pod) -> tuple[Pod, list[Change]]:
    """The Pod as admission sees it."""
    pod, changes = edited(pod, (_default(pointer, container.resources) for pointer, container in pods.containers(pod)))
    if pod.spec.resources is None:
        return pod, changes
    pod, level = edited(pod, [_pod_level(pod)])
    return pod, changes + level


@remembered_edit
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


def _pod_level(pod: Pod) -> Edited:
    """defaultHugePagePodLimits, then defaultPodRequests."""
    edit = Edit(pods.POD_LEVEL, pod.spec.resources, "api-default")
    _round_up(edit)
    if edit.limits or edit.requests:
        for name, value in aggregate(pod, limits_of).items():
            if name.startswith(HUGEPAGES) and name not in edit.requests and name not in edit.limits:
                edit.limit(name, value, "the API server sums up the containers' hugepages")
    if edit.limits:
        for name, value in aggregate(pod, requests_of).items():
            if name in ("cpu", "memory") and name not in edit.requests:
                edit.request(name, value, "the API server sums up the containers' requests")
        _copy_limits(edit)
    return edit.done()
