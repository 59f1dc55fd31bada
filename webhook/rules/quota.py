"""Would this Pod break a ResourceQuota of its namespace? kube-apiserver's answer, before it gives it.

Charges: kubernetes `pkg/quota/v1/evaluator/core/pods.go`. Order of the checks and their texts: k8s.io/apiserver
`pkg/admission/plugin/resourcequota/controller.go` (CheckRequest). Where its order among several quotas is
random, all of them are named here, by name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Final

from msgspec import Struct

from webhook import pod as pods
from webhook import resource_list
from webhook.decision import Exceeded, NegativeUsage, StatusUnknown, Unspecified, Verdict, Violation
from webhook.effective import BEST_EFFORT, effective_limits, effective_requests, has_pod_level_resources, qos
from webhook.pod import NO_RESOURCES, Pod, PodAffinity, Resources
from webhook.quantity import ZERO, Quantity
from webhook.resource_list import EMPTY, HUGEPAGES, ResourceList
from webhook.snapshot import Charges, ResourceQuota, ScopeRequirement

ONE: Final = Quantity(10**9)
_BY_NAME: Final = attrgetter("name")
COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")
# What a quota may demand of every container. "It was a mistake", says kubernetes, and stays with these six.
DEMANDED: Final = frozenset(f"{side}{name}" for side in ("", "requests.", "limits.") for name in ("cpu", "memory"))
CHARGED: Final = frozenset(
    {"count/pods", "pods", *(f"{side}{name}" for side in ("", "requests.", "limits.") for name in COMPUTE)}
)


class Taken(Struct, frozen=True, gc=False):
    """What a quota takes of a Pod: its names that Pods are charged for, sorted, and the amounts."""

    tracked: Mapping[str, None]
    charges: ResourceList


@dataclass(frozen=True, eq=False)
class Asked:
    """All that a quota reads of a Pod's resources: what it is charged, its QoS class, and what containers leave out."""

    usage: ResourceList
    qos: str
    unstated: tuple[frozenset[str], ...]  # of DEMANDED, by container; empty if that is nobody's fault

    @cached_property
    def negative(self) -> list[str]:
        """The names that it asks for less than nothing of."""
        return sorted(name for name, quantity in self.usage.items() if quantity.nano < 0)

    @cached_property
    def taken(self) -> Callable[[tuple[str, ...]], Taken]:
        """What a quota with these names takes of it."""
        usage = self.usage  # not self, which would hold itself
        return lru_cache(maxsize=64)(lambda names: Taken(_tracked(names), _positive(resource_list.only(usage, names))))


def asked(pod: Pod) -> Asked:
    """What the Pod asks for, as the API server stores it."""
    blocks = [container.resources or NO_RESOURCES for _, container in pods.containers(pod)]
    unstated = () if has_pod_level_resources(pod) else tuple(DEMANDED - _stated(block) for block in blocks)
    return Asked(usage(pod), qos(pod), unstated if any(unstated) else ())


class Counting(Struct, frozen=True, gc=False):
    """A quota that counts the Pod."""

    name: str
    hard: ResourceList
    used: ResourceList
    taken: Taken


def check(pod: Pod, asks: Asked, quotas: Iterable[ResourceQuota], old: Pod | None = None) -> Verdict:
    """Whether the Pod, which asks for so much, fits; with `old`, only what it asks for beyond that (pods/resize)."""
    counting = _counting(pod, asks.qos, asks, quotas)
    if not counting:
        return Verdict((), {})
    if flaws := _flaws(pod, asks, counting):
        return Verdict(tuple(flaws), {})
    if asks.negative:
        return Verdict((NegativeUsage(asks.negative),), {})
    charges, held = {quota.name: quota.taken.charges for quota in counting}, EMPTY
    if old is not None and old.metadata.resource_version:
        held = usage(old)
        counted = {quota.name for quota in _counting(old, qos(old), asks, quotas)}
        charges |= _grown(asks, held, [quota for quota in counting if quota.name in counted])
    if exceeded := _exceeded(counting, charges):
        return Verdict(tuple(exceeded), charges, *_left(counting, charges, held))
    return Verdict((), charges)


def _left(quotas: Sequence[Counting], charges: Charges, held: ResourceList) -> tuple[ResourceList, ResourceList]:
    """What is free, and what there is in all besides what a resized Pod holds already: the least of all quotas.

    Of the names that are charged.
    """
    free: dict[str, Quantity] = {}
    whole: dict[str, Quantity] = {}
    for quota in quotas:
        for name in charges[quota.name]:
            hard = quota.hard[name]
            left, most = (max(hard - taken, ZERO) for taken in (quota.used.get(name, ZERO), held.get(name, ZERO)))
            free[name] = min(free.get(name, left), left)
            whole[name] = min(whole.get(name, most), most)
    return free, whole


def _flaws(pod: Pod, asks: Asked, quotas: Sequence[Counting]) -> list[Violation]:
    """What kube-apiserver refuses before it adds anything up."""
    flaws: list[Violation] = []
    missing = _missing(pod, asks) if asks.unstated else {}
    for quota in quotas:
        tracked = quota.taken.tracked
        if lacking := missing and {name: missing[name] for name in tracked if name in missing}:
            flaws.append(Unspecified(quota.name, lacking))
        elif not quota.used.keys() >= tracked.keys():
            flaws.append(StatusUnknown(quota.name, list(tracked)))
    return flaws


