"""The use of ResourceQuotas: what is left of each resource, the largest task that fits, and the largest holders."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webhook.admission.denial import sizes
from webhook.api.quantity import ZERO, Quantity
from webhook.api.resource_list import ResourceList
from webhook.api.resource_quota import ResourceQuota, ScopeRequirement
from webhook.flyte.task import Identification, task_of_namespace
from webhook.rules.quota import is_charged


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
        """How much of it is used, rounded down; 0 of nothing, which forbids it, and 100 once it is used."""
        return self.used.nano * 100 // self.hard.nano if self.hard.nano > 0 else 100 * (self.used.nano > 0)


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


def use_of(quotas: Mapping[str, Iterable[ResourceQuota]], how: Identification) -> list[NamespaceUse]:
    """Return the use of the quotas of each namespace, the fullest namespace first; one without quotas is left out."""
    shown = ((namespace, [_of_quota(quota) for quota in own if quota.hard]) for namespace, own in quotas.items())
    found = [_of_namespace(namespace, own, how) for namespace, own in shown if own]
    return sorted(found, key=lambda it: (-it.fullest.percent, it.namespace))


def _of_namespace(namespace: str, quotas: list[QuotaUse], how: Identification) -> NamespaceUse:
    counting = [it for quota in quotas if not quota.scopes for it in quota.resources if is_charged(it.name)]
    task = task_of_namespace(namespace, how)
    now, ever = (_least((it.name, getattr(it, side)) for it in counting) for side in ("free", "hard"))
    return NamespaceUse(namespace, task.project, task.domain, quotas, sizes(now), sizes(ever))


def _of_quota(quota: ResourceQuota) -> QuotaUse:
    found = [ResourceUse(name, hard, quota.used.get(name, ZERO)) for name, hard in sorted(quota.hard.items())]
    return QuotaUse(quota.name, tuple(map(_scope, quota.scopes)), found)


def _scope(scope: ScopeRequirement) -> str:
    return " ".join([scope.scope_name, *([scope.operator, ",".join(scope.values)] if scope.values else [])])


def _least(amounts: Iterable[tuple[str, Quantity]]) -> ResourceList:
    least: dict[str, Quantity] = {}
    for name, amount in amounts:
        least[name] = min(least.get(name, amount), amount)
    return least


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
