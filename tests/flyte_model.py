"""A model of Flyte's own behaviour, to test documents and decisions against; its vectors check the model.

Sources for the handling of refusals: flytepropeller `backoff/handler.go` and `nodes/task/k8s/plugin_manager.go`
(v1.16), with the regular expressions from the vectors; executor `pkg/plugin/k8s/plugin_manager.go` and
`pkg/controller/taskaction_controller.go` (v2.0), and client-go `rest/request.go`. tests/e2e/flyte runs the real thing.
"""

import math
import re
from fractions import Fraction
from typing import Any, NamedTuple

from tests.vectors import regexes
from webhook.api import quantity
from webhook.api.quantity import parse
from webhook.api.resource_list import ResourceList

Amounts = dict[str, Fraction]
UNIT = Fraction(10**9)
KINDS = {"cpu": "CPU", "memory": "MEMORY", "ephemeral-storage": "EPHEMERAL_STORAGE", "nvidia.com/gpu": "GPU"}


def amounts(values: dict[str, Any] | None) -> Amounts:
    return {name: Fraction(quantity.from_json(value).nano) / UNIT for name, value in (values or {}).items()}


def adjusted(request: Fraction, limit: Fraction, default: Fraction, most: Fraction) -> tuple[Fraction, Fraction]:
    """Model AdjustOrDefaultResource of flytek8s/container_helper.go; zero means not set."""
    request = request or limit or default
    limit = limit or request
    request, limit = (min(value, most) if value and most else value for value in (request, limit))
    return (min(request, limit) if limit else request), limit


def assigned(resources: dict[str, Any], defaults: Amounts, limits: Amounts) -> dict[str, Amounts]:
    """Model ApplyResourceOverrides for the primary container; zeros are left out."""
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
    """Model validateTaskResources of flyteadmin: return its error for a container task, or None."""
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


class Refusal(NamedTuple):
    """An error of the API server, as its client sees it."""

    code: int
    reason: str
    message: str
    retry_after: int | None = None

    def is_(self, code: int, reason: str) -> bool:
        """Match like the predicates of apimachinery: by the reason, or without one by the code."""
        return self.reason == reason or (self.code == code and not self.reason)


def is_quota_exceeded(error: Refusal) -> bool:
    return error.is_(403, "Forbidden") and "exceeded quota" in error.message


def is_back_off(error: Refusal) -> bool:
    busy = error.reason in ("TooManyRequests", "ServerTimeout") or error.code == 429
    return is_quota_exceeded(error) or busy or (error.is_(403, "Forbidden") and "etcdserver:" in error.message)


def compute_resources(error: Refusal, regex: str) -> ResourceList:
    """Model GetComputeResourceAndQuantity; a number that does not parse is a panic there, and an error here."""
    match = re.search(regexes("flyte_v1.json")[regex], error.message, re.ASCII)
    found = {}
    for chunk in match[0].split(":", 1)[1].split(",") if match else ():
        _, dot, rest = chunk.partition(".")
        name, equals, value = rest.partition("=")
        if dot and equals:
            found[name] = parse(value)
    return found


def is_eligible(requested: ResourceList, limited: ResourceList) -> bool:
    return all(name not in limited or value < limited[name] for name, value in requested.items())


def is_within_the_quota(error: Refusal) -> bool:
    return all(
        is_eligible(compute_resources(error, f"requested_{side}"), compute_resources(error, f"limited_{side}"))
        for side in ("limits", "requests")
    )


def flyte_1(error: Refusal, version: str = "v1.16.8", *, backs_off: bool = True) -> tuple[str, str | None]:
    """Return the phase and error code of a task whose Pod got the error."""
    fails_bad_ones = version not in ("v1.10.0", "v1.16.6")
    if error.reason == "AlreadyExists":
        return "Queued", None
    if is_quota_exceeded(error) and not is_within_the_quota(error):
        return "PermanentFailure", "ResourceRequestsExceedLimits"
    if (backs_off and is_back_off(error)) or is_quota_exceeded(error):
        return "WaitingForResources", None
    if error.is_(403, "Forbidden"):
        return "RetryableFailure", "RuntimeFailure"
    if fails_bad_ones and (error.is_(400, "BadRequest") or error.is_(422, "Invalid")):
        return "PermanentFailure", "BadTaskFormat"
    if error.is_(413, "RequestEntityTooLarge"):
        return "PermanentFailure", "EntityTooLarge"
    return "SystemError", error.reason


def flyte_2(error: Refusal, version: str = "v2.0.43") -> tuple[str, str | None]:
    """Return the phase and error code of a task whose Pod got the error; client-go repeats some, see `patience`."""
    old = version == "v2.0.14"
    if error.retry_after is not None and (error.code == 429 or error.code >= 500):
        return "AsksAgain", None
    if error.reason == "AlreadyExists":
        return "Queued", None
    if error.is_(403, "Forbidden"):
        return "RetryableFailure", "RuntimeFailure"
    if error.is_(400, "BadRequest") and not old:
        return "PermanentFailure", "BadRequest"
    if error.is_(413, "RequestEntityTooLarge"):
        return "PermanentFailure", "EntityTooLarge"
    if error.is_(422, "Invalid") and not old:
        return "PermanentFailure", "InvalidResource"
    return "SystemError", None


class Patience(NamedTuple):
    """What Flyte 2 makes of a Pod that is refused with 429 each time."""

    tries: int  # that reach the API server
    seconds: int  # from the first try until the task has failed
    reason: bool  # whether the user sees the text of the refusal


def patience(retry_after: int, timeout: int = 30, max_system_failures: int = 3) -> Patience:
    """Model client-go below the executor: rounds of up to ten retries, all of a round within the one timeout.

    A round that ends is a system failure; the executor begins another one ten seconds later, until there have been
    more than it accepts. A timeout of 0 is none.
    """
    retries = 10 if not timeout else min(10, (timeout - 1) // retry_after)
    whole = retries == 10
    rounds = max_system_failures + 1
    seconds = rounds * (10 * retry_after if whole else timeout) + max_system_failures * 10
    return Patience(rounds * (1 + retries), seconds, whole)
