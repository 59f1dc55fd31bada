"""An independent implementation of what the API server does with resources: defaulting, validation, charges.

Sources: kubernetes `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go` and component-helpers
`resource/helpers.go`, on plain JSON and fractions: it shares neither code nor representation with webhook/.
"""

import copy
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

Json = dict[str, Any]
Amounts = dict[str, Fraction]

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_POD_LEVEL = ("cpu", "memory")
_PAGE = 2 * 1024**2  # of the only hugepages in use here


def amount(value: object) -> Fraction:
    """What a quantity in JSON stands for."""
    if value is None:
        return Fraction(0)
    match = re.fullmatch(r"([-+]?[0-9]*\.?[0-9]*)(?:([eE][-+]?[0-9]+)|([a-zA-Z]{0,2}))", str(value).strip())
    assert match, value
    number, exponent, suffix = match.groups()
    parsed = Fraction(number) * Fraction(f"1{exponent or ''}")
    return parsed * (
        Fraction(1024 ** _BINARY[suffix]) if suffix in _BINARY else Fraction(f"1e{_DECIMAL[suffix or '']}")
    )


def amounts(resources: Mapping[str, Any] | None, side: str) -> Amounts:
    return {name: amount(value) for name, value in ((resources or {}).get(side) or {}).items()}


def is_extended(name: str) -> bool:
    return "/" in name


def is_hugepages(name: str) -> bool:
    return name.startswith("hugepages-")


def is_equal(name: str) -> bool:
    """Whether its request has to be its limit."""
    return is_extended(name) or is_hugepages(name)


def containers(pod: Json) -> Iterator[Json]:
    """App containers, then init containers and sidecars."""
    yield from pod["spec"].get("containers") or ()
    yield from pod["spec"].get("initContainers") or ()


def blocks(pod: Json) -> Iterator[Json]:
    """Each `resources` that is there: of the containers, and of the Pod as a whole."""
    for owner in (*containers(pod), pod["spec"]):
        if owner.get("resources"):
            yield owner["resources"]


def aggregate(pod: Json, side: str) -> Amounts:
    """What the containers need together at their peak."""
    total: Amounts = {}
    for container in pod["spec"].get("containers") or ():
        total = _add(total, amounts(container.get("resources"), side))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in pod["spec"].get("initContainers") or ():
        own = amounts(container.get("resources"), side)
        if container.get("restartPolicy") == "Always":
            total, sidecars = _add(total, own), _add(sidecars, own)
            peak = _most(peak, sidecars)
        else:
            peak = _most(peak, _add(own, sidecars))
    return _most(total, peak)


def effective(pod: Json, side: str) -> Amounts:
    """What a ResourceQuota charges: the Pod's own statement stands for the containers'. Without overhead."""
    own = amounts(pod["spec"].get("resources"), side)
    return {**aggregate(pod, side), **{name: value for name, value in own.items() if name in _POD_LEVEL}}


def _add(left: Amounts, right: Amounts) -> Amounts:
    return {name: left.get(name, Fraction(0)) + right.get(name, Fraction(0)) for name in {*left, *right}}


def _most(left: Amounts, right: Amounts) -> Amounts:
    return {name: max(side[name] for side in (left, right) if name in side) for name in {*left, *right}}


def text(value: Fraction) -> str:
    """A quantity of whole thousandths."""
    return f"{math.ceil(value * 1000)}m"


def defaulted(pod: Json) -> Json:
    """The Pod as it is handed to webhooks up to Kubernetes 1.36, and as it is again after each patch."""
    pod = handed_over(pod)
    level = pod["spec"].get("resources") or {}
    if level.get("limits") or level.get("requests"):
        _add_hugepages(pod, level)
    if level.get("limits"):
        _add_requests(pod, level)
    return pod


def stored(pod: Json) -> Json:
    """The Pod as Kubernetes 1.37 stores it, once no webhook changes it any more (DefaultPodLevelResources)."""
    pod = handed_over(pod)
    level = pod["spec"].get("resources") or {}
    if level.get("limits") or level.get("requests"):
        _add_hugepages(pod, level)
        _add_requests(pod, level)
        limits, total = dict(level.get("limits") or {}), aggregate(pod, "limits")
        for name in level["requests"]:
            each = [name in amounts(container.get("resources"), "limits") for container in containers(pod)]
            if name in _POD_LEVEL and name not in limits and name in total and all(each):
                limits[name] = text(max(total[name], amount(level["requests"][name])))
        level["limits"] = limits
    return pod


def _add_hugepages(pod: Json, level: Json) -> None:
    for name, value in aggregate(pod, "limits").items():
        limits = level.get("limits") or {}
        if is_hugepages(name) and name not in limits and name not in (level.get("requests") or {}):
            level["limits"] = {**limits, name: text(value)}


def _add_requests(pod: Json, level: Json) -> None:
    requests = level["requests"] = dict(level.get("requests") or {})
    for name, value in aggregate(pod, "requests").items():
        if name in _POD_LEVEL and name not in requests:
            requests[name] = text(value)
    _copy_limits(level)


def handed_over(pod: Json) -> Json:
    """The Pod as it is handed to webhooks since Kubernetes 1.37, which leaves `spec.resources` as it is."""
    pod = copy.deepcopy(pod)
    for block in blocks(pod):
        for side in ("limits", "requests"):
            for name, value in (block.get(side) or {}).items():
                if amount(value) * 1000 % 1:
                    block[side][name] = text(amount(value))
    for container in containers(pod):
        _copy_limits(container.get("resources") or {})
    return pod


def _copy_limits(block: Json) -> None:
    if block.get("limits"):
        block["requests"] = {**block["limits"], **(block.get("requests") or {})}


def flaws(pod: Json) -> list[str]:
    """Why validation refuses the Pod."""
    found = [f"{where}: {flaw}" for where, block in enumerate(blocks(pod)) for flaw in _flaws(block)]
    level = pod["spec"].get("resources") or {}
    requests, limits = amounts(level, "requests"), amounts(level, "limits")
    for name, value in aggregate(pod, "requests").items():
        if name in requests and value > requests[name]:
            found.append(f"{name}: containers request {value}, the Pod {requests[name]}")
    for name, value in aggregate(pod, "limits").items():
        if is_hugepages(name) and name in limits and value > limits[name]:
            found.append(f"{name}: containers have {value}, the Pod {limits[name]}")
    for container in pod["spec"].get("containers") or ():
        for name, value in amounts(container.get("resources"), "limits").items():
            if name in limits and value > limits[name]:
                found.append(f"{name}: a container's limit is {value}, the Pod's {limits[name]}")
    return found


def _flaws(block: Json) -> Iterator[str]:
    requests, limits = amounts(block, "requests"), amounts(block, "limits")
    for name, value in [*requests.items(), *limits.items()]:
        if value < 0:
            yield f"{name} is negative"
        if (is_extended(name) and value % 1) or (is_hugepages(name) and value % _PAGE):
            yield f"{name} is not whole"
    for name, value in requests.items():
        if name in limits and value > limits[name]:
            yield f"{name} requests {value} of {limits[name]}"
        if is_equal(name) and limits.get(name) != value:
            yield f"{name} requests {value}, but its limit is {limits.get(name)}"
