"""Warnings about LimitRanges that contradict the policy: the API server refuses what the two make together."""

from collections.abc import Iterable, Iterator

from webhook.api.limit_range import LimitRange, ranges_of
from webhook.flyte.task import task_of_namespace
from webhook.policy.model import Policy


def contradictions(policy: Policy, limit_ranges: Iterable[LimitRange], day: str) -> Iterator[str]:
    """Yield the warnings, for tasks of which the namespace alone is known."""
    for each in limit_ranges:
        namespace = each.metadata.namespace or "default"
        settings = policy.settings(task_of_namespace(namespace, policy.identification), namespace, day)
        where, bounds = f"LimitRange {each.name} of namespace {namespace}: warning:", ranges_of([each])
        of_container, of_pod = bounds.container, bounds.pod
        for kind, least, maximum in (
            ("a container", of_container.least, settings.limits.get),
            ("a Pod", of_pod.least, settings.pod_limits.get),
        ):
            for name, amount in sorted(least.items()):
                if (most := maximum(name)) and most < amount:
                    yield f"{where} min {name}={amount} is over the policy's maximum {most} of {kind}: none is accepted"
        for item in each.of_containers:
            for name, amount in sorted({**(item.default_request or {}), **(item.default or {})}.items()):
                if (most := settings.limits.get(name)) and most < amount:
                    yield f"{where} default {name}={amount} is over the policy's maximum {most}, and is lowered to it"
        for name, default in sorted(settings.defaults.limits.items()):
            most = of_container.most.get(name)
            if most and most < default:
                yield f"{where} max {name}={most} is under the default {default}, and is what tasks get"
            ratio, request = bounds.ratio(name), settings.defaults.requests[name]
            if ratio and default.nano * 10**9 > request.nano * ratio.nano:
                what = f"is under that of the default, {request} to {default}, and lowers its limit"
                yield f"{where} maxLimitRequestRatio {name}={ratio} {what}"
