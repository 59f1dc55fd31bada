"""What a Pod asks for as a whole: effective requests and limits, and its QoS class.

k8s.io/component-helpers `resource/helpers.go` (0.37, UseStatusResources as the quota evaluator sets it) and
`pkg/apis/core/v1/helper/qos`. A Pod under resize counts as the largest of what it states, was allocated, and has.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from webhook import resource_list
from webhook.pod import NO_RESOURCES, Container, ContainerStatus, Pod, containers, pod_resources
from webhook.resource_list import EMPTY, HUGEPAGES, ResourceList

COMPUTE: Final = ("cpu", "memory")
Pick: TypeAlias = Callable[[Container], ResourceList]
# What a status knows of a container; the second argument is what counts where it knows nothing.
Status: TypeAlias = Callable[[ContainerStatus | None, ResourceList], ResourceList]


def requests_of(container: Container) -> ResourceList:
    """What a container states as its requests."""
    return container.requests


def limits_of(container: Container) -> ResourceList:
    """What a container states as its limits."""
    return container.limits


def aggregate(pod: Pod, of: Pick) -> ResourceList:
    """What all containers together need at their peak; `of` picks what counts of each.

    A native sidecar runs beside everything that starts after it, any other init container alone with the sidecars
    started before it.
    """
    total = sidecars = peak = EMPTY
    for container in pod.spec.containers:
        total = resource_list.add(total, of(container))
    for container in pod.spec.init_containers or ():
        if container.is_sidecar:
            total = resource_list.add(total, of(container))
            candidate = sidecars = resource_list.add(sidecars, of(container))
        else:
            candidate = resource_list.add(of(container), sidecars)
        peak = resource_list.maximum(peak, candidate)
    return resource_list.maximum(total, peak)


def effective_requests(pod: Pod) -> ResourceList:
    """What the scheduler reserves and a ResourceQuota charges (PodRequests)."""
    requests = _peak(pod, requests_of, (_allocated, _actual_requests))
    return resource_list.add({**requests, **_supported(pod_resources(pod).requests)}, pod.spec.overhead or EMPTY)


def effective_limits(pod: Pod) -> ResourceList:
    """What the Pod may use (PodLimits); overhead counts only where there is a limit already."""
    limits = {**_peak(pod, limits_of, (_actual_limits,)), **_supported(pod_resources(pod).limits)}
    overhead = pod.spec.overhead or EMPTY
    return resource_list.add(limits, {name: value for name, value in overhead.items() if limits.get(name)})


def _peak(pod: Pod, stated: Pick, statuses: tuple[Status, ...]) -> ResourceList:
    """The largest of what is stated and what each of `statuses` knows; a resize that is infeasible is not counted."""
    if pod.status is None:
        return aggregate(pod, stated)
    known = {status.name: status for status in pod.status.all_containers}
    infeasible = pod.status.is_resize_infeasible
    peak = EMPTY if infeasible else aggregate(pod, stated)
    for status in statuses:

        def of(container: Container, status: Status = status) -> ResourceList:
            return status(known.get(container.name), EMPTY if infeasible else stated(container))

        peak = resource_list.maximum(peak, aggregate(pod, of))
    return peak


def _allocated(status: ContainerStatus | None, otherwise: ResourceList) -> ResourceList:
    return otherwise if status is None or status.allocated_resources is None else status.allocated_resources


def _actual_requests(status: ContainerStatus | None, otherwise: ResourceList) -> ResourceList:
    actual = status.resources.requests if status and status.resources else None
    return _allocated(status, otherwise) if actual is None else actual


def _actual_limits(status: ContainerStatus | None, otherwise: ResourceList) -> ResourceList:
    actual = status.resources.limits if status and status.resources else None
    return otherwise if actual is None else actual


def has_pod_level_resources(pod: Pod) -> bool:
    """Whether the Pod states resources for itself as a whole (IsPodLevelResourcesSet)."""
    resources = pod_resources(pod)
    return bool(_supported(resources.requests) or _supported(resources.limits))


def _supported(resources: ResourceList | None) -> ResourceList:
    """What may be stated for a Pod as a whole: cpu, memory and hugepages."""
    if not resources:
        return EMPTY
    return {k: v for k, v in resources.items() if k in COMPUTE or k.startswith(HUGEPAGES)}


GUARANTEED: Final = "Guaranteed"
BURSTABLE: Final = "Burstable"
BEST_EFFORT: Final = "BestEffort"


def qos(pod: Pod) -> str:
    """The QoS class that counts for quotas: that of the status, else the computed one."""
    return (pod.status and pod.status.qos_class) or computed_qos(pod)


def computed_qos(pod: Pod) -> str:
    """The QoS class (ComputePodQOS): from `spec.resources` where it is there at all, else from the containers."""
    if pod.spec.resources is not None:
        blocks = [pod.spec.resources]
    else:
        blocks = [container.resources or NO_RESOURCES for _, container in containers(pod)]
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
