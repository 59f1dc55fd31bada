"""The part of a Pod that is read.

Every optional field may be null: mutating webhooks see objects before validation, and Go writes nil so. Unknown fields
are skipped and never written back; a patch touches only what changes.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from webhook.api.bounds import Amounts, Containers, References, Text, Tolerations
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resources import NO_RESOURCES, Resources, decode_hook
from webhook.api.wire import Wire

POD_LEVEL: Final = "/spec"  # the pointer of the Pod as a whole, where containers have their own


class Container(Wire, frozen=True):
    """A container of either list."""

    name: Text | None = None
    resources: Resources | None = None
    restart_policy: str | None = None

    @property
    def requests(self) -> ResourceList:
        """Its requests, empty when absent."""
        return (self.resources and self.resources.requests) or EMPTY

    @property
    def limits(self) -> ResourceList:
        """Its limits, empty when absent."""
        return (self.resources and self.resources.limits) or EMPTY


class Toleration(Wire, frozen=True):
    """A toleration; `identity` is what Kubernetes compares."""

    key: Text | None = None
    operator: Text | None = None
    value: Text | None = None
    effect: Text | None = None
    toleration_seconds: int | None = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Key, operator, value, effect, with the API's defaults filled in."""
        return (self.key or "", self.operator or "Equal", self.value or "", self.effect or "")


class AffinityTerm(Wire, frozen=True):
    """A pod (anti)affinity term, as far as the CrossNamespacePodAffinity scope looks at it."""

    namespaces: list[str] | None = None
    namespace_selector: dict[str, Any] | None = None


class WeightedAffinityTerm(Wire, frozen=True):
    """A preferred pod (anti)affinity term."""

    pod_affinity_term: AffinityTerm | None = None


class PodAffinity(Wire, frozen=True):
    """`podAffinity` or `podAntiAffinity`."""

    required_during_scheduling_ignored_during_execution: References[AffinityTerm] | None = None
    preferred_during_scheduling_ignored_during_execution: References[WeightedAffinityTerm] | None = None


class Affinity(Wire, frozen=True):
    """`spec.affinity`."""

    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class PodSpec(Wire, frozen=True):
    """`spec` of a Pod."""

    app_containers: Containers[Container] | None = msgspec.field(default=None, name="containers")
    init_containers: Containers[Container] | None = None
    resources: Resources | None = None
    overhead: Amounts[Quantity] | None = None
    tolerations: Tolerations[Toleration] | None = None
    resource_claims: References[msgspec.Raw] | None = None
    active_deadline_seconds: int | None = None
    priority_class_name: Text | None = None
    affinity: Affinity | None = None

    @property
    def containers(self) -> list[Container]:
        """The app containers; none where Go has written null."""
        return self.app_containers or []


class OwnerReference(Wire, frozen=True):
    """An owner; the controlling one created the Pod."""

    kind: Text | None = None
    controller: bool | None = None


class ObjectMeta(Wire, frozen=True):
    """`metadata` of a Pod."""

    name: Text | None = None
    generate_name: Text | None = None
    namespace: Text | None = None
    resource_version: Text | None = None
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None
    owner_references: References[OwnerReference] | None = None


class ContainerStatus(Wire, frozen=True):
    """What the kubelet says a container has, and was allocated, while its Pod is resized."""

    name: Text | None = None
    resources: Resources | None = None
    allocated_resources: Amounts[Quantity] | None = None


class PodCondition(Wire, frozen=True):
    """One of `status.conditions`."""

    type: Text | None = None
    reason: Text | None = None


class PodStatus(Wire, frozen=True):
    """`status` of a Pod; on CREATE whatever stands there is the user's, and reset later."""

    phase: Text | None = None
    qos_class: Text | None = None
    conditions: References[PodCondition] | None = None
    container_statuses: Containers[ContainerStatus] | None = None
    init_container_statuses: Containers[ContainerStatus] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the Pod has ended, and takes no compute any more."""
        return self.phase in ("Failed", "Succeeded")

    @property
    def is_resize_infeasible(self) -> bool:
        """Whether the kubelet cannot do the resize that was asked for."""
        pending = (condition for condition in self.conditions or () if condition.type == "PodResizePending")
        return any(condition.reason == "Infeasible" for condition in pending)

    @property
    def all_containers(self) -> list[ContainerStatus]:
        """The statuses of app and init containers."""
        return [*(self.container_statuses or ()), *(self.init_container_statuses or ())]


class Pod(Wire, frozen=True):
    """A v1 Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus | None = None


decode: Final[Callable[[bytes | msgspec.Raw], Pod]] = msgspec.json.Decoder(
    Pod, dec_hook=decode_hook, float_hook=str
).decode


class _New(Wire, frozen=True):
    """A Pod that is to be created: the API server resets its status."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


_decode_new: Final = msgspec.json.Decoder(_New, dec_hook=decode_hook, float_hook=str).decode


def decode_new(data: bytes | msgspec.Raw) -> Pod:
    """Decode a Pod that is to be created, whatever its status holds."""
    found = _decode_new(data)
    return Pod(found.metadata, found.spec)


def containers(pod: Pod) -> Iterator[tuple[str, Container]]:
    """Each container with its JSON Pointer: the app containers, then init containers and native sidecars."""
    for index, container in enumerate(pod.spec.containers):
        yield f"/spec/containers/{index}", container
    for index, container in enumerate(pod.spec.init_containers or ()):
        yield f"/spec/initContainers/{index}", container


def is_init(pointer: str) -> bool:
    """Whether the pointer is that of an init container or native sidecar."""
    return pointer.startswith("/spec/initContainers/")


def with_resources(pod: Pod, changed: Mapping[str, Resources]) -> Pod:
    """The Pod with other resources at these pointers: of a container, or `/spec` for the Pod as a whole."""
    if not changed:
        return pod
    fresh = [_with(container, changed.get(pointer)) for pointer, container in containers(pod)]
    apps = len(pod.spec.containers)
    spec = replace(
        pod.spec,
        app_containers=fresh[:apps],
        init_containers=fresh[apps:] or pod.spec.init_containers,
        resources=changed.get(POD_LEVEL, pod.spec.resources),
    )
    return replace(pod, spec=spec)


def _with(container: Container, resources: Resources | None) -> Container:
    return container if resources is None else replace(container, resources=resources)


def pod_resources(pod: Pod) -> Resources:
    """`spec.resources`, empty when absent."""
    return pod.spec.resources or NO_RESOURCES
