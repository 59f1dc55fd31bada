"""The cached objects of one kind, by namespace: ResourceQuotas, or LimitRanges."""

from collections.abc import Iterable
from typing import Final, Generic

from webhook.api.resource_quota import NamespacedMeta
from webhook.cluster.kinds import T

# Of a namespace, for one review: a quota takes 6 µs. The API server checks all of them after us.
MOST_READ: Final = 1000


class Snapshot(Generic[T]):
    """The objects of a cluster by namespace; the tuple of a namespace never changes, an event replaces it.

    `crowded` are the namespaces with more than MOST_READ of them.
    """

    def __init__(self, objects: Iterable[T] = ()) -> None:
        by_namespace: dict[str, list[T]] = {}
        for each in objects:
            by_namespace.setdefault(each.metadata.namespace or "", []).append(each)
        self._objects = {namespace: by_name(found) for namespace, found in by_namespace.items()}
        self.crowded = {namespace for namespace, found in by_namespace.items() if len(found) > MOST_READ}

    def of(self, namespace: str) -> tuple[T, ...]:
        """Return the namespace's objects, sorted by name; the first MOST_READ of them."""
        return self._objects.get(namespace, ())[:MOST_READ]

    def by_namespace(self) -> dict[str, tuple[T, ...]]:
        """Return the objects of all namespaces."""
        return dict(self._objects)

    def put(self, found: T) -> None:
        """Add the object, or replace it."""
        self._set(found.metadata, by_name([*self._others(found.metadata), found]))

    def remove(self, meta: NamespacedMeta) -> None:
        """Remove the object, and its namespace with the last one."""
        self._set(meta, self._others(meta))

    def _set(self, meta: NamespacedMeta, found: tuple[T, ...]) -> None:
        namespace = meta.namespace or ""
        self._objects[namespace] = found
        if not found:
            del self._objects[namespace]
        if len(found) > MOST_READ:
            self.crowded.add(namespace)
        else:
            self.crowded.discard(namespace)

    def _others(self, meta: NamespacedMeta) -> tuple[T, ...]:
        return tuple(other for other in self._objects.get(meta.namespace or "", ()) if other.name != meta.name)


def by_name(objects: Iterable[T]) -> tuple[T, ...]:
    """Return the objects, sorted by name."""
    return tuple(sorted(objects, key=lambda each: each.name))
