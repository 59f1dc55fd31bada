"""Checks a Pod against the ResourceQuotas of its namespace, as kube-apiserver will.

Sources: for the charges, kubernetes `pkg/quota/v1/evaluator/core/pods.go`; for the checks, their order and messages,
k8s.io/apiserver `pkg/admission/plugin/resourcequota/controller.go` (CheckRequest). Where kube-apiserver names a random
one of several quotas, the webhook names all of them, sorted.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from webhook.api import resource_list
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, HUGEPAGES, ResourceList
from webhook.api.resource_quota import Charges, ResourceQuota
from webhook.api.resources import NO_RESOURCES, Resources
from webhook.rules.effective import BURSTABLE, effective_limits, effective_requests, has_pod_level_resources, qos
from webhook.rules.findings import Exceeded, NegativeUsage, Share, StatusUnknown, Unspecified, Verdict, Violation
from webhook.rules.quota_scopes import in_scopes
from webhook.rules.workload import Workload

ONE: Final = Quantity(10**9)
_BY_NAME: Final = attrgetter("name")
CHARGED_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")
# The names that a quota can require every container to state. Kubernetes calls this a mistake, and keeps these six.
REQUIRED_NAMES: Final = frozenset(
    f"{side}{name}" for side in ("", "requests.", "limits.") for name in ("cpu", "memory")
)
CHARGED_NAMES: Final = frozenset(
    {"count/pods", "pods", *(f"{side}{name}" for side in ("", "requests.", "limits.") for name in CHARGED_RESOURCES)}
)
LIMITS: Final = frozenset(f"limits.{name}" for name in CHARGED_RESOURCES)


class Charge(Struct, frozen=True, gc=False):
    """The charge of a Pod to one quota: the quota's names that Pods are charged for, sorted, and the amounts."""

    tracked: Mapping[str, None]
    charges: ResourceList


class Cost(Struct, frozen=True, gc=False):
    """Everything that quotas read of a Pod's resources: usage, QoS class, and the names that containers leave out."""

    usage: ResourceList
    qos: str
    unstated: tuple[frozenset[str], ...]  # of REQUIRED_NAMES, by container; empty if nothing is missing
    negative: list[str]  # the names with a negative amount

    def charge(self, names: tuple[str, ...]) -> Charge:
        """Return the charge to a quota with these names."""
        tracked = _tracked(names)
        usage = self.usage
        return Charge(tracked, {name: usage[name] for name in tracked if name in usage and usage[name].nano > 0})


def cost_of(workload: Workload) -> Cost:
    """Return the cost of the Pod; the Workload must have the API server's defaults."""
    unstated: tuple[frozenset[str], ...] = ()
    if not has_pod_level_resources(workload):
        unstated = tuple(REQUIRED_NAMES - _stated(block.resources or NO_RESOURCES) for block in workload.blocks)
    taken = usage(workload)
    negative = sorted([name for name, quantity in taken.items() if quantity.nano < 0])
    return Cost(taken, qos(workload), unstated if any(unstated) else (), negative)


class Asked(NamedTuple):
    """Pods that are to be created, all alike, each of this cost; `names` are those of its containers, for messages."""

    workload: Workload
    cost: Cost
    names: Sequence[str] = ()
    role: str = ""  # of a job
    pods: int = 1


class MatchingQuota(Struct, frozen=True, gc=False):
    """A quota that counts the Pod, or Pods of a job, with the charge of all of them."""

    name: str
    hard: ResourceList
    used: ResourceList
    charge: Charge
    counted: Sequence[Asked]


def check_quotas(asked: Sequence[Asked], quotas: Iterable[ResourceQuota]) -> Verdict:
    """Return whether all the Pods fit together; for a resize, whether the growth of the one Pod does."""
    asked = [each for each in asked if each.pods]
    matching = _matching_quotas(asked, quotas)
    if not matching:
        return Verdict((), {})
    if violations := _precondition_violations(matching):
        return Verdict(tuple(violations), {})
    if negative := {name for each in asked for name in each.cost.negative}:
        return Verdict((NegativeUsage(sorted(negative)),), {})
    charges, held = {quota.name: quota.charge.charges for quota in matching}, EMPTY
    if (old := asked[0].workload.old) is not None and old.is_stored:
        cost, held = asked[0].cost, usage(old)
        before = Asked(old, replace(cost, qos=qos(old)))
        counted = {quota.name for quota in _matching_quotas([before], quotas)}
        charges |= _growth(cost, held, [quota for quota in matching if quota.name in counted])
    if exceeded := _exceeded(matching, charges):
        return Verdict(tuple(exceeded), charges, *_remaining(matching, charges, held))
    return Verdict((), charges)


def counted(workload: Workload, quotas: Iterable[ResourceQuota]) -> Charges:
    """Return what the quotas count for a Pod that runs, be it what they would admit today or not."""
    matching = _matching_quotas([Asked(workload, cost_of(workload))], quotas)
    return {quota.name: quota.charge.charges for quota in matching}


