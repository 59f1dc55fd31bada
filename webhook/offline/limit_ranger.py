"""The defaults that the LimitRanger plugin of the API server gives a new Pod, before the webhook sees it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from webhook.api.limit_range import ANNOTATION, LimitRange
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY


def with_defaults(pod: dict[str, Any], limit_ranges: Iterable[LimitRange]) -> dict[str, Any]:
    """Return the Pod with the defaults of all LimitRanges, and the annotation that says so.

    See mergePodResourceRequirements in kubernetes `plugin/pkg/admission/limitranger`.
    """
    for limit_range in limit_ranges:
        defaults = {"requests": dict(_requests(limit_range)), "limits": dict(_limits(limit_range))}
        spec, notes = dict(pod["spec"]), list[str]()
        for key, kind in (("containers", "container"), ("initContainers", "init container")):
            if spec.get(key):
                spec[key] = [_filled(container, kind, defaults, notes) for container in spec[key]]
        if notes:
            metadata = pod.get("metadata") or {}
            annotation = {ANNOTATION: "LimitRanger plugin set: " + "; ".join(notes)}
            metadata = {**metadata, "annotations": {**(metadata.get("annotations") or {}), **annotation}}
            pod = {**pod, "metadata": metadata, "spec": spec}
    return pod


def _filled(
    container: dict[str, Any], kind: str, defaults: Mapping[str, Mapping[str, Quantity]], notes: list[str]
) -> dict[str, Any]:
    resources = dict(container.get("resources") or {})
    for side, amounts in defaults.items():
        stated = resources.get(side) or {}
        missing = {name: str(amount) for name, amount in sorted(amounts.items()) if name not in stated}
        if missing:
            resources[side] = {**stated, **missing}
            notes.append(f"{', '.join(missing)} {side.removesuffix('s')} for {kind} {container.get('name')}")
    return {**container, "resources": resources}


def _limits(limit_range: LimitRange) -> Iterator[tuple[str, Quantity]]:
    """Yield the default limits: the API server makes `max` the default where there is none (SetDefaults_LimitRange)."""
    for item in limit_range.of_containers:
        yield from {**(item.max or EMPTY), **(item.default or EMPTY)}.items()


def _requests(limit_range: LimitRange) -> Iterator[tuple[str, Quantity]]:
    """Yield the default requests: the default limits, else `min`, where there are none."""
    for item in limit_range.of_containers:
        limits = {**(item.max or EMPTY), **(item.default or EMPTY)}
        yield from {**(item.min or EMPTY), **limits, **(item.default_request or EMPTY)}.items()
