"""Effective requests and limits of a Pod as a whole, and its QoS class.

Sources: k8s.io/component-helpers `resource/helpers.go` (0.37, UseStatusResources as the quota evaluator sets it) and
`pkg/apis/core/v1/helper/qos`. During a resize the largest of stated, allocated, and actual resources counts.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from webhook.api import resource_list
from webhook.api.resource_list import EMPTY, HUGEPAGES, ResourceList
from webhook.api.resources import NO_RESOURCES
from webhook.api.version import POD_LEVEL_FIXED
from webhook.rules.workload import Block, Workload

COMPUTE: Final = ("cpu", "memory")
Selector: TypeAlias = Callable[[Block], ResourceList]
# Selects from the status of a container; the second argument counts where the status has nothing.
StatusSelector: TypeAlias = Callable[[Block, ResourceList], ResourceList]


def requests_of(block: Block) -> ResourceList:
    """Return the container's requests, as a Selector."""
    return block.requests


def limits_of(block: Block) -> ResourceList:
    """Return the container's limits, as a Selector."""
    return block.limits


def aggregate(workload: Workload, of: Selector) -> ResourceList:
    """Return the peak of all containers together; `of` selects what counts of each.

    A native sidecar runs beside all containers that start after it. Any other init container runs alone with the
    sidecars started before it.
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
    """Return the requests that the scheduler reserves and a ResourceQuota charges (PodRequests)."""
    requests = _peak(workload, requests_of, (_allocated, _actual_requests))
    return resource_list.add({**requests, **_supported(workload.pod_resources.requests)}, _overhead(workload))


def effective_limits(workload: Workload) -> ResourceList:
    """Return the limits of the Pod (PodLimits); overhead is added only to resources with a limit."""
    limits = {**_peak(workload, limits_of, (_actual_limits,)), **_supported(workload.pod_resources.limits)}
    overhead = _overhead(workload)
    return resource_list.add(limits, {name: value for name, value in overhead.items() if limits.get(name)})


def _overhead(workload: Workload) -> ResourceList:
    return (workload.overhead and workload.overhead.requests) or EMPTY


def _peak(workload: Workload, stated: Selector, statuses: tuple[StatusSelector, ...]) -> ResourceList:
    """Return the largest of stated and status resources; an infeasible resize does not count."""
    if not workload.has_status:
        return aggregate(workload, stated)
    infeasible = workload.is_resize_infeasible
    peak = EMPTY if infeasible else aggregate(workload, stated)
    for status in statuses:

        def of(block: Block, status: StatusSelector = status) -> ResourceList:
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
    resources = workload.pod_resources
    return bool(_supported(resources.requests) or _supported(resources.limits))


def _supported(resources: ResourceList | None) -> ResourceList:
    """Return the entries allowed in `spec.resources` of a Pod: cpu, memory and hugepages."""
    if not resources:
        return EMPTY
    return {k: v for k, v in resources.items() if k in COMPUTE or k.startswith(HUGEPAGES)}


GUARANTEED: Final = "Guaranteed"
BURSTABLE: Final = "Burstable"
BEST_EFFORT: Final = "BestEffort"


def qos(workload: Workload) -> str:
    """Return the QoS class that quotas use: that of the status, else the computed one."""
    return workload.qos_class or computed_qos(workload)


def computed_qos(workload: Workload) -> str:
    """Return the QoS class (ComputePodQOS): from `spec.resources` where that counts, else from the containers.

    Before Kubernetes 1.37 an empty one counts too.
    """
    is_empty = workload.kubernetes >= POD_LEVEL_FIXED and not has_pod_level_resources(workload)
    if workload.pod_level is not None and not is_empty:
        blocks = [workload.pod_level]
    else:
        blocks = [block.resources or NO_RESOURCES for block in workload.blocks]
    requests = limits = EMPTY
    guaranteed = True
    for block in blocks:
        block_limits = _positive_compute(block.limits)
        guaranteed = guaranteed and len(block_limits) == len(COMPUTE)
        requests = resource_list.add(requests, _positive_compute(block.requests))
        limits = resource_list.add(limits, block_limits)
    if not requests and not limits:
        return BEST_EFFORT
    return GUARANTEED if guaranteed and requests == limits else BURSTABLE


def _positive_compute(resources: ResourceList | None) -> ResourceList:
    return {k: v for k, v in (resources or EMPTY).items() if k in COMPUTE and v.nano > 0}
