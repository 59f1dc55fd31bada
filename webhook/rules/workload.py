"""The Workload: everything that a rule may read of a Pod and its task.

A rule gets only a Workload, and decisions are memoised by it. A rule that needs another field of the Pod does not
type-check until the field is here, and then the field is part of the key.
"""

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from webhook.api.limit_range import ANNOTATION, NO_RANGES, Ranges, defaulted
from webhook.api.pod import POD_LEVEL, Affinity, Container, ContainerStatus, Pod, PodAffinity, PodStatus, Toleration
from webhook.api.quantity import Quantity
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resources import NO_RESOURCES, Resources, absent
from webhook.api.version import NEWEST, Version
from webhook.flyte.task import Task
from webhook.policy.settings import Defaults, Settings


class Block(Struct, frozen=True, gc=False):
    """The resources of one container, and those that the kubelet reports during a resize."""

    pointer: str  # JSON Pointer of the container
    resources: Resources | None = None
    stated: Resources | None = None  # what the author states, whatever LimitRanges and rules have added since
    is_init: bool = False  # of either kind of init container
    is_sidecar: bool = False  # a native sidecar
    is_fixed: bool = False  # an operator adds it: no patch reaches it
    allocated: ResourceList | None = None
    actual: Resources | None = None

    @property
    def requests(self) -> ResourceList:
        """The requests, empty when absent."""
        return (self.resources and self.resources.requests) or EMPTY

    @property
    def limits(self) -> ResourceList:
        """The limits, empty when absent."""
        return (self.resources and self.resources.limits) or EMPTY


class Workload(Struct, frozen=True, gc=False):
    """The fields of a Pod and its task that rules read; `old` is the Pod before a resize."""

    settings: Settings
    blocks: tuple[Block, ...]  # app containers, then init containers
    pod_level: Resources | None = None  # `spec.resources`
    overhead: Resources | None = None  # `spec.overhead`, as requests
    tolerations: tuple[Toleration, ...] | None = None
    primary: str = "/spec/containers/0"  # the pointer of the container that runs the task
    is_interruptible: bool = False
    is_operated: bool = False  # an operator made it on behalf of Flyte
    counted_limits: frozenset[str] = frozenset()  # the resources whose limits a ResourceQuota counts
    has_claims: bool = False  # `spec.resourceClaims`
    # For the scopes of a ResourceQuota.
    is_terminating: bool = False
    priority_class: str = ""
    crosses_namespaces: bool = False
    # From the status, on a resize.
    has_ended: bool = False
    is_resize_infeasible: bool = False
    has_status: bool = False
    qos_class: str = ""
    is_stored: bool = False
    ranges: Ranges = NO_RANGES  # of the namespace's LimitRanges
    kubernetes: Version = NEWEST  # of the API server
    old: "Workload | None" = None
    sums: tuple[tuple[str, Quantity], ...] = ()  # requests of `spec.resources` that a rule has set aside
    notes: tuple[str, ...] = ()  # what rules have left undone, and why

    @property
    def pod_resources(self) -> Resources:
        """`spec.resources`, empty when absent."""
        return self.pod_level or NO_RESOURCES

    def maximum(self, name: str) -> Quantity | None:
        """Return the most that a container may have: by the policy, and by the LimitRanges of the namespace."""
        return _lower(self.settings.limits.get(name), self.ranges.container.most.get(name))

    def total_maximum(self, name: str) -> Quantity | None:
        """Return the most that all containers may have together."""
        return _lower(self.settings.pod_limits.get(name), self.ranges.pod.most.get(name))

    def pod_maximum(self, name: str) -> Quantity | None:
        """Return the most that `spec.resources` may have: the policy's maximum for a container counts there too."""
        return _lower(self.settings.pod_maximum(name), self.ranges.pod.most.get(name))

    def growth_maximum(self, name: str) -> Quantity | None:
        """Return the most that a container may grow to: what the Pod may have at most, too."""
        return _lower(self.maximum(name), self.total_maximum(name))

    def demands_limit(self, name: str) -> bool:
        """Return whether a ResourceQuota counts the limits of the resource, or a LimitRange demands one."""
        return self.needs_limit(name) or name in self.ranges.pod.most or name in self.ranges.pod.ratio

    def needs_limit(self, name: str) -> bool:
        """Return whether each container needs a limit of the resource."""
        container = self.ranges.container
        return name in self.counted_limits or name in container.most or name in container.ratio

    def defaults_of(self, block: Block) -> Defaults:
        """Return what that container gets where it states nothing."""
        return self.settings.defaults if block.pointer == self.primary else self.settings.secondary_defaults

    def all_blocks(self) -> Iterator[tuple[str, Resources | None]]:
        """Yield the pointer and resources of each container, and of the Pod as a whole."""
        for block in self.blocks:
            yield block.pointer, block.resources
        yield POD_LEVEL, self.pod_level

    def on(self, kubernetes: Version) -> "Workload":
        """Return the Workload on an API server of that version."""
        return replace(self, kubernetes=kubernetes, old=self.old and self.old.on(kubernetes))

    def noting(self, note: str) -> "Workload":
        """Return the Workload with one more note."""
        return replace(self, notes=(*self.notes, note))

    @property
    def absent(self) -> set[str]:
        """The pointers of the parents that a patch may have to add first: absent in the Pod, or null there."""
        pointers: set[str] = {"/spec/tolerations"} if self.tolerations is None else set()
        return pointers.union(*(absent(pointer, block) for pointer, block in self.all_blocks()))

    def with_blocks(self, blocks: tuple[Block, ...]) -> "Workload":
        """Return the Workload with these containers instead."""
        return replace(self, blocks=blocks)

    def with_resources(self, changed: Mapping[str, Resources]) -> "Workload":
        """Return the Workload with new resources at these pointers."""
        if not changed:
            return self
        blocks = tuple(
            replace(block, resources=changed[block.pointer]) if block.pointer in changed else block
            for block in self.blocks
        )
        return replace(self, blocks=blocks, pod_level=changed.get(POD_LEVEL, self.pod_level))


