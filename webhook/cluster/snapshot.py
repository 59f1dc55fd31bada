"""The cached objects of one kind, by namespace: ResourceQuotas, or LimitRanges."""

from collections.abc import Iterable
from typing import Generic

from webhook.api.resource_quota import NamespacedMeta
from webhook.cluster.kinds import T


class Snapshot(Generic[T]):
    """The objects of a cluster by namespace; the tuple of a namespace never changes, an event replaces it."""

    def __init__(self, objects: Iterable[T] = ()) -> None:
        by_namespace: dict[str, list[T]] = {}
        for each in objects:
            by_namespace.setdefault(each.metadata.namespace or "", []).append(each)
        self._objects = {namespace: by_name(found) for namespace, found in by_namespace.items()}

    def of(self, namespace: str) -> tuple[T, ...]:
        """Return the namespace's objects, sorted by name."""
        return self._objects.get(namespace, ())

    def by_namespace(self) -> dict[str, tuple[T, ...]]:
        """Return the objects of all namespaces."""
        return dict(self._objects)

    def put(self, found: T) -> None:
        """Add the object, or replace it."""
        self._objects[found.metadata.namespace or ""] = by_name([*self._others(found.metadata), found])

    def remove(self, meta: NamespacedMeta) -> None:
        """Remove the object, and its namespace with the last one."""
        if others := self._others(meta):
            self._objects[meta.namespace or ""] = others
        else:
            self._objects.pop(meta.namespace or "", None)

    def _others(self, meta: NamespacedMeta) -> tuple[T, ...]:
        return tuple(other for other in self.of(meta.namespace or "") if other.name != meta.name)


def by_name(objects: Iterable[T]) -> tuple[T, ...]:
    """Return the objects, sorted by name."""
    return tuple(sorted(objects, key=lambda each: each.name))
