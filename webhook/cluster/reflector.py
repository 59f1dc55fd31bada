"""Follows the objects of one kind: one list, then watches from its resourceVersion on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random as random_number
from time import monotonic
from typing import Final, Generic

from webhook.cluster.backoff import Backoff
from webhook.cluster.client import ClusterClient
from webhook.cluster.kinds import QUOTAS, Kind, T
from webhook.cluster.quota_answers import GONE, Event, ReadError, Unreadable
from webhook.cluster.skipped import Skipped
from webhook.cluster.snapshot import MOST_READ, Snapshot
from webhook.telemetry import logs

WATCH_SECONDS: Final = 300.0  # at least; up to twice as long, so that the watches of replicas do not end together
# Seconds; a watch that ends sooner with no news has failed. To client-go, any bookmark is news. Here it must have a new
# resourceVersion: a server that repeats the same bookmark would otherwise be asked without a pause.
SHORT_WATCH: Final = 1.0
ATTEMPTS: Final = 2  # of a watch at one resourceVersion; after these, a new list gets past what the watch cannot


@dataclass(frozen=True, slots=True)
class Time:
    """Clock, randomness and sleep, which tests replace so that they need not wait."""

    clock: Callable[[], float] = monotonic
    random: Callable[[], float] = random_number
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Reflector(Generic[T]):
    """A cache of the cluster's objects of one kind."""

    def __init__(
        self,
        client: ClusterClient,
        kind: Kind[T],
        time: Time,
        failed: Callable[[str], None],
        connecting: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Start empty; `run` reads, and calls `failed` with the kind of each read that fails.

        `connecting` is called before each list and watch.
        """
        self.synced = False
        self.failing: dict[str, str] = {}  # kind of read -> why it fails at present
        self.snapshot: Snapshot[T] = Snapshot()
        self._client, self._kind, self._time, self._count = client, kind, time, failed
        self._connecting = connecting
        self.changed: Callable[[T], object] = lambda _: None  # for each version of an object that a watch brings
        self._of_quotas = kind.resource == QUOTAS.resource
        self._crowded: set[str] = set()  # the namespaces that the log has named
        self.skipped = Skipped(of_quotas=self._of_quotas)
        self._backoff = Backoff(time.clock, time.random)
        self._failures = 0  # of the watch at this version
        self._version = ""  # the resourceVersion of the next watch; empty if a list is due
        self._contact = time.clock()

    def age(self) -> float:
        """Return the seconds since the API server last sent something."""
        return self._time.clock() - self._contact

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            await self._step()

    async def _step(self) -> None:
        read = "watch" if self._version else "list"
        if self._connecting:
            await self._connecting()
        try:
            await (self._watch() if self._version else self._list())
        except Exception as error:
            self._failures += 1
            gone = isinstance(error, ReadError) and error.status == GONE
            if gone or self._failures >= ATTEMPTS:
                self._version = ""
            if not isinstance(error, ReadError):
                raise
            self.failed(read, str(error))
            await self._time.sleep(max(self._backoff.pause(), error.retry_after))

    async def _list(self) -> None:
        found = await self._client.list(self._kind)
        self.snapshot = await asyncio.to_thread(Snapshot, found.items)
        self.skipped.replace(found.unreadable)
        self._name_crowded()
        self._version, self._failures = found.version, 0
        self._contact = self._time.clock()
        self.succeeded("list")
        if not self.synced:
            self.synced = True
            logs.info(
                "quotas synced" if self._of_quotas else "limit ranges synced",
                number=len(found.items),
                unreadable=len(found.unreadable),
            )

    async def _watch(self) -> None:
        start, version = self._time.clock(), self._version
        seconds = WATCH_SECONDS * (1 + self._time.random())
        async with self._client.watch(self._kind, version, seconds) as events:
            timer = asyncio.get_running_loop().call_later(SHORT_WATCH, self.succeeded, "watch")
            try:
                async for event in events:
                    self._apply(event)
            finally:
                timer.cancel()
        if self._version == version and self._time.clock() - start < SHORT_WATCH:
            raise ReadError("it ended within a second and brought nothing")
        self._contact = self._time.clock()
        self.succeeded("watch")

    def _apply(self, event: Event[T]) -> None:
        if event.type != "BOOKMARK":
            self._store(event)
        self._contact = self._time.clock()
        if (version := event.metadata.resource_version) and version != self._version:
            self._version, self._failures = version, 0
            self.succeeded("watch")

    def _store(self, event: Event[T]) -> None:
        found = event.object
        if isinstance(found, Unreadable):  # what it was before no longer counts
            self.snapshot.remove(found.metadata)
            self.skipped.put(found)
            return
        self.skipped.remove(event.metadata)
        if found is None:
            self.snapshot.remove(event.metadata)
        else:
            self.snapshot.put(found)
            self.changed(found)
        self._name_crowded()

    def _name_crowded(self) -> None:
        """Log each namespace once that has more objects than a review reads."""
        for namespace in sorted(self.snapshot.crowded - self._crowded):
            logs.warning("too many ResourceQuotas" if self._of_quotas else "too many LimitRanges", namespace=namespace,
                         hint=f"a review reads the first {MOST_READ} by name")  # fmt: skip
        self._crowded = set(self.snapshot.crowded)

    def succeeded(self, read: str) -> None:
        """Log the recovery if the failure was logged."""
        if self.failing.pop(read, None):
            logs.info("quotas can be read again" if self._of_quotas else "limit ranges can be read again", read=read)

    def failed(self, read: str, reason: str) -> None:
        """Count each failure; log the reason when it is a new one."""
        self._count(read)
        if self.failing.get(read) != reason:
            self.failing[read] = reason
            logs.warning(
                "quotas cannot be read" if self._of_quotas else "limit ranges cannot be read",
                read=read,
                reason=reason,
                age=round(self.age(), 1),
            )
