"""Would this Pod break a ResourceQuota of its namespace? kube-apiserver's answer, before it gives it.

Charges: kubernetes `pkg/quota/v1/evaluator/core/pods.go`. Order of the checks and their texts: k8s.io/apiserver
`pkg/admission/plugin/resourcequota/controller.go` (CheckRequest). Where its order among several quotas is
random, all of them are named here, by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final

from msgspec import Struct

from webhook.api import resource_list
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, HUGEPAGES, ResourceList
from webhook.api.resource_quota import Charges, ResourceQuota
from webhook.api.resources import NO_RESOURCES, Resources
from webhook.rules.effective import effective_limits, effective_requests, has_pod_level_resources, qos
from webhook.rules.findings import Exceeded, NegativeUsage, StatusUnknown, Unspecified, Verdict, Violation
from webhook.rules.quota_scopes import in_scopes
from webhook.rules.workload import Workload

ONE: Final = Quantity(10**9)
_BY_NAME: Final = attrgetter("name")
COMPUTE: Final = ("cpu", "memory", "ephemeral-storage")
# What a quota may demand of every container. "It was a mistake", says kubernetes, and stays with these six.
DEMANDED: Final = frozenset(f"{side}{name}" for side in ("", "requests.", "limits.") for name in ("cpu", "memory"))
CHARGED: Final = frozenset(
    {"count/pods", "pods", *(f"{side}{name}" for side in ("", "requests.", "limits.") for name in COMPUTE)}
)


class Charge(Struct, frozen=True, gc=False):
    """What a quota takes of a Pod: its names that Pods are charged for, sorted, and the amounts."""

    tracked: Mapping[str, None]
    charges: ResourceList


class Cost(Struct, frozen=True, gc=False):
    """All that a quota reads of a Pod's resources: what it is charged, its QoS class, and what containers leave out."""

    usage: ResourceList
    qos: str
    unstated: tuple[frozenset[str], ...]  # of DEMANDED, by container; empty if that is nobody's fault
    negative: list[str]  # the names that it asks for less than nothing of

    def of(self, quota: ResourceQuota) -> "Charge":
        """Return what the quota takes of it."""
        tracked = _tracked(tuple(quota.hard))
        usage = self.usage
        return Charge(tracked, {name: usage[name] for name in tracked if name in usage and usage[name].nano > 0})


def cost(workload: Workload) -> Cost:
    """Return what the Pod costs as the API server stores it."""
    unstated: tuple[frozenset[str], ...] = ()
    if not has_pod_level_resources(workload):
        unstated = tuple(DEMANDED - _stated(block.resources or NO_RESOURCES) for block in workload.blocks)
    taken = usage(workload)
    negative = sorted([name for name, quantity in taken.items() if quantity.nano < 0])
    return Cost(taken, qos(workload), unstated if any(unstated) else (), negative)


class Counting(Struct, frozen=True, gc=False):
    """A quota that counts the Pod."""

    name: str
    hard: ResourceList
    used: ResourceList
    charge: Charge


def check(workload: Workload, asks: Cost, quotas: Iterable[ResourceQuota], names: Sequence[str] = ()) -> Verdict:
    """Return whether the Pod, which costs so much, fits; on a resize, what it costs beyond what it did before.

    `names` are those of its containers, for messages.
    """
    old = workload.old
    counting = _counting(workload, asks.qos, asks, quotas)
    if not counting:
        return Verdict((), {})
    if flaws := _flaws(names, asks, counting):
        return Verdict(tuple(flaws), {})
    if asks.negative:
        return Verdict((NegativeUsage(asks.negative),), {})
    charges, held = {quota.name: quota.charge.charges for quota in counting}, EMPTY
    if old is not None and old.is_stored:
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


def _flaws(names: Sequence[str], asks: Cost, quotas: Sequence[Counting]) -> list[Violation]:
    """What kube-apiserver refuses before it adds anything up."""
    flaws: list[Violation] = []
    missing = _missing(names, asks) if asks.unstated else {}
    for quota in quotas:
        tracked = quota.charge.tracked
        if lacking := missing and {name: missing[name] for name in tracked if name in missing}:
            flaws.append(Unspecified(quota.name, lacking))
        elif not quota.used.keys() >= tracked.keys():
            flaws.append(StatusUnknown(quota.name, list(tracked)))
    return flaws


def _missing(names: Sequence[str], asks: Cost) -> Mapping[str, list[str]]:
    """Return which of the demanded names are missing, and in which containers, by name."""
    missing: dict[str, set[str]] = {}
    for container, lacking in zip(names, asks.unstated, strict=True):
        for name in lacking:
            missing.setdefault(name, set()).add(container)
    return {name: sorted(missing[name]) for name in sorted(missing)}


def _grown(asks: Cost, held: ResourceList, quotas: Iterable[Counting]) -> Charges:
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


def usage(workload: Workload) -> ResourceList:
    """Return what the Pod is charged under each name of a quota; one that has ended, only for being there."""
    if workload.is_over:
        return {"count/pods": ONE}
    return {"count/pods": ONE, **_charged(effective_requests(workload), effective_limits(workload))}


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


def _counting(workload: Workload, qos_class: str, asks: Cost, quotas: Iterable[ResourceQuota]) -> list[Counting]:
    """Return the quotas that count the Pod, by name."""
    counting = []
    for quota in quotas:
        charge = asks.of(quota)
        if charge.tracked and in_scopes(quota.scopes, workload, qos_class):
            counting.append(Counting(quota.name, quota.hard, quota.used, charge))
    counting.sort(key=_BY_NAME)
    return counting
