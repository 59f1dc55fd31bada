"""The ResourceQuotas and LimitRanges of the local mode, kept in memory."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from webhook.api import resource_list
from webhook.api.limit_range import LimitRange
from webhook.api.pod import ObjectMeta
from webhook.api.quantity import ZERO
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resource_quota import Charges, QuotaStatus, ResourceQuota
from webhook.api.version import NEWEST, Version
from webhook.cluster.snapshot import Snapshot, by_name

MOST_PODS: Final = 10_000  # that the ledger remembers; the oldest are forgotten, and stay charged


class Ledger:
    """The quotas of the local mode, in memory: an admitted Pod is charged once, and stays charged.

    A Pod is reviewed several times: by /mutate, perhaps a second time, and by /validate. Its key is its name. Before it
    has a name, its key is its generateName, and the first named Pod with that generateName takes its place.
    """

    def __init__(
        self,
        quotas: Iterable[ResourceQuota],
        limit_ranges: Iterable[LimitRange] = (),
        kubernetes: Version = NEWEST,
    ) -> None:
        """Start with `status.hard` and `status.used` where given, else with `spec.hard` and nothing used."""
        self.kubernetes = kubernetes
        self._quotas: dict[str, dict[str, ResourceQuota]] = {}
        for quota in by_name(quotas):
            self._quotas.setdefault(quota.metadata.namespace or "default", {})[quota.name] = _enforced(quota)
        self._limit_ranges = Snapshot(
            replace(each, metadata=replace(each.metadata, namespace=each.metadata.namespace or "default"))
            for each in limit_ranges
        )
        self._pods: dict[tuple[str, str], list[Charges]] = {}  # by namespace and name, the oldest first
        self._count = 0  # of all charges in _pods

    def quotas(self, namespace: str, meta: ObjectMeta, *, resize: bool = False) -> Sequence[ResourceQuota]:
        """Return the namespace's quotas by name, without the charge of this Pod; for its resize, with it."""
        quotas = self._quotas.get(namespace, {})
        known = None if resize else self._key_of(namespace, meta)
        if known is None:
            return tuple(quotas.values())
        own = self._pods[known][0]
        return tuple(_charged(quota, own.get(name, EMPTY), EMPTY) for name, quota in quotas.items())

    def limit_ranges(self, namespace: str) -> Sequence[LimitRange]:
        """Return the namespace's LimitRanges by name."""
        return self._limit_ranges.of(namespace)

    def by_namespace(self) -> dict[str, Sequence[ResourceQuota]]:
        """Return the quotas of all namespaces, with what is charged so far."""
        return {namespace: tuple(quotas.values()) for namespace, quotas in self._quotas.items()}

    def charge(self, namespace: str, meta: ObjectMeta, charges: Charges, *, resize: bool = False) -> None:
        """Charge an admitted Pod: in place of its earlier charge, or, for a resize, on top of it."""
        quotas = self._quotas.get(namespace)
        if not quotas:
            return
        former = self._forget(self._key_of(namespace, meta))
        total = {}
        for name, quota in quotas.items():
            before, more = former.get(name, EMPTY), charges.get(name, EMPTY)
            total[name] = resource_list.add(before, more) if resize else more
            quotas[name] = _charged(quota, before, total[name])
        self._pods.setdefault((namespace, meta.name or meta.generate_name or ""), []).append(total)
        self._count += 1
        if self._count > MOST_PODS:
            self._forget(next(iter(self._pods)))

    def release(self, namespace: str, charges: Charges) -> None:
        """Take back what the quotas count for a Pod that runs; a quota that does not count it keeps its zero."""
        quotas = self._quotas.get(namespace, {})
        for name, taken in charges.items():
            quota = quotas[name]
            counted = {each: min(amount, max(quota.used.get(each, ZERO), ZERO)) for each, amount in taken.items()}
            quotas[name] = _charged(quota, counted, EMPTY)

    def _key_of(self, namespace: str, meta: ObjectMeta) -> tuple[str, str] | None:
        """Return the key of the Pod's earlier charge, if there is one; a Pod without a name is always a new one."""
        names = [name for name in (meta.name, meta.generate_name) if name] if meta.name else []
        return next(filter(self._pods.__contains__, ((namespace, name) for name in names)), None)

    def _forget(self, key: tuple[str, str] | None) -> Charges:
        """Remove and return the oldest charge under the key; the quotas keep it."""
        if key is None:
            return {}
        charges = self._pods[key]
        first = charges.pop(0)
        self._count -= 1
        if not charges:
            del self._pods[key]
        return first


def _enforced(quota: ResourceQuota) -> ResourceQuota:
    if quota.status is not None and quota.status.hard is not None:
        return quota
    hard = dict((quota.spec and quota.spec.hard) or EMPTY)
    return replace(quota, status=QuotaStatus(hard=hard, used=dict.fromkeys(hard, ZERO) | dict(quota.used)))


def _charged(quota: ResourceQuota, less: ResourceList, more: ResourceList) -> ResourceQuota:
    used = resource_list.add(resource_list.subtract(quota.used, less), more)
    return replace(quota, status=QuotaStatus(hard=dict(quota.hard), used=dict(used)))
