"""The informer of the cluster's ResourceQuotas: one list, then watches from its resourceVersion on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import random as random_number
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from webhook.api.resource_quota import ResourceQuota
from webhook.cluster.backoff import Backoff
from webhook.cluster.client import QuotaClient
from webhook.cluster.quota_answers import GONE, Event, ReadError, Unreadable
from webhook.cluster.reservations import Reservations
from webhook.cluster.skipped import SkippedQuotas
from webhook.cluster.snapshot import Snapshot
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics

WATCH_SECONDS: Final = 300.0  # at least; up to twice as long, so that the watches of replicas do not end together
# Seconds; a watch that ends sooner with no news has failed. To client-go, any bookmark is news. Here it must have a new
# resourceVersion: a server that repeats the same bookmark would otherwise be asked without a pause.
SHORT_WATCH: Final = 1.0
LIVE_SECONDS: Final = 1.0  # the timeout of a live read; the API server waits two seconds for the review
ATTEMPTS: Final = 2  # of a watch at one resourceVersion; after these, a new list gets past what the watch cannot
LIVE: Final = "live"  # the third kind of read, besides list and watch


class Informer:
    """A cache of the cluster's quotas, and live reads that confirm a denial.

    It runs on one event loop. Clock, randomness and sleep are arguments, so that tests need not wait.
    """

    def __init__(
        self,
        client: QuotaClient,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = random_number,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start empty; `run` reads."""
        self.synced = False
        self.reservations = Reservations(clock)
        self._client, self._metrics = client, metrics
        self._clock, self._random, self._sleep = clock, random, sleep
        self._backoff = Backoff(clock, random)
        self._failing: dict[str, str] = {}  # kind of read -> why it fails at present
        self._snapshot, self._skipped = Snapshot(), SkippedQuotas()
        self._failures = 0  # of the watch at this version
        self._version = ""  # the resourceVersion of the next watch; empty if a list is due
        self._contact = clock()
        self._next: dict[str, asyncio.Task[Sequence[ResourceQuota] | None]] = {}  # live reads by namespace, not begun
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        metrics.observe_cache(self.age, lambda: self.synced, lambda: len(self._skipped))

    @property
    def problems(self) -> Mapping[str, str]:
        """What fails at present (list, watch), and why; empty while the cache follows the cluster."""
        return {read: why for read, why in self._failing.items() if read != LIVE}

    def age(self) -> float:
        """Return the seconds since the API server last sent something."""
        return self._clock() - self._contact

    def quotas(self, namespace: str) -> Sequence[ResourceQuota]:
        """Return the cached quotas of the namespace, by name."""
        return self._snapshot.of(namespace)

    def by_namespace(self) -> Mapping[str, Sequence[ResourceQuota]]:
        """Return the cached quotas of all namespaces."""
        return self._snapshot.by_namespace()

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            await self._step()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

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
        found = await self._client.list_quotas()
        self._snapshot = await asyncio.to_thread(Snapshot, found.quotas)
        self._skipped.replace(found.unreadable)
        self._version, self._failures = found.version, 0
        self._contact = self._clock()
        self._succeeded("list")
        if not self.synced:
            self.synced = True
            logs.info("quotas synced", quotas=len(found.quotas), unreadable=len(found.unreadable))

    async def _watch(self) -> None:
        start, version = self._clock(), self._version
        async with self._client.watch(version, WATCH_SECONDS * (1 + self._random())) as events:
            timer = asyncio.get_running_loop().call_later(SHORT_WATCH, self._succeeded, "watch")
            try:
                async for event in events:
                    self._apply(event)
            finally:
                timer.cancel()
        if self._version == version and self._clock() - start < SHORT_WATCH:
            raise ReadError("it ended within a second and brought nothing")
        self._contact = self._clock()
        self._succeeded("watch")

    def _apply(self, event: Event) -> None:
        if event.type != "BOOKMARK":
            self._store(event)
        self._contact = self._clock()
        if (version := event.quota.metadata.resource_version) and version != self._version:
            self._version = version
            self._succeeded("watch")

    def _store(self, event: Event) -> None:
        quota = event.quota
        if isinstance(quota, Unreadable):  # what it was before no longer counts
            self._snapshot.remove(quota.metadata)
            self._skipped.put(quota)
            return
        self._skipped.remove(quota.metadata)
        if event.type == "DELETED":
            self._snapshot.remove(quota.metadata)
        else:
            self._snapshot.put(quota)

    async def live(self, namespace: str, wait: float = 0) -> Sequence[ResourceQuota] | None:
        """Read the namespace's quotas from the API server, by name; None if that fails or takes over a second.

        Wait so many seconds before. Calls during a read share the next one: its result is never older than the call.
        """
        if wait:
            await self._sleep(wait)
        if namespace not in self._next:
            deadline = asyncio.get_running_loop().time() + LIVE_SECONDS
            self._next[namespace] = asyncio.create_task(self._read(namespace, deadline))
        return await asyncio.shield(self._next[namespace])

    async def _read(self, namespace: str, deadline: float) -> Sequence[ResourceQuota] | None:
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            del self._next[namespace]  # later calls need a newer read
            try:
                async with asyncio.timeout_at(deadline):
                    found = await self._client.list_quotas(namespace)
            except Exception as error:  # noqa: BLE001 - whatever it is, the review that waits is answered
                self._failed(LIVE, error)
                return None
        self._succeeded(LIVE)
        return Snapshot(found.quotas).of(namespace)

    def _succeeded(self, read: str) -> None:
        """Log the recovery if the failure was logged."""
        if read == "watch":
            self._failures = 0
        if self._failing.pop(read, None):
            logs.info("quotas can be read again", read=read)

    def _failed(self, read: str, error: Exception) -> None:
        """Count each failure; log the reason when it is a new one."""
        self._metrics.quota_read_failed(read)
        what = str(error) if isinstance(error, ReadError) else repr(error)
        reason = f"no answer within {LIVE_SECONDS:g} s" if isinstance(error, TimeoutError) else what
        if self._failing.get(read) != reason:
            self._failing[read] = reason
            logs.warning("quotas cannot be read", read=read, reason=reason, age=round(self.age(), 1))