def _lower(one: Quantity | None, other: Quantity | None) -> Quantity | None:
    return min((most for most in (one, other) if most is not None), default=None)


def workload_of(
    pod: Pod, task: Task, settings: Settings, old: Pod | None = None, *, fixed: Collection[str] = ()
) -> Workload:
    """Return the Workload of the Pod, or with `old` of its resize; only a resize has a status.

    `fixed` has the pointers of containers that no patch reaches.
    """
    spec = pod.spec
    deadline = spec.active_deadline_seconds
    workload = Workload(
        settings=settings,
        blocks=tuple(_blocks(pod, fixed)),
        pod_level=spec.resources,
        overhead=Resources(spec.overhead) if spec.overhead else None,
        tolerations=None if spec.tolerations is None else tuple(spec.tolerations),
        primary=task.primary,
        is_interruptible=task.interruptible,
        is_operated=task.operated,
        has_claims=bool(spec.resource_claims),
        is_terminating=deadline is not None and deadline >= 0,
        priority_class=spec.priority_class_name or "",
        crosses_namespaces=spec.affinity is not None and _crosses_namespaces(spec.affinity),
        is_stored=bool(pod.metadata.resource_version),
        old=None if old is None else workload_of(old, task, settings),
    )
    return workload if pod.status is None else _with_status(workload, pod, pod.status)


def _blocks(pod: Pod, fixed: Collection[str]) -> Iterator[Block]:
    """Yield the app containers, then the init containers."""
    annotation = (pod.metadata.annotations or {}).get(ANNOTATION) or ""
    added = defaulted(annotation) if annotation else {}
    for index, container in enumerate(pod.spec.containers):
        pointer = f"/spec/containers/{index}"
        stated = _stated(container, added, "") if added else container.resources
        yield Block(pointer, container.resources, stated, is_fixed=pointer in fixed)
    for index, container in enumerate(pod.spec.init_containers or ()):
        pointer, is_sidecar = f"/spec/initContainers/{index}", container.restart_policy == "Always"
        stated = _stated(container, added, "init ") if added else container.resources
        yield Block(
            pointer, container.resources, stated, is_init=True, is_sidecar=is_sidecar, is_fixed=pointer in fixed
        )


def _stated(container: Container, added: Mapping[tuple[str, str, str], frozenset[str]], init: str) -> Resources:
    """Return the resources of the container without those that LimitRanges have added."""
    requests, limits = (
        {name: amount for name, amount in side.items() if name not in added.get((key, init, container.name or ""), ())}
        for side, key in ((container.requests, "request"), (container.limits, "limit"))
    )
    return Resources(requests, limits)


def _with_status(workload: Workload, pod: Pod, status: PodStatus) -> Workload:
    known = {each.name: each for each in status.all_containers}
    names = [container.name for container in (*pod.spec.containers, *(pod.spec.init_containers or ()))]
    return replace(
        workload,
        blocks=tuple(
            _with_container_status(block, known.get(name)) for block, name in zip(workload.blocks, names, strict=True)
        ),
        has_ended=status.has_ended,
        is_resize_infeasible=status.is_resize_infeasible,
        has_status=True,
        qos_class=status.qos_class or "",
    )


def _with_container_status(block: Block, status: ContainerStatus | None) -> Block:
    if status is None:
        return block
    return replace(block, allocated=status.allocated_resources, actual=status.resources)


def _crosses_namespaces(affinity: Affinity) -> bool:
    """Return whether a pod affinity term names namespaces (scope CrossNamespacePodAffinity)."""
    kinds: tuple[PodAffinity | None, ...] = (affinity.pod_affinity, affinity.pod_anti_affinity)
    terms = [
        term
        for kind in kinds
        if kind is not None
        for term in (
            *(kind.required_during_scheduling_ignored_during_execution or ()),
            *(w.pod_affinity_term for w in kind.preferred_during_scheduling_ignored_during_execution or ()),
        )
    ]
    return any(term is not None and (term.namespaces or term.namespace_selector is not None) for term in terms)
