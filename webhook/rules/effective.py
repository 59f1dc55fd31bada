"""What a Pod asks for as a whole: effective requests and limits, and its QoS class.

k8s.io/component-helpers `resource/helpers.go` (0.37, UseStatusResources as the quota evaluator sets it) and
`pkg/apis/core/v1/helper/qos`. A Pod under resize counts as the largest of what it states, was allocated, and has.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from webhook.api import resource_list
from webhook.api.resource_list import EMPTY, HUGEPAGES, ResourceList
from webhook.api.resources import NO_RESOURCES
from webhook.rules.workload import Block, Workload

COMPUTE: Final = ("cpu", "memory")
Pick: TypeAlias = Callable[[Block], ResourceList]
# What a status knows of a container; the second argument is what counts where it knows nothing.
Status: TypeAlias = Callable[[Block, ResourceList], ResourceList]


def requests_of(block: Block) -> ResourceList:
    """Return what a container states as its requests."""
    return block.requests


def limits_of(block: Block) -> ResourceList:
    """Return what a container states as its limits."""
    return block.limits


def aggregate(workload: Workload, of: Pick) -> ResourceList:
    """Return what all containers together need at their peak; `of` picks what counts of each.

    A native sidecar runs beside everything that starts after it, any other init container alone with the sidecars
    started before it.
    """
    total = sidecars = peak = EMPTY
    for block in workload.blocks:
        if not block.is_init or block.is_sidecar:
            total = resource_list.add(total, of(block))
        if not block.is_init:
            continue
        if block.is_sidecar:
            candidate = sidecars = resource_list.add(sidecars, of(block))
        else:
            candidate = resource_list.add(of(block), sidecars)
        peak = resource_list.maximum(peak, candidate)
    return resource_list.maximum(total, peak)


def effective_requests(workload: Workload) -> ResourceList:
    """Return what the scheduler reserves and a ResourceQuota charges (PodRequests)."""
    requests = _peak(workload, requests_of, (_allocated, _actual_requests))
    return resource_list.add({**requests, **_supported(workload.stated.requests)}, _overhead(workload))


def effective_limits(workload: Workload) -> ResourceList:
    """Return what the Pod may use (PodLimits); overhead counts only where there is a limit already."""
    limits = {**_peak(workload, limits_of, (_actual_limits,)), **_supported(workload.stated.limits)}
    overhead = _overhead(workload)
    return resource_list.add(limits, {name: value for name, value in overhead.items() if limits.get(name)})


def _overhead(workload: Workload) -> ResourceList:
    return (workload.overhead and workload.overhead.requests) or EMPTY


def _peak(workload: Workload, stated: Pick, statuses: tuple[Status, ...]) -> ResourceList:
    """Return the largest of what is stated and what the status knows; an infeasible resize is not counted."""
    if not workload.is_reported:
        return aggregate(workload, stated)
    infeasible = workload.is_resize_infeasible
    peak = EMPTY if infeasible else aggregate(workload, stated)
    for status in statuses:

        def of(block: Block, status: Status = status) -> ResourceList:
            return status(block, EMPTY if infeasible else stated(block))

        peak = resource_list.maximum(peak, aggregate(workload, of))
    return peak


def _allocated(block: Block, otherwise: ResourceList) -> ResourceList:
    return otherwise if block.allocated is None else block.allocated


def _actual_requests(block: Block, otherwise: ResourceList) -> ResourceList:
    actual = block.actual.requests if block.actual else None
    return _allocated(block, otherwise) if actual is None else actual


def _actual_limits(block: Block, otherwise: ResourceList) -> ResourceList:
    actual = block.actual.limits if block.actual else None
    return otherwise if actual is None else actual


def has_pod_level_resources(workload: Workload) -> bool:
    """Return whether the Pod states resources for itself as a whole (IsPodLevelResourcesSet)."""
    resources = workload.stated
    return bool(_supported(resources.requests) or _supported(resources.limits))


def _supported(resources: ResourceList | None) -> ResourceList:
    """What may be stated for a Pod as a whole: cpu, memory and hugepages."""
    if not resources:
        return EMPTY
    return {k: v for k, v in resources.items() if k in COMPUTE or k.startswith(HUGEPAGES)}


GUARANTEED: Final = "Guaranteed"
BURSTABLE: Final = "Burstable"
BEST_EFFORT: Final = "BestEffort"


def qos(workload: Workload) -> str:
    """Return the QoS class that counts for quotas: that of the status, else the computed one."""
    return workload.qos_class or computed_qos(workload)


def computed_qos(workload: Workload) -> str:
    """Return the QoS class (ComputePodQOS): from `spec.resources` where it is there, else from the containers."""
    if workload.level is not None:
        blocks = [workload.level]
    else:
        blocks = [block.resources or NO_RESOURCES for block in workload.blocks]
    requests = limits = EMPTY
    guaranteed = True
    for block in blocks:
        block_limits = _positive(block.limits)
        guaranteed = guaranteed and len(block_limits) == len(COMPUTE)
        requests = resource_list.add(requests, _positive(block.requests))
        limits = resource_list.add(limits, block_limits)
    if not requests and not limits:
        return BEST_EFFORT
    return GUARANTEED if guaranteed and requests == limits else BURSTABLE


def _positive(resources: ResourceList | None) -> ResourceList:
    return {k: v for k, v in (resources or EMPTY).items() if k in COMPUTE and v.nano > 0}
