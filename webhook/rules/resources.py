"""Fill what containers leave open from the platform's defaults, and clamp everything to its maxima.

Both are the halves of AdjustOrDefaultResource in Flyte's flytek8s/container_helper.go, applied to every
container: fill a request from its limit, else from the default, and a limit from its request; then lower
both to the maximum, and the request to the limit. A zero counts as missing, as it does in Flyte.
"""

from typing import Final

from webhook import pod as pods
from webhook.decision import Change, Context
from webhook.edit import Edit
from webhook.pod import REQUESTS, Container, Pod, Resources
from webhook.policy import Defaults
from webhook.quantity import NANO, Quantity
from webhook.resource_list import ResourceList, is_extended

# pods/resize can change nothing else (ValidatePodResize in kubernetes `pkg/apis/core/validation`).
RESIZABLE: Final = frozenset({"cpu", "memory"})


def fill(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with defaults; what `spec.resources` states for the Pod as a whole is left open in containers."""
    if context.resize:
        return pod, []
    level = pods.pod_resources(pod)
    governed = {*(level.requests or ()), *(level.limits or ())}
    changes: list[Change] = []
    changed: dict[str, Resources] = {}
    for pointer, container in pods.containers(pod):
        settings = context.settings
        edit = Edit(pointer, container.resources, "fill")
        _fill(edit, settings.defaults if pointer == context.task.primary else settings.secondary_defaults, governed)
        if edit.changes:
            changes += edit.changes
            changed[pointer] = edit.resources
    return pods.with_resources(pod, changed), changes


def _fill(edit: Edit, defaults: Defaults, governed: set[str]) -> None:
    for name in sorted({*edit.requests, *edit.limits, *defaults.amounts}):
        request, limit = edit.requests.get(name), edit.limits.get(name)
        completes = name in defaults.completes or is_extended(name)
        if name in governed or not completes or _is_negative(request, limit):
            continue
        if not request and limit:
            request = edit.request(name, limit, "no request: that of the limit")
        elif not request and (default := defaults.amounts.get(name)):
            request = edit.request(name, default, "the default")
        if not limit and request:
            edit.limit(name, request, "no limit: that of the request")


def clamp(pod: Pod, context: Context) -> tuple[Pod, list[Change]]:
    """The Pod with nothing over a maximum and no request over its limit."""
    maxima = context.settings.limits
    changes: list[Change] = []
    changed: dict[str, Resources] = {}
    for pointer, container in pods.containers(pod):
        if context.resize and not _is_resizable(pointer, container):
            continue
        edit = Edit(pointer, container.resources, "clamp")
        for name in edit.names:
            if not context.resize or name in RESIZABLE:
                _clamp(edit, name, maxima.get(name))
        if edit.changes:
            changes += edit.changes
            changed[pointer] = edit.resources
    pod = pods.with_resources(pod, changed)
    if pod.spec.resources is None or context.resize:
        return pod, changes
    return _clamp_pod_level(pod, maxima, changes)


def _clamp(edit: Edit, name: str, maximum: Quantity | None) -> None:
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
            edit.limit(name, request, "a limit of zero: that of the request")


def _clamp_pod_level(pod: Pod, maxima: ResourceList, changes: list[Change]) -> tuple[Pod, list[Change]]:
    """Clamp `spec.resources`, and make the containers' requests fit into what is left there."""
    edit = Edit("/spec", pod.spec.resources, "clamp")
    for name in edit.names:
        _clamp(edit, name, maxima.get(name))
    if not edit.changes:
        return pod, changes
    pod = pods.with_resources(pod, {"/spec": edit.resources})
    total = pods.aggregate(pod, REQUESTS)
    bounds = {name: edit.requests.get(name) or edit.limits[name] for name in edit.names if name in RESIZABLE}
    excess = {name: bound for name, bound in bounds.items() if name in total and total[name] > bound}
    changed: dict[str, Resources] = {}
    for pointer, container in pods.containers(pod) if excess else ():
        share = Edit(pointer, container.resources, "clamp")
        for name, bound in excess.items():
            if request := share.requests.get(name):
                why = f"its share of the {bound} that the Pod as a whole may request"
                share.request(name, _share(name, request, bound, total[name]), why)
        if share.changes:
            changes = changes + share.changes
            changed[pointer] = share.resources
    return pods.with_resources(pod, changed), changes + edit.changes


def _share(name: str, request: Quantity, bound: Quantity, total: Quantity) -> Quantity:
    """request x bound / total, in whole millis of cpu or whole bytes, rounded down so that the sum fits."""
    unit = NANO // 1000 if name == "cpu" else NANO
    return Quantity(request.nano * bound.nano // total.nano // unit * unit, request.format)


def _is_resizable(pointer: str, container: Container) -> bool:
    return pointer.startswith("/spec/containers/") or container.restart_policy == "Always"


def _is_negative(*values: Quantity | None) -> bool:
    """A negative amount is refused by the API server with its own error; nothing is built on it."""
    return any(value is not None and value.nano < 0 for value in values)
