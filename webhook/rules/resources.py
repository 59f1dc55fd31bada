"""Fill what containers leave open from the platform's defaults, and clamp everything to its maxima.

Both are the halves of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every
container: fill a request from its limit, else from the default, and a limit from its request; then lower
both to the maximum, and the request to the limit. A zero counts as missing, as it does in Flyte. Where cpu or memory
has a maximum and no default, the maximum is the default, as in a LimitRange: without a limit nothing would bound it.
"""

from typing import Final

from webhook import pod as pods
from webhook import resource_list
from webhook.decision import Change, Context
from webhook.edit import Edit, Edited, edited, remembered_edit
from webhook.effective import aggregate, requests_of
from webhook.pod import Container, Pod, Resources
from webhook.quantity import NANO, Quantity
from webhook.resource_list import EMPTY, ResourceList, is_extended
from webhook.settings import Defaults, Maxima, Settings

# pods/resize can change nothing else (ValidatePodResize in kubernetes `pkg/apis/core/validation`).
RESIZABLE: Final = ("cpu", "memory")


def fill(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with defaults; what `spec.resources` states for the Pod as a whole is left open in containers."""
    if context.old is not None:
        return pod, []
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
    governed = {*(level.requests or ()), *(level.limits or ())}
    for name in sorted({*edit.requests, *edit.limits, *defaults.amounts, *defaults.bounds}):
        request, limit = edit.requests.get(name), edit.limits.get(name)
        completes = name in defaults.completes or is_extended(name)
        if name in governed or not completes or _is_negative(request, limit):
            continue
        if not request and limit:
            request = edit.request(name, limit, "not set; same as the limit")
        elif not request and (default := defaults.amounts.get(name)):
            request = edit.request(name, default, "not set; the default")
        elif not request and (most := defaults.bounds.get(name)):
            request = edit.request(name, most, "not set, and there is no default; the maximum")
        if not limit and request:
            edit.limit(name, request, "not set; same as the request")
    return edit.done()


def clamp(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with nothing over a maximum and no request over its limit."""
    if context.old is not None:
        return _clamp_resize(pod, context.old, context.settings.limits)
    settings = context.settings
    clamped = (_clamp(pointer, container.resources, settings) for pointer, container in pods.containers(pod))
    pod, changes = edited(pod, clamped)
    return (pod, changes) if pod.spec.resources is None else _clamp_pod_level(pod, settings, changes)


@remembered_edit
def _clamp(pointer: str, resources: Resources | None, settings: Settings) -> Edited:
    edit = Edit(pointer, resources, "clamp")
    for name in edit.names:
        _clamp_one(edit, name, settings.limits.get(name))
    return edit.done()


def _clamp_one(edit: Edit, name: str, maximum: Quantity | None) -> None:
    request, limit = edit.requests.get(name), edit.limits.get(name)
    if _is_negative(request, limit):
        return
    if maximum is not None:
        if limit and limit > maximum:
            limit = edit.limit(name, maximum, f"over the maximum {maximum}")
        if request and request > maximum:
            request = edit.request(name, maximum, f"over the maximum {maximum}")
    if request and limit is not None and request > limit:
        if limit:
            edit.request(name, limit, f"over the limit {limit}")
        else:
            edit.limit(name, request, "zero; same as the request")


def _clamp_pod_level(pod: Pod, settings: Settings, changes: list[Change]) -> tuple[Pod, list[Change]]:
    """Clamp `spec.resources`, and make the containers' requests fit into what is left there."""
    total = aggregate(pod, requests_of)
    pod, clamped = edited(pod, [_clamp_level(pod.spec.resources, settings, total)])
    if not clamped:
        return pod, changes
    level = pods.pod_resources(pod)
    bounds = resource_list.only({**(level.limits or EMPTY), **(level.requests or EMPTY)}, RESIZABLE)
    excess = {name: bound for name, bound in bounds.items() if name in total and total[name] > bound}
    pod, shared = edited(pod, (_shares(*at, excess, total) for at in pods.containers(pod) if excess))
    return pod, [*changes, *clamped, *shared]


def _clamp_level(resources: Resources | None, settings: Settings, total: ResourceList) -> Edited:
    """What is stated, and what the API server will state beside a limit: the sum of the containers' requests."""
    edit = Edit(pods.POD_LEVEL, resources, "clamp")
    for name in edit.names:
        _clamp_one(edit, name, settings.limits.get(name))
    for name in RESIZABLE if edit.limits else ():
        most = settings.limits.get(name)
        if most is not None and name in total and name not in edit.requests and total[name] > most:
            edit.request(name, most, f"not set; its containers request {total[name]}, over the maximum {most}")
            _clamp_one(edit, name, most)
    return edit.done()


def _shares(pointer: str, container: Container, excess: ResourceList, total: ResourceList) -> Edited:
    edit = Edit(pointer, container.resources, "clamp")
    for name, bound in excess.items():
        if request := edit.requests.get(name):
            share = _share(name, request, bound, total[name])
            edit.request(name, share, f"its share of the {bound} that the Pod as a whole may request")
    return edit.done()


def _share(name: str, request: Quantity, bound: Quantity, total: Quantity) -> Quantity:
    """request x bound / total, in whole millis of cpu or whole bytes, rounded down so that the sum fits."""
    unit = NANO // 1000 if name == "cpu" else NANO
    return Quantity(request.nano * bound.nano // total.nano // unit * unit, request.format)


def _clamp_resize(pod: Pod, old: Pod, maxima: Maxima) -> tuple[Pod, list[Change]]:
    """Only what grows, and only in what a resize can change: a running container never loses what it has."""
    before = dict(pods.containers(old))
    return edited(
        pod,
        (
            _clamp_growth(pointer, container.resources, before.get(pointer, container).resources, maxima)
            for pointer, container in pods.containers(pod)
            if not pods.is_init(pointer) or container.is_sidecar
        ),
    )


def _clamp_growth(pointer: str, resources: Resources | None, old: Resources | None, maxima: Maxima) -> Edited:
    edit, had = Edit(pointer, resources, "clamp"), Edit(pointer, old, "clamp")
    for name in RESIZABLE:
        maximum = maxima.get(name)
        if maximum is None:
            continue
        limit, request = edit.limits.get(name), edit.requests.get(name)
        if limit and limit > (most := max(maximum, had.limits.get(name, maximum))):
            edit.limit(name, most, f"over the maximum {maximum}")
        if request and request > (most := max(maximum, had.requests.get(name, maximum))):
            edit.request(name, most, f"over the maximum {maximum}")
    return edit.done()


def unclampable(pod: Pod, context: Context) -> tuple[Change, ...]:
    """What a resize asks for beyond a maximum and no patch can lower: `spec.resources` of the Pod as a whole."""
    if context.old is None:
        return ()
    _, _, over = _clamp_growth(pods.POD_LEVEL, pod.spec.resources, context.old.spec.resources, context.settings.limits)
    return over


def _is_negative(request: Quantity | None, limit: Quantity | None) -> bool:
    """A negative amount is refused by the API server with an error of its own: nothing is to be built on it."""
    return (request is not None and request.nano < 0) or (limit is not None and limit.nano < 0)