def _missing(pod: Pod, asks: Asked) -> Mapping[str, list[str]]:
    """Which of the demanded names are missing, and in which containers, by name."""
    missing: dict[str, set[str]] = {}
    for (_, container), names in zip(pods.containers(pod), asks.unstated, strict=True):
        for name in names:
            missing.setdefault(name, set()).add(container.name or "")
    return {name: sorted(missing[name]) for name in sorted(missing)}


def _grown(asks: Asked, held: ResourceList, quotas: Iterable[Counting]) -> Charges:
    """What the Pod asks for beyond what it held, of quotas that counted it before."""
    more = resource_list.subtract(asks.usage, held)
    return {quota.name: _positive(resource_list.only(more, quota.hard)) for quota in quotas}


def _positive(resources: ResourceList) -> ResourceList:
    return {name: quantity for name, quantity in resources.items() if quantity.nano > 0}


def _exceeded(quotas: Sequence[Counting], charges: Charges) -> list[Violation]:
    exceeded: list[Violation] = []
    for quota in quotas:
        requested, used, hard = charges[quota.name], quota.used, quota.hard
        over = [name for name, more in requested.items() if used.get(name, ZERO).nano + more.nano > hard[name].nano]
        if over:
            exceeded.append(Exceeded(quota.name, sorted(over), requested, used, hard))
    return exceeded


def usage(pod: Pod) -> ResourceList:
    """What the Pod is charged under each name a quota may have; one that has ended, only for being there."""
    if pod.status is not None and pod.status.is_over:
        return {"count/pods": ONE}
    return {"count/pods": ONE, **_charged(effective_requests(pod), effective_limits(pod))}


def _charged(requests: ResourceList, limits: ResourceList) -> ResourceList:
    charged: dict[str, Quantity] = {"pods": ONE}
    for name, quantity in requests.items():
        if name in COMPUTE or name.startswith(HUGEPAGES):
            charged[name] = charged[f"requests.{name}"] = quantity
        elif resource_list.is_extended(name) or name.startswith(resource_list.DEVICE_CLASS):
            charged[f"requests.{name}"] = quantity
    for name in COMPUTE:
        if name in limits:
            charged[f"limits.{name}"] = limits[name]
    return charged


@lru_cache(maxsize=1024)
def is_charged(name: str) -> bool:
    """Whether a quota's resource name is one that Pods are charged for."""
    if name in CHARGED or name.startswith((HUGEPAGES, f"requests.{HUGEPAGES}")):
        return True
    foreign = "/" in name and (
        "kubernetes.io/" not in name or name.startswith(f"requests.{resource_list.DEVICE_CLASS}")
    )
    return foreign and name.startswith("requests.")


def _stated(resources: Resources) -> frozenset[str]:
    """The names that a block says something about; zero counts as said."""
    return frozenset(_charged(resources.requests or EMPTY, resources.limits or EMPTY))


@lru_cache(maxsize=1024)
def _tracked(names: tuple[str, ...]) -> Mapping[str, None]:
    """Those of a quota's names that Pods are charged for, sorted."""
    return dict.fromkeys(sorted(filter(is_charged, names)))


def _counting(pod: Pod, qos_class: str, asks: Asked, quotas: Iterable[ResourceQuota]) -> list[Counting]:
    """The quotas that count the Pod, by name; each scope is looked into once, however many quotas have it."""
    known: dict[tuple[str, ...], bool] = {}
    counting = []
    for quota in quotas:
        hard, scopes = quota.hard, quota.scopes
        taken = asks.taken(tuple(hard))
        if taken.tracked and (not scopes or _in_scopes(scopes, pod, qos_class, known)):
            counting.append(Counting(quota.name, hard, quota.used, taken))
    counting.sort(key=_BY_NAME)
    return counting


def _in_scopes(
    scopes: Iterable[ScopeRequirement], pod: Pod, qos_class: str, known: dict[tuple[str, ...], bool]
) -> bool:
    """Whether all of the scopes count the Pod; `known` are those that have been looked into."""
    for scope in scopes:
        key = (scope.scope_name, scope.operator, *(scope.values or ()))
        if key not in known:
            known[key] = in_scope(scope, pod, qos_class)
        if not known[key]:
            return False
    return True


def in_scope(scope: ScopeRequirement, pod: Pod, qos_class: str) -> bool:
    """Whether the scope counts the Pod, of this QoS class; scopes not made for Pods, or unknown, never match."""
    terminating = pod.spec.active_deadline_seconds is not None and pod.spec.active_deadline_seconds >= 0
    match scope.scope_name:
        case "Terminating":
            return terminating
        case "NotTerminating":
            return not terminating
        case "BestEffort":
            return qos_class == BEST_EFFORT
        case "NotBestEffort":
            return qos_class != BEST_EFFORT
        case "PriorityClass":
            return _in_priority_class(scope, pod.spec.priority_class_name or "")
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(pod)
    return False


def _in_priority_class(scope: ScopeRequirement, name: str) -> bool:
    """As a label selector on {PriorityClass: name}, or on no label where the Pod has no class."""
    match scope.operator:
        case "Exists":
            return name != ""
        case "DoesNotExist":
            return name == ""
        case "In":
            return name != "" and name in (scope.values or ())
        case "NotIn":
            return name == "" or name not in (scope.values or ())
    return False


def _crosses_namespaces(pod: Pod) -> bool:
    affinity = pod.spec.affinity
    kinds: tuple[PodAffinity | None, ...] = (affinity.pod_affinity, affinity.pod_anti_affinity) if affinity else ()
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
