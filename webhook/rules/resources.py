"""Fill what containers leave open from the platform's defaults, and clamp each of them to its maxima.

Both are the halves of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every
container: fill a request from its limit, else from the default, and a limit from its request; then lower
both to the maximum, and the request to the limit. A zero counts as missing, as it does in Flyte. Where cpu or memory
has a maximum and no default, the maximum is the default, as in a LimitRange: without a limit nothing would bound it.
"""

from webhook import pod as pods
from webhook.decision import Change, Context
from webhook.edit import Edit, Edited, edited, remembered_edit
from webhook.pod import Pod, Resources
from webhook.resource_list import is_device
from webhook.settings import Defaults, Settings


def fill(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with defaults; what `spec.resources` states for the Pod as a whole is left open in containers."""
    settings, level = context.settings, pods.pod_resources(pod)
    return edited(
        pod,
        (
            _fill(
                pointer,
                container.resources,
                settings.defaults if pointer == context.task.primary else settings.secondary_defaults,
                level,
            )
            for pointer, container in pods.containers(pod)
        ),
    )


@remembered_edit
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


def clamp(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with no container over a maximum and no request over its limit."""
    clamped = (_clamp(pointer, container.resources, context.settings) for pointer, container in pods.containers(pod))
    return edited(pod, clamped)


@remembered_edit
def _clamp(pointer: str, resources: Resources | None, settings: Settings) -> Edited:
    edit = Edit(pointer, resources, "clamp")
    if edit.is_negative:
        return edit.done()
    for name in edit.names:
        edit.lower(name, settings.limits.get(name))
    return edit.done()
