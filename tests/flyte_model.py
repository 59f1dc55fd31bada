"""What Flyte itself does, as its source has it, to hold our documents and decisions against; checked by its vectors."""

import math
from fractions import Fraction
from typing import Any

from webhook import quantity

Amounts = dict[str, Fraction]
UNIT = Fraction(10**9)
KINDS = {"cpu": "CPU", "memory": "MEMORY", "ephemeral-storage": "EPHEMERAL_STORAGE", "nvidia.com/gpu": "GPU"}


def amounts(values: dict[str, Any] | None) -> Amounts:
    return {name: Fraction(quantity.from_json(value).nano) / UNIT for name, value in (values or {}).items()}


def adjusted(request: Fraction, limit: Fraction, default: Fraction, most: Fraction) -> tuple[Fraction, Fraction]:
    """AdjustOrDefaultResource of flytek8s/container_helper.go; zero is nothing."""
    request = request or limit or default
    limit = limit or request
    request, limit = (min(value, most) if value and most else value for value in (request, limit))
    return (min(request, limit) if limit else request), limit


def assigned(resources: dict[str, Any], defaults: Amounts, limits: Amounts) -> dict[str, Amounts]:
    """ApplyResourceOverrides, as for the container that runs the task: what it leaves at zero is left out."""
    requests, found = amounts(resources.get("requests")), amounts(resources.get("limits"))
    names = {"cpu", "memory"} | ({"ephemeral-storage", "nvidia.com/gpu"} & {*requests, *found})
    result: dict[str, Amounts] = {"requests": dict(requests), "limits": dict(found)}
    zero = Fraction(0)
    for name in names:
        both = adjusted(
            requests.get(name, zero), found.get(name, zero), defaults.get(name, zero), limits.get(name, zero)
        )
        for side, value in zip(("requests", "limits"), both, strict=True):
            result[side][name] = value
    return {side: {name: value for name, value in values.items() if value} for side, values in result.items()}


def registration(resources: dict[str, Any], platform_limits: dict[str, Any]) -> str | None:
    """validateTaskResources of flyteadmin: what it says of a container task, None where it takes it."""
    limits = amounts(platform_limits)
    asked = {side: amounts(resources.get(side)) for side in ("requests", "limits")}
    for name in asked["requests"]:
        # Of a GPU, whose request must equal its limit, the request comes first.
        for side, word in (("limits", "limit"), ("requests", "default"))[:: -1 if KINDS[name] == "GPU" else 1]:
            value, most = asked[side].get(name), limits.get(name)
            if value is not None and most and math.ceil(value) > math.ceil(most):
                shown = quantity.from_json(resources[side][name])
                return (
                    f"Requested {KINDS[name]} {word} [{shown}] is greater than current limit set in the platform "
                    f"configuration [{quantity.from_json(platform_limits[name])}]. Please contact Flyte Admins to "
                    "change these limits or consult the configuration"
                )
    return None
