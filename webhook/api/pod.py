"""The part of a Pod that the webhook reads.

Every optional field may be null: mutating webhooks see objects before validation, and Go writes nil as null. The
decoder skips unknown fields, and a patch touches only what changes.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from webhook.api.bounds import AmountMap, ContainerList, ReferenceList, Text, TolerationList
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resources import Resources, decode_hook
from webhook.api.wire import Wire

POD_LEVEL: Final = "/spec"  # stands for the Pod as a whole where containers have their JSON Pointer


class Container(Wire, frozen=True):
    """An app container or an init container."""

    name: Text | None = None
    resources: Resources | None = None
    restart_policy: str | None = None

    @property
    def requests(self) -> ResourceList:
        """The requests, empty when absent."""
        return (self.resources and self.resources.requests) or EMPTY

    @property
    def limits(self) -> ResourceList:
        """The limits, empty when absent."""
        return (self.resources and self.resources.limits) or EMPTY


class Toleration(Wire, frozen=True):
    """A toleration."""

    key: Text | None = None
    operator: Text | None = None
    value: Text | None = None
    effect: Text | None = None
    toleration_seconds: int | None = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What Kubernetes compares: key, operator, value and effect, with the API's defaults filled in."""
        return (self.key or "", self.operator or "Equal", self.value or "", self.effect or "")


class AffinityTerm(Wire, frozen=True):
    """A pod (anti)affinity term: the fields that the CrossNamespacePodAffinity scope reads."""

    namespaces: list[str] | None = None
    namespace_selector: dict[str, Any] | None = None


class WeightedAffinityTerm(Wire, frozen=True):
    """A preferred pod (anti)affinity term."""

    pod_affinity_term: AffinityTerm | None = None


class PodAffinity(Wire, frozen=True):
    """`podAffinity` or `podAntiAffinity`."""

    required_during_scheduling_ignored_during_execution: ReferenceList[AffinityTerm] | None = None
    preferred_during_scheduling_ignored_during_execution: ReferenceList[WeightedAffinityTerm] | None = None


class Affinity(Wire, frozen=True):
    """`spec.affinity`."""

    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class PodSpec(Wire, frozen=True):
    """`spec` of a Pod."""

    app_containers: ContainerList[Container] | None = msgspec.field(default=None, name="containers")
    init_containers: ContainerList[Container] | None = None
    resources: Resources | None = None
    overhead: AmountMap[Quantity] | None = None
    tolerations: TolerationList[Toleration] | None = None
    resource_claims: ReferenceList[msgspec.Raw] | None = None
    active_deadline_seconds: int | None = None
    priority_class_name: Text | None = None
    affinity: Affinity | None = None

    @property
    def containers(self) -> list[Container]:
        """The app containers, empty when null."""
        return self.app_containers or []


class OwnerReference(Wire, frozen=True):
    """An owner of the Pod; the controlling one created it."""

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
    owner_references: ReferenceList[OwnerReference] | None = None


class ContainerStatus(Wire, frozen=True):
    """The actual and allocated resources of a container, as the kubelet reports them during a resize."""

    name: Text | None = None
    resources: Resources | None = None
    allocated_resources: AmountMap[Quantity] | None = None


class PodCondition(Wire, frozen=True):
    """One of `status.conditions`."""

    type: Text | None = None
    reason: Text | None = None


class PodStatus(Wire, frozen=True):
    """`status` of a Pod; on CREATE it comes from the user, and the API server resets it later."""

    phase: Text | None = None
    qos_class: Text | None = None
    conditions: ReferenceList[PodCondition] | None = None
    container_statuses: ContainerList[ContainerStatus] | None = None
    init_container_statuses: ContainerList[ContainerStatus] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the Pod has ended and no longer uses compute."""
        return self.phase in ("Failed", "Succeeded")

    @property
    def is_resize_infeasible(self) -> bool:
        """Whether the kubelet cannot do the requested resize."""
        pending = (condition for condition in self.conditions or () if condition.type == "PodResizePending")
        return any(condition.reason == "Infeasible" for condition in pending)

    @property
    def all_containers(self) -> list[ContainerStatus]:
        """The statuses of app and init containers."""
        return [*(self.container_statuses or ()), *(self.init_container_statuses or ())]


class PodTemplate(Wire, frozen=True):
    """A PodTemplateSpec."""

    metadata: ObjectMeta | None = None
    spec: PodSpec | None = None

    @property
    def pod(self) -> "Pod":
        """The Pod that an operator makes of the template: it has another name."""
        return Pod(replace(self.metadata or ObjectMeta(), name=None), self.spec or PodSpec())


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
    """Yield each container with its JSON Pointer: app containers, then init containers and native sidecars."""
    for index, container in enumerate(pod.spec.containers):
        yield f"/spec/containers/{index}", container
    for index, container in enumerate(pod.spec.init_containers or ()):
        yield f"/spec/initContainers/{index}", container


def with_resources(pod: Pod, changed: Mapping[str, Resources]) -> Pod:
    """Return the Pod with new resources at these pointers: of a container, or `/spec` for the Pod as a whole."""
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
