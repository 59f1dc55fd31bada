"""The cached ResourceQuotas of a cluster, by namespace."""

from collections.abc import Iterable

from webhook.api.resource_quota import QuotaMeta, ResourceQuota


class Snapshot:
    """The quotas of a cluster by namespace; the tuple of a namespace never changes, an event replaces it."""

    def __init__(self, quotas: Iterable[ResourceQuota] = ()) -> None:
        by_namespace: dict[str, list[ResourceQuota]] = {}
        for quota in quotas:
            by_namespace.setdefault(quota.metadata.namespace or "", []).append(quota)
        self._quotas = {namespace: by_name(found) for namespace, found in by_namespace.items()}

    def of(self, namespace: str) -> tuple[ResourceQuota, ...]:
        """Return the namespace's quotas, sorted by name."""
        return self._quotas.get(namespace, ())

    def by_namespace(self) -> dict[str, tuple[ResourceQuota, ...]]:
        """Return the quotas of all namespaces."""
        return dict(self._quotas)

    def put(self, quota: ResourceQuota) -> None:
        """Add the quota, or replace it."""
        self._quotas[quota.metadata.namespace or ""] = by_name([*self._others(quota.metadata), quota])

    def remove(self, meta: QuotaMeta) -> None:
        """Remove the quota, and its namespace with the last one."""
        if others := self._others(meta):
            self._quotas[meta.namespace or ""] = others
        else:
            self._quotas.pop(meta.namespace or "", None)

    def _others(self, meta: QuotaMeta) -> tuple[ResourceQuota, ...]:
        return tuple(other for other in self.of(meta.namespace or "") if other.name != meta.name)


def by_name(quotas: Iterable[ResourceQuota]) -> tuple[ResourceQuota, ...]:
    """Return the quotas, sorted by name."""
    return tuple(sorted(quotas, key=lambda quota: quota.name))
