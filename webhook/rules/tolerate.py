"""Adds tolerations for the taints of GPUs and other extended resources that the Pod uses."""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from webhook.api.pod import Toleration
from webhook.api.resource_list import is_extended
from webhook.rules.findings import Change
from webhook.rules.workload import Workload


def tolerate(workload: Workload) -> tuple[Workload, list[Change]]:
    """Add tolerations for used resources, for interruptible tasks, and for every task; never one twice.

    A resource without configuration gets the toleration of kubernetes' ExtendedResourceToleration plugin.
    """
    present = {toleration.identity for toleration in workload.tolerations or ()}
    added: list[Toleration] = []
    changes: list[Change] = []
    for toleration, why in _wanted(workload):
        if toleration.identity not in present:
            present.add(toleration.identity)
            added.append(toleration)
            changes.append(_change(toleration, why))
    if not added:
        return workload, []
    return replace(workload, tolerations=(*(workload.tolerations or ()), *added)), changes


def _wanted(workload: Workload) -> Iterator[tuple[Toleration, str]]:
    """Yield what GetPodTolerations and AddTolerationsForExtendedResources of Flyte's flytek8s would, with reasons."""
    configured = workload.settings.tolerations
    for name in _used(workload):
        found = configured.by_resource.find(name)
        for toleration in found or ():
            yield toleration, f"the Pod uses {name}"
        if found is None if configured.extended is None else name in configured.extended:
            for toleration in _by_its_name(name):
                yield toleration, f"the Pod uses {name}"
    if workload.is_interruptible:
        for toleration in configured.interruptible:
            yield toleration, "the task is interruptible"
    for toleration in configured.always:
        yield toleration, "every task has it"


def _used(workload: Workload) -> list[str]:
    """Return the resources that containers state with a nonzero quantity, sorted."""
    return sorted({name for block in workload.blocks if block.resources for name in block.resources.used})


def _by_its_name(name: str) -> tuple[Toleration, ...]:
    return (Toleration(key=name, operator="Exists", effect="NoSchedule"),) if is_extended(name) else ()


def _change(toleration: Toleration, why: str) -> Change:
    return Change("/spec/tolerations/-", None, msgspec.to_builtins(toleration), "tolerate", why)
