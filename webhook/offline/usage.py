"""What ResourceQuotas have left: by resource, the largest task that fits, and the largest holders."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from msgspec.structs import replace

from webhook.admission.denial import sizes
from webhook.api import resource_list
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resource_quota import QuotaStatus, ResourceQuota, ScopeRequirement
from webhook.cluster.ledger import Ledger
from webhook.flyte.task import task_of_namespace
from webhook.offline.review import counted
from webhook.offline.running import RunningPod
from webhook.policy.model import Policy
from webhook.rules.quota import headroom


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """One resource of a quota."""

    name: str
    hard: Quantity
    used: Quantity

    @property
    def free(self) -> Quantity:
        """What is left, not less than nothing."""
        return max(self.hard - self.used, ZERO)

    @property
    def percent(self) -> int:
        """How much of it is used, rounded down; 100 of nothing."""
        return self.used.nano * 100 // self.hard.nano if self.hard.nano > 0 else 100


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One quota; one with scopes counts some Pods only."""

    name: str
    scopes: tuple[str, ...]
    resources: list[ResourceUse]


@dataclass(frozen=True, slots=True)
class Holder:
    """The Pods of one task that run, and what they are charged together."""

    task: str
    pods: int
    held: ResourceList


@dataclass(frozen=True, slots=True)
class NamespaceUse:
    """The quotas of a namespace, and the largest tasks that fit into those without scopes: `name=amount,…`."""

    namespace: str
    project: str
    domain: str
    quotas: list[QuotaUse]
    fits_now: str
    fits_ever: str
    holders: Sequence[Holder] = ()  # the largest first, by the fullest resource

    @property
    def fullest(self) -> ResourceUse:
        """The resource that is used most."""
        return max((it for quota in self.quotas for it in quota.resources), key=lambda it: it.percent)


def usage(
    quotas: Iterable[ResourceQuota], pods: Iterable[RunningPod], policy: Policy, today: str
) -> list[NamespaceUse]:
    """Return the namespaces that have quotas, the fullest first."""
    ledger = Ledger(quotas)
    running: dict[str, list[RunningPod]] = defaultdict(list)
    for pod in pods:
        running[pod.request.namespace].append(pod)
    found = [
        _of_namespace(namespace, [quota for quota in own if quota.hard], policy)
        for namespace, own in ledger.by_namespace().items()
    ]
    kept = [_with_holders(it, running[it.namespace], ledger, policy, today) for it in found if it.quotas]
    return sorted(kept, key=lambda it: (-it.fullest.percent, it.namespace))


def _of_namespace(namespace: str, quotas: Sequence[ResourceQuota], policy: Policy) -> NamespaceUse:
    task, counting = task_of_namespace(namespace, policy.identification), [it for it in quotas if not it.scopes]
    empty = [replace(it, status=QuotaStatus(hard=dict(it.hard))) for it in counting]
    now, ever = sizes(headroom(counting)), sizes(headroom(empty))
    return NamespaceUse(namespace, task.project, task.domain, [*map(_of_quota, quotas)], now, ever)


def _of_quota(quota: ResourceQuota) -> QuotaUse:
    found = [ResourceUse(name, hard, quota.used.get(name, ZERO)) for name, hard in sorted(quota.hard.items())]
    return QuotaUse(quota.name, tuple(map(_scope, quota.scopes)), found)


def _scope(scope: ScopeRequirement) -> str:
    return " ".join([scope.scope_name, *([scope.operator, ",".join(scope.values)] if scope.values else [])])


def _with_holders(
    found: NamespaceUse, pods: Iterable[RunningPod], ledger: Ledger, policy: Policy, today: str
) -> NamespaceUse:
    held: dict[str, ResourceList] = defaultdict(dict)
    count = Counter[str]()
    for pod in pods:
        name = pod.task.name or pod.task.workflow or pod.request.pod_name
        charges = counted(pod.request, policy, ledger, today).values()
        held[name] = resource_list.add(held[name], reduce(resource_list.maximum, charges, EMPTY))
        count[name] += 1
    fullest = found.fullest.name
    holders = [Holder(name, count[name], amounts) for name, amounts in held.items()]
    holders.sort(key=lambda it: (-it.held.get(fullest, ZERO).nano, it.task))
    return dataclasses.replace(found, holders=holders)


def as_data(found: NamespaceUse) -> dict[str, Any]:
    """Return the namespace for programs."""
    return {
        "namespace": found.namespace,
        "project": found.project,
        "domain": found.domain,
        "quotas": [
            {
                "name": quota.name,
                "scopes": list(quota.scopes),
                "resources": [
                    {"name": it.name, "hard": str(it.hard), "used": str(it.used), "free": str(it.free),
                     "percent": it.percent}
                    for it in quota.resources
                ],
            }
            for quota in found.quotas
        ],
        "fits_now": found.fits_now,
        "fits_ever": found.fits_ever,
        "holders": [
            {"task": it.task, "pods": it.pods, "held": {name: str(amount) for name, amount in sorted(it.held.items())}}
            for it in found.holders
        ],
    }  # fmt: skip
