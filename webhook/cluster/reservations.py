"""What was let through, and may not be in the figures of its quotas yet."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from webhook.api.quantity import ZERO
from webhook.api.resource_list import EMPTY, ResourceList
from webhook.api.resource_quota import Charges, ResourceQuota

# Seconds from our last answer until the API server has charged the Pod, or never will: other validating webhooks, its
# own quota check, and a write come between.
SETTLE: Final = 0.8
BEHIND: Final = 0.1  # seconds by which the cached figures may be behind
HELD: Final = SETTLE + BEHIND  # seconds that a reservation lasts at most
REPLICAS_RECKONED_WITH: Final = 2  # that are reckoned with: what others let through is unknown
MOST_AMOUNTS: Final = 10_000  # that are held; the oldest are given back


class Reservation(NamedTuple):
    """What is let through in a namespace under a name, and its charges by quota."""

    namespace: str
    name: str
    charges: Charges


NONE: Final = Reservation("", "", {})


@dataclass(slots=True)
class _UnderWay:
    """What is under way to one quota, in nanos by resource."""

    seen: ResourceQuota  # with the newest figures of the cache
    held: Counter[str] = field(default_factory=Counter)  # let through here in the last HELD seconds
    uncounted: Counter[str] = field(default_factory=Counter)  # let through anywhere, and not in these figures
    late: Counter[str] = field(default_factory=Counter)  # given back by time, and not in these figures either
    replicas: int = 1  # that let through as much as this one

    def hold(self, amounts: ResourceList) -> None:
        for resource, amount in amounts.items():
            self.held[resource] += amount.nano
            self.uncounted[resource] += self.replicas * amount.nano

    def give_back(self, amounts: ResourceList) -> None:
        for resource, amount in amounts.items():
            self.held[resource] -= amount.nano
            late = max(0, self.uncounted[resource] - self.replicas * self.held[resource])
            self.uncounted[resource] -= late
            self.late[resource] += late
            if not self.held[resource]:
                del self.held[resource], self.uncounted[resource], self.late[resource]

    def see(self, quota: ResourceQuota) -> None:
        """Take newer figures of the cache: what they have grown by is what was let through, the oldest first."""
        if quota is self.seen or quota.version < self.seen.version:
            return
        for name, nano in self._growth(quota).items():
            late = min(nano, self.late[name])
            self.late[name] -= late
            self.uncounted[name] -= min(nano - late, self.uncounted[name])
        self.seen = quota

    def under_way(self, quota: ResourceQuota) -> Counter[str]:
        """Return what was let through, and is not in these live figures, which may be newer than the cache's."""
        newer = self._growth(quota) if quota.version > self.seen.version else Counter[str]()
        return self.uncounted - (newer - self.late)

    def _growth(self, quota: ResourceQuota) -> Counter[str]:
        """Return what the figures have grown by; where that is more than was let through here, others do so too."""
        used, before = quota.used, self.seen.used
        grown = Counter({name: used.get(name, ZERO).nano - before.get(name, ZERO).nano for name in self.held})
        if any(nano > self.late[name] + self.uncounted[name] for name, nano in grown.items()):
            self.uncounted += Counter(
                {name: (REPLICAS_RECKONED_WITH - self.replicas) * nano for name, nano in self.held.items()}
            )
            self.replicas = REPLICAS_RECKONED_WITH
        return +grown


class Reservations:
    """What was let through in the last moments, by namespace and quota.

    Nobody tells the webhook when the API server has charged a Pod. A reservation ends when `status.used` of the quota
    has grown by as much, and after HELD seconds in any case. Pods that end lower it at the same time, so each of its
    versions counts. Where it grows by more than was let through here, somebody else creates Pods too: then a second
    replica is reckoned with, which lets through as much.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take a `clock` that gives seconds."""
        self._clock = clock
        # Until when, by namespace and name, the oldest first; a dict would look for that past all that was removed.
        self._held: OrderedDict[tuple[str, str], tuple[float, Reservation]] = OrderedDict()
        self._quotas: dict[tuple[str, str], _UnderWay] = {}  # by namespace, and name of the quota
        self._amounts = 0

    def reserve(self, made: Reservation, quotas: Sequence[ResourceQuota]) -> None:
        """Hold it, in place of what is held under its name; `quotas` are those that it was decided by."""
        self._expire()
        self._release((made.namespace, made.name))
        held: dict[str, ResourceList] = {}
        for quota in quotas:
            charged = made.charges.get(quota.name, EMPTY)
            if amounts := {name: amount for name, amount in charged.items() if amount.nano > 0}:
                key = made.namespace, quota.name
                if key not in self._quotas:
                    self._quotas[key] = _UnderWay(quota)
                self._quotas[key].hold(amounts)
                self._amounts += len(amounts)
                held[quota.name] = amounts
        if held:
            reserved = Reservation(made.namespace, made.name, held)
            self._held[made.namespace, made.name] = self._clock() + HELD, reserved
        while self._amounts > MOST_AMOUNTS:
            self._release(next(iter(self._held)))

    def leave_room(self, asked: Reservation, quotas: Sequence[ResourceQuota], *, live: bool) -> bool:
        """Return whether the quotas have room for it beside what is under way under other names.

        Quotas that are not `live` must have room for as much as is usually under way on all replicas: where they are
        nearly full, live ones decide.
        """
        self._expire()
        _, own = self._held.get((asked.namespace, asked.name), (0.0, NONE))
        for quota in quotas:
            if (found := self._quotas.get((asked.namespace, quota.name))) is None:
                continue
            if not live:
                found.see(quota)
            newest = max(quota, found.seen, key=lambda each: each.version)
            others = (
                found.under_way(quota)
                if live
                else Counter({name: REPLICAS_RECKONED_WITH * n for name, n in found.held.items()})
            )
            share, mine = found.replicas if live else REPLICAS_RECKONED_WITH, own.charges.get(quota.name, EMPTY)
            for name, more in asked.charges.get(quota.name, EMPTY).items():
                beside = max(0, others[name] - share * mine.get(name, ZERO).nano)
                if newest.used.get(name, ZERO).nano + beside + more.nano > quota.hard[name].nano:
                    return False
        return True

    def see(self, quota: ResourceQuota) -> None:
        """Take the figures of a quota that has changed in the cluster."""
        if found := self._quotas.get((quota.metadata.namespace or "", quota.name)):
            found.see(quota)

    def _expire(self) -> None:
        now = self._clock()
        while self._held:
            key, (until, _) = next(iter(self._held.items()))
            if until > now:
                return
            self._release(key)

    def _release(self, key: tuple[str, str]) -> None:
        _, given_back = self._held.pop(key, (0.0, NONE))
        for name, amounts in given_back.charges.items():
            quota = given_back.namespace, name
            self._quotas[quota].give_back(amounts)
            self._amounts -= len(amounts)
            if not self._quotas[quota].held:
                del self._quotas[quota]
