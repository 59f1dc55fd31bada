"""The ResourceQuotas of the local mode, kept in memory."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from webhook.api import resource_list
from webhook.api.pod import ObjectMeta
from webhook.api.quantity import ZERO
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resource_quota import Charges, QuotaStatus, ResourceQuota
from webhook.cluster.snapshot import by_name

MOST_PODS: Final = 10_000  # that the local mode remembers; the oldest leave, and stay charged


class Ledger:
    """The quotas of the local mode, in memory: an admitted Pod is charged once, and stays charged.

    One Pod is reviewed several times, by /mutate, perhaps once more, and by /validate. It is known by its name;
    before it has one, by its generateName, and the first named Pod made from that takes its place. No more than
    MOST_PODS are known.
    """

    def __init__(self, quotas: Iterable[ResourceQuota]) -> None:
        """Start from manifests: `status.hard` and `status.used` as given, else `spec.hard` and nothing used."""
        self._quotas: dict[str, dict[str, ResourceQuota]] = {}
        for quota in by_name(quotas):
            self._quotas.setdefault(quota.metadata.namespace or "default", {})[quota.name] = _enforced(quota)
        self._pods: dict[tuple[str, str], list[Charges]] = {}  # those charged last are the last
        self._remembered = 0  # Pods

    def quotas(self, namespace: str, meta: ObjectMeta, *, resize: bool = False) -> Sequence[ResourceQuota]:
        """The namespace's quotas by name: as they would be without this Pod, or as they are for its resize."""
        quotas = self._quotas.get(namespace, {})
        known = None if resize else self._known(namespace, meta)
        if known is None:
            return tuple(quotas.values())
        own = self._pods[known][0]
        return tuple(_charged(quota, own.get(name, EMPTY), EMPTY) for name, quota in quotas.items())

    def charge(self, namespace: str, meta: ObjectMeta, charges: Charges, *, resize: bool = False) -> None:
        """Charge an admitted Pod, instead of what it was charged before, or on top of that for its resize."""
        quotas = self._quotas.get(namespace)
        if not quotas:
            return
        former = self._forget(self._known(namespace, meta))
        total = {}
        for name, quota in quotas.items():
            before, more = former.get(name, EMPTY), charges.get(name, EMPTY)
            total[name] = resource_list.add(before, more) if resize else more
            quotas[name] = _charged(quota, before, total[name])
        self._pods.setdefault((namespace, meta.name or meta.generate_name or ""), []).append(total)
        self._remembered += 1
        if self._remembered > MOST_PODS:
            self._forget(next(iter(self._pods)))

    def _known(self, namespace: str, meta: ObjectMeta) -> tuple[str, str] | None:
        """Where the earlier charges are of which the first is this Pod's; one without a name is always a new one."""
        names = [name for name in (meta.name, meta.generate_name) if name] if meta.name else []
        return next(filter(self._pods.__contains__, ((namespace, name) for name in names)), None)

    def _forget(self, key: tuple[str, str] | None) -> Charges:
        """Return the first of the charges there and remember the Pod no longer; it stays charged."""
        if key is None:
            return {}
        charges = self._pods[key]
        first = charges.pop(0)
        self._remembered -= 1
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
