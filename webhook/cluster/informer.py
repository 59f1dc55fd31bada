"""Keeps the ResourceQuotas of the cluster at hand: a list, then watches that go on from there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import random as random_number
from time import monotonic
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from webhook.api.pod import ObjectMeta
from webhook.api.resource_quota import Charges, ResourceQuota
from webhook.cluster.backoff import Backoff
from webhook.cluster.client import Api
from webhook.cluster.quota_answers import GONE, Event, ReadError, Unreadable
from webhook.cluster.skipped import Skipped
from webhook.cluster.snapshot import Snapshot
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics

WATCH_SECONDS: Final = 300.0  # the least; up to twice that, so that the watches of replicas do not end together
# Seconds; a watch that ends sooner and brought nothing has failed. Any bookmark is something to client-go, to us
# one that is newer than what was known: the same one again and again would have us ask without a pause.
SHORT: Final = 1.0
LIVE_SECONDS: Final = 1.0  # of the two that the API server waits for us
ATTEMPTS: Final = 2  # of a watch at one resourceVersion; then a list is due, which gets past what the watch cannot
LIVE: Final = "live"  # the third kind of read, besides list and watch
Quotas: TypeAlias = Sequence[ResourceQuota]


class Reflector:
    """The cluster's quotas as they were a moment ago, and, for who has doubts, as they are now.

    Runs on one event loop. Clock, randomness and sleep are arguments, so that nobody has to wait for what is promised.
    """

    def __init__(
        self,
        api: Api,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = random_number,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is read before `run`."""
        self.synced = False
        self._api, self._metrics = api, metrics
        self._clock, self._random, self._sleep = clock, random, sleep
        self._backoff = Backoff(clock, random)
        self._told: dict[str, str] = {}  # kind of read -> why it does not work at present
        self._snapshot, self._skipped = Snapshot(), Skipped()
        self._failures = 0  # of the watch at this version
        self._version = ""  # where the next watch begins; without one, a list is due
        self._contact = clock()
        self._next: dict[str, asyncio.Task[Quotas | None]] = {}  # live reads of a namespace that have not begun
        self._reading: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        metrics.follow_cache(self.age, lambda: self.synced, lambda: len(self._skipped))

    @property
    def problems(self) -> Mapping[str, str]:
        """Why the quotas are not as they are in the cluster, by what does not work at present: list, watch."""
        return {read: why for read, why in self._told.items() if read != LIVE}

    def age(self) -> float:
        """Seconds since the API server has last told us how things are."""
        return self._clock() - self._contact

    def quotas(self, namespace: str, meta: ObjectMeta, *, resize: bool = False) -> Quotas:  # noqa: ARG002
        """The namespace's quotas by name; what is used of them includes no Pod that is not stored yet."""
        return self._snapshot.of(namespace)

    def charge(self, namespace: str, meta: ObjectMeta, charges: Charges, *, resize: bool = False) -> None:
        """The API server charges the Pods that it stores, and the watch brings what came of it."""

    async def run(self) -> None:
        """Keep up with the cluster until cancelled."""
        while True:
            await self._step()

    async def close(self) -> None:
        """Give the connections up."""
        await self._api.close()

    async def _step(self) -> None:
        read = "watch" if self._version else "list"
        try:
            await (self._watch() if self._version else self._list())
        except Exception as error:
            self._failures += 1
            gone = isinstance(error, ReadError) and error.status == GONE
            if gone or self._failures >= ATTEMPTS:
                self._version = ""
            if not isinstance(error, ReadError):
                raise
            self._failed(read, error)
            await self._sleep(max(self._backoff.pause(), error.retry_after))

    async def _list(self) -> None:
        found = await self._api.quotas()
        self._snapshot = await asyncio.to_thread(Snapshot, found.quotas)
        self._skipped.replace(found.unreadable)
        self._version, self._failures = found.version, 0
        self._contact = self._clock()
        self._works("list")
        if not self.synced:
            self.synced = True
            logs.info("quotas synced", quotas=len(found.quotas), unreadable=len(found.unreadable))

    async def _watch(self) -> None:
        start, version = self._clock(), self._version
        async with self._api.watch(version, WATCH_SECONDS * (1 + self._random())) as events:
            settled = asyncio.get_running_loop().call_later(SHORT, self._works, "watch")
            try:
                async for event in events:
                    self._apply(event)
            finally:
                settled.cancel()
        if self._version == version and self._clock() - start < SHORT:
            raise ReadError("it ended within a second and brought nothing")
        self._contact = self._clock()
        self._works("watch")

    def _apply(self, event: Event) -> None:
        if event.type != "BOOKMARK":
            self._take_up(event)
        self._contact = self._clock()
        if (version := event.quota.metadata.resource_version) and version != self._version:
            self._version = version
            self._works("watch")

    def _take_up(self, event: Event) -> None:
        """Nothing is decided by what a quota was before it became one that cannot be read."""
        quota = event.quota
        if isinstance(quota, Unreadable):
            self._snapshot.remove(quota.metadata)
            self._skipped.put(quota)
            return
        self._skipped.remove(quota.metadata)
        if event.type == "DELETED":
            self._snapshot.remove(quota.metadata)
        else:
            self._snapshot.put(quota)

    async def live(self, namespace: str) -> Quotas | None:
        """The namespace's quotas as they are after this call, by name; None if that cannot be told within a second.

        Whoever asks while a read is under way shares the one after it with the others who do.
        """
        if namespace not in self._next:
            deadline = asyncio.get_running_loop().time() + LIVE_SECONDS
            self._next[namespace] = asyncio.create_task(self._read(namespace, deadline))
        return await asyncio.shield(self._next[namespace])

    async def _read(self, namespace: str, deadline: float) -> Quotas | None:
        async with self._reading.setdefault(namespace, asyncio.Lock()):
            del self._next[namespace]  # what this finds may be too old for who asks from now on
            try:
                async with asyncio.timeout_at(deadline):
                    found = await self._api.quotas(namespace)
            except Exception as error:  # noqa: BLE001 - whatever it is, the review that waits is answered
                self._failed(LIVE, error)
                return None
        self._works(LIVE)
        return Snapshot(found.quotas).of(namespace)

    def _works(self, read: str) -> None:
        """Say so in the log, if that it does not was said there."""
        if read == "watch":
            self._failures = 0
        if self._told.pop(read, None):
            logs.info("quotas can be read again", read=read)

    def _failed(self, read: str, error: Exception) -> None:
        """Count each failure, but tell the reason only when it is a new one."""
        self._metrics.quotas_unread(read)
        what = str(error) if isinstance(error, ReadError) else repr(error)
        reason = f"no answer within {LIVE_SECONDS:g} s" if isinstance(error, TimeoutError) else what
        if self._told.get(read) != reason:
            self._told[read] = reason
            logs.warning("quotas cannot be read", read=read, reason=reason, age=round(self.age(), 1))
