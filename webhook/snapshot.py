"""What rules may know of the cluster: ResourceQuotas, read from the API server or kept in memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec.structs import replace

from webhook import resource_list
from webhook.pod import ObjectMeta, Wire
from webhook.quantity import ZERO, Quantity
from webhook.resource_list import EMPTY, ResourceList

MOST_PODS: Final = 10_000  # that the local mode remembers; the oldest leave, and stay charged
Charges: TypeAlias = Mapping[str, ResourceList]  # name of a quota -> what one Pod takes of it


class ScopeRequirement(Wire, frozen=True):
    """One term of `scopeSelector.matchExpressions`."""

    scope_name: str
    operator: str = "Exists"
    values: list[str] | None = None


class ScopeSelector(Wire, frozen=True):
    """`spec.scopeSelector`."""

    match_expressions: list[ScopeRequirement] | None = None


class QuotaMeta(Wire, frozen=True):
    """`metadata` of a ResourceQuota."""

    name: str = ""
    namespace: str | None = None
    resource_version: str | None = None


class QuotaSpec(Wire, frozen=True):
    """`spec` of a ResourceQuota; `hard` there is a wish, only `status.hard` is enforced."""

    hard: dict[str, Quantity] | None = None
    scopes: list[str] | None = None
    scope_selector: ScopeSelector | None = None


class QuotaStatus(Wire, frozen=True):
    """`status` of a ResourceQuota: what is enforced, and what is used of it."""

    hard: dict[str, Quantity] | None = None
    used: dict[str, Quantity] | None = None


class ResourceQuota(Wire, frozen=True):
    """A v1 ResourceQuota."""

    metadata: QuotaMeta = QuotaMeta()
    spec: QuotaSpec | None = None
    status: QuotaStatus | None = None

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def hard(self) -> ResourceList:
        """What is enforced."""
        return (self.status and self.status.hard) or EMPTY

    @property
    def used(self) -> ResourceList:
        """What is charged already."""
        return (self.status and self.status.used) or EMPTY

    @property
    def scopes(self) -> Sequence[ScopeRequirement]:
        """What a Pod must be for this quota to count it: `spec.scopes` and `spec.scopeSelector`, all of them."""
        if self.spec is None or not (self.spec.scopes or self.spec.scope_selector):
            return ()
        scopes, selector = self.spec.scopes, self.spec.scope_selector
        return [*map(ScopeRequirement, scopes or ()), *((selector and selector.match_expressions) or ())]


class Snapshot:
    """The quotas of a cluster. What is given out for a namespace never changes; an event replaces it as a whole."""

    def __init__(self, quotas: Iterable[ResourceQuota] = ()) -> None:
        """Of these, each with its namespace."""
        by_namespace: dict[str, list[ResourceQuota]] = {}
        for quota in quotas:
            by_namespace.setdefault(quota.metadata.namespace or "", []).append(quota)
        self._quotas = {namespace: _by_name(found) for namespace, found in by_namespace.items()}

    def of(self, namespace: str) -> tuple[ResourceQuota, ...]:
        """The namespace's quotas by name; none of a namespace that has none."""
        return self._quotas.get(namespace, ())

    def put(self, quota: ResourceQuota) -> None:
        """Add the quota, or take it in the place of what it was."""
        self._quotas[quota.metadata.namespace or ""] = _by_name([*self._others(quota.metadata), quota])

    def remove(self, meta: QuotaMeta) -> None:
        """Forget the quota of that name, and its namespace with the last one."""
        if others := self._others(meta):
            self._quotas[meta.namespace or ""] = others
        else:
            self._quotas.pop(meta.namespace or "", None)

    def _others(self, meta: QuotaMeta) -> tuple[ResourceQuota, ...]:
        return tuple(other for other in self.of(meta.namespace or "") if other.name != meta.name)


def _by_name(quotas: Iterable[ResourceQuota]) -> tuple[ResourceQuota, ...]:
    return tuple(sorted(quotas, key=lambda quota: quota.name))


class Ledger:
    """The quotas of the local mode, in memory: an admitted Pod is charged once, and stays charged.

    One Pod is reviewed several times, by /mutate, perhaps once more, and by /validate. It is known by its name;
    before it has one, by its generateName, and the first named Pod made from that takes its place. No more than
    MOST_PODS are known.
    """

    def __init__(self, quotas: Iterable[ResourceQuota]) -> None:
        """Start from manifests: `status.hard` and `status.used` as given, else `spec.hard` and nothing used."""
        self._quotas: dict[str, dict[str, ResourceQuota]] = {}
        for quota in _by_name(quotas):
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