def _remaining(
    quotas: Sequence[MatchingQuota], charges: Charges, held: ResourceList
) -> tuple[ResourceList, ResourceList]:
    """Return what is free, and what is free in an empty namespace: the least of all quotas, by charged name.

    For a resize, the second is without what the Pod already holds.
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


def _precondition_violations(quotas: Sequence[MatchingQuota]) -> list[Violation]:
    """Return the violations that kube-apiserver finds before it adds up amounts."""
    violations: list[Violation] = []
    for quota in quotas:
        tracked, missing = quota.charge.tracked, _missing(quota.counted)
        if lacking := missing and {name: missing[name] for name in tracked if name in missing}:
            violations.append(Unspecified(quota.name, lacking))
        elif not quota.used.keys() >= tracked.keys():
            violations.append(StatusUnknown(quota.name, list(tracked)))
    return violations


def _missing(asked: Iterable[Asked]) -> Mapping[str, list[str]]:
    """Return the containers in which each required name is missing."""
    missing: dict[str, set[str]] = {}
    for each in asked:
        for container, lacking in zip(each.names, each.cost.unstated, strict=True) if each.cost.unstated else ():
            for name in lacking:
                missing.setdefault(name, set()).add(container)
    return {name: sorted(missing[name]) for name in sorted(missing)}


def _growth(cost: Cost, held: ResourceList, quotas: Iterable[MatchingQuota]) -> Charges:
    """Return the growth of the Pod's usage over `held`, for quotas that counted it before."""
    more = resource_list.subtract(cost.usage, held)
    return {quota.name: _positive(resource_list.only(more, quota.hard)) for quota in quotas}


def _positive(resources: ResourceList) -> ResourceList:
    return {name: quantity for name, quantity in resources.items() if quantity.nano > 0}


def _exceeded(quotas: Sequence[MatchingQuota], charges: Charges) -> list[Violation]:
    exceeded: list[Violation] = []
    for quota in quotas:
        requested, used, hard = charges[quota.name], quota.used, quota.hard
        over = [name for name, more in requested.items() if used.get(name, ZERO).nano + more.nano > hard[name].nano]
        if over:
            shares = _shares(quota.counted, over)
            exceeded.append(Exceeded(quota.name, sorted(over), requested, used, hard, shares))
    return exceeded


def _shares(counted: Iterable[Asked], names: Iterable[str]) -> dict[str, list[Share]]:
    """Return what each role of a job requests of the resources; empty for a Pod, which has no role."""
    roles = [each for each in counted if each.role]
    return {
        name: [Share(each.role, each.pods, each.cost.usage.get(name, ZERO)) for each in roles]
        for name in names
        if roles
    }


def usage(workload: Workload) -> ResourceList:
    """Return what the Pod is charged under each name of a quota; a Pod that has ended is charged as an object only."""
    if workload.has_ended:
        return {"count/pods": ONE}
    return {"count/pods": ONE, **_charged(effective_requests(workload), effective_limits(workload))}


def _charged(requests: ResourceList, limits: ResourceList) -> ResourceList:
    charged: dict[str, Quantity] = {"pods": ONE}
    for name, quantity in requests.items():
        if name in CHARGED_RESOURCES or name.startswith(HUGEPAGES):
            charged[name] = charged[f"requests.{name}"] = quantity
        elif resource_list.is_extended(name) or name.startswith(resource_list.DEVICE_CLASS):
            charged[f"requests.{name}"] = quantity
    for name in CHARGED_RESOURCES:
        if name in limits:
            charged[f"limits.{name}"] = limits[name]
    return charged


@lru_cache(maxsize=1024)
def is_charged(name: str) -> bool:
    """Return whether Pods are charged for this resource name of a quota."""
    if name in CHARGED_NAMES or name.startswith((HUGEPAGES, f"requests.{HUGEPAGES}")):
        return True
    foreign = "/" in name and (
        "kubernetes.io/" not in name or name.startswith(f"requests.{resource_list.DEVICE_CLASS}")
    )
    return foreign and name.startswith("requests.")


def _stated(resources: Resources) -> frozenset[str]:
    """Return the quota names that the block states; zero counts as stated."""
    return frozenset(_charged(resources.requests or EMPTY, resources.limits or EMPTY))


def counted_limits(workload: Workload, quotas: Iterable[ResourceQuota]) -> frozenset[str]:
    """Return the resources whose limits a quota counts, of which it demands cpu and memory of every container.

    No quota of BestEffort Pods counts limits.
    """
    counted: set[str] = set()
    for quota in quotas:
        new = {name.removeprefix("limits.") for name in LIMITS & quota.hard.keys()} - counted
        if new and in_scopes(quota.scopes, workload, BURSTABLE):
            counted |= new
    return frozenset(counted)


@lru_cache(maxsize=1024)
def _tracked(names: tuple[str, ...]) -> Mapping[str, None]:
    """Return those of a quota's names that Pods are charged for, sorted."""
    return dict.fromkeys(sorted(filter(is_charged, names)))


def _matching_quotas(asked: Sequence[Asked], quotas: Iterable[ResourceQuota]) -> list[MatchingQuota]:
    """Return the quotas that count any of the Pods, by name."""
    matching = []
    charges: dict[tuple[int, tuple[str, ...]], Charge] = {}  # quotas often have the same names
    for quota in quotas:
        hard, scopes = quota.hard, quota.scopes
        names = tuple(hard)
        counted = [each for each in asked if not scopes or in_scopes(scopes, each.workload, each.cost.qos)]
        charge = _total(counted, names, charges)
        if charge and charge.tracked:
            matching.append(MatchingQuota(quota.name, hard, quota.used, charge, counted))
    matching.sort(key=_BY_NAME)
    return matching


def _total(
    counted: Sequence[Asked], names: tuple[str, ...], known: dict[tuple[int, tuple[str, ...]], Charge]
) -> Charge | None:
    """Return the charge of all these Pods to a quota with these names; None for no Pod."""
    total: Charge | None = None
    for each in counted:
        key = id(each), names
        charge = known.get(key) or known.setdefault(key, _charge(each, names))
        total = Charge(charge.tracked, resource_list.add(total.charges, charge.charges)) if total else charge
    return total


def _charge(asked: Asked, names: tuple[str, ...]) -> Charge:
    charge = asked.cost.charge(names)
    if asked.pods == 1:
        return charge
    return Charge(
        charge.tracked, {name: Quantity(it.nano * asked.pods, it.format) for name, it in charge.charges.items()}
    )
