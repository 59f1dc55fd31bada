"""Bound a resize: it may take no container, and no Pod, over a maximum.

A resize changes cpu and memory alone, of every container that has not ended (ValidatePodResize in kubernetes
`pkg/apis/core/validation`). Only what grows is looked at: a running container never loses what it has.
"""

from webhook import pod as pods
from webhook.decision import Change, Context
from webhook.edit import Edit, Edited, edited
from webhook.effective import COMPUTE, aggregate, limits_of, requests_of
from webhook.pod import Pod, Resources
from webhook.quantity import ZERO
from webhook.resource_list import EMPTY, only
from webhook.settings import Settings


def clamp_growth(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with no container grown over a maximum."""
    before = dict(pods.containers(context.old or pod))
    return edited(
        pod,
        (
            _clamp(pointer, container.resources, before.get(pointer, container).resources, context.settings)
            for pointer, container in pods.containers(pod)
        ),
    )


def _clamp(pointer: str, resources: Resources | None, old: Resources | None, settings: Settings) -> Edited:
    edit, had = Edit(pointer, resources, "clamp"), Edit(pointer, old, "clamp")
    if edit.is_negative:
        return edit.done()
    for name in COMPUTE:
        most = settings.most_of_pod(name)
        if most is None:
            continue
        limit, limit_before = edit.limits.get(name), had.limits.get(name)
        request, request_before = edit.requests.get(name), had.requests.get(name, ZERO)
        if limit_before and not limit:
            limit = edit.limit(name, max(most, limit_before), f"unlimited; the maximum is {most}")
        elif limit_before and limit and limit > max(most, limit_before):
            limit = edit.limit(name, max(most, limit_before), f"over the maximum {most}")
        if request and request > max(most, request_before):
            edit.request(name, max(most, request_before), f"over the maximum {most}")
    return edit.done()


def unclampable(pod: Pod, context: Context) -> tuple[Change, ...]:
    """What a resize asks for beyond a maximum and no patch can lower: `spec.resources` of the Pod as a whole."""
    old, level = context.old, pod.spec.resources
    if old is None or level is None:
        return ()
    # What it did not state was bounded by its containers.
    stated = pods.pod_resources(old)
    requests = {**aggregate(old, requests_of), **(stated.requests or EMPTY)}
    limits = {**only(aggregate(old, limits_of), level.limits or EMPTY), **(stated.limits or EMPTY)}
    _, _, over = _clamp(pods.POD_LEVEL, level, Resources(requests, limits), context.settings)
    return over
