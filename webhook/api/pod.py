"""The part of a Pod that rules read.

Every optional field may be null: mutating webhooks see objects before validation, and Go writes nil so.
Unknown fields are skipped here and never written back; a patch touches only what changes.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from webhook.api import quantity
from webhook.api.bounds import Amounts, Containers, References, Text, Tolerations
from webhook.api.quantity import Quantity, QuantityError
from webhook.api.resource_list import EMPTY, ResourceList


class Wire(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A Kubernetes object as JSON: camelCase names, absent fields left out."""


LARGEST_MEMOISED: Final = 2048  # bytes of a block of `resources`; an ordinary one has 200


class Resources:
    """`resources` of a container, or of the Pod as a whole; immutable, and cheap as part of the key of a memo.

    Clusters repeat themselves: the same few blocks come with every Pod of a task, so those from the wire are shared.
    """

    __slots__ = ("_hash", "_key", "limits", "requests")

    requests: Mapping[str, Quantity] | None
    limits: Mapping[str, Quantity] | None
    _key: tuple[object, ...]  # made when it is first compared

    def __init__(
        self, requests: Mapping[str, Quantity] | None = None, limits: Mapping[str, Quantity] | None = None
    ) -> None:
        """Take the two maps; None is an absent map, or null."""
        self.requests = requests
        self.limits = limits

    @property
    def used(self) -> set[str]:
        """The names with a quantity other than zero."""
        return {
            name for values in (self.requests, self.limits) if values for name, value in values.items() if value.nano
        }

    @property
    def size(self) -> int:
        """The characters of its names and amounts."""
        sides = (self.requests or EMPTY, self.limits or EMPTY)
        return sum(len(name) + len(str(value)) for side in sides for name, value in side.items())

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from every other: 1000m and 1 do not stand for each other in what people read.

        An absent map is not an empty one: a patch has to add it.
        """
        try:
            return self._key
        except AttributeError:
            self._key = tuple(None if side is None else _identity(side) for side in (self.requests, self.limits))
            self._hash = hash(self._key)
            return self._key

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Resources) else NotImplemented

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            return hash(self.key)

    def __repr__(self) -> str:
        return f"Resources({self.requests}, {self.limits})"


def _identity(side: ResourceList) -> frozenset[object]:
    return frozenset([(name, value.identity) for name, value in side.items()])


NO_RESOURCES: Final = Resources()
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


def decode_hook(kind: type, value: object) -> object:
    """msgspec's hook for our own types on the wire; floats reach it as their text."""
    if kind is Resources:
        block = _encode(value)
        return (_memoised if len(block) <= LARGEST_MEMOISED else _resources)(block)
    if kind is Quantity:
        return quantity.from_json(value)
    raise NotImplementedError(kind)


class _Block(Struct):
    requests: Amounts[Any] | None = None
    limits: Amounts[Any] | None = None


def _resources(block: bytes) -> Resources:
    try:
        found = _decode_block(block)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise ValueError(f"{where.strip('.`')}: {what}" if where else what) from error
    return Resources(_quantities("requests", found.requests), _quantities("limits", found.limits))


_memoised: Final = lru_cache(maxsize=1024)(_resources)
_encode: Final = msgspec.json.Encoder().encode
_decode_block: Final = msgspec.json.Decoder(_Block, float_hook=str).decode


def _quantities(side: str, values: dict[str, Any] | None) -> dict[str, Quantity] | None:
    if values is None:
        return None
    quantities = {}
    for name, value in values.items():
        try:
            quantities[name] = quantity.from_json(value)
        except QuantityError as error:
            raise ValueError(f"{side}[{name.encode('unicode_escape').decode()}]: {error}") from error
    return quantities


decode: Final[Callable[[bytes | msgspec.Raw], Pod]] = msgspec.json.Decoder(
    Pod, dec_hook=decode_hook, float_hook=str
).decode


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
