"""The ResourceQuotas of a cluster as they were a moment ago."""

from collections.abc import Iterable

from webhook.api.resource_quota import QuotaMeta, ResourceQuota


class Snapshot:
    """The quotas of a cluster. What is given out for a namespace never changes; an event replaces it as a whole."""

    def __init__(self, quotas: Iterable[ResourceQuota] = ()) -> None:
        """Of these, each with its namespace."""
        by_namespace: dict[str, list[ResourceQuota]] = {}
        for quota in quotas:
            by_namespace.setdefault(quota.metadata.namespace or "", []).append(quota)
        self._quotas = {namespace: by_name(found) for namespace, found in by_namespace.items()}

    def of(self, namespace: str) -> tuple[ResourceQuota, ...]:
        """The namespace's quotas by name; none of a namespace that has none."""
        return self._quotas.get(namespace, ())

    def put(self, quota: ResourceQuota) -> None:
        """Add the quota, or take it in the place of what it was."""
        self._quotas[quota.metadata.namespace or ""] = by_name([*self._others(quota.metadata), quota])

    def remove(self, meta: QuotaMeta) -> None:
        """Forget the quota of that name, and its namespace with the last one."""
        if others := self._others(meta):
            self._quotas[meta.namespace or ""] = others
        else:
            self._quotas.pop(meta.namespace or "", None)

    def _others(self, meta: QuotaMeta) -> tuple[ResourceQuota, ...]:
        return tuple(other for other in self.of(meta.namespace or "") if other.name != meta.name)


def by_name(quotas: Iterable[ResourceQuota]) -> tuple[ResourceQuota, ...]:
    """Return the quotas in the order of their names."""
    return tuple(sorted(quotas, key=lambda quota: quota.name))
