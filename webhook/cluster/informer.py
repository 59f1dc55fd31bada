"""The informer of the cluster's ResourceQuotas and LimitRanges, and of live quotas that confirm a denial."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import ResourceQuota
from webhook.api.version import NEWEST
from webhook.cluster.client import ClusterClient
from webhook.cluster.kinds import LIMIT_RANGES, QUOTAS
from webhook.cluster.quota_answers import ReadError
from webhook.cluster.reflector import Reflector, Time
from webhook.cluster.reservations import Reservations
from webhook.cluster.snapshot import Snapshot
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics

LIVE_SECONDS: Final = 0.8  # the timeout of a live read; the API server waits two seconds for the review
LIVE: Final = "live"  # the third kind of read, besides list and watch


class Informer:
    """A cache of the cluster's quotas and LimitRanges, and live reads that confirm a denial.

    It runs on one event loop. Without LimitRanges it works too: an older ClusterRole does not have the right to them.
    """

    def __init__(self, client: ClusterClient, metrics: Metrics, time: Time = Time()) -> None:  # noqa: B008 - immutable
        """Start empty; `run` reads."""
        self.reservations = Reservations(time.clock)
        self._client, self._sleep = client, time.sleep
        self.kubernetes = NEWEST  # until the API server has said its version
        self._version_problem = ""
        self._quotas = Reflector(client, QUOTAS, time, metrics.quota_read_failed, self._read_version)
        self._quotas.changed = self.reservations.see
        self._limit_ranges = Reflector(client, LIMIT_RANGES, time, metrics.limit_range_read_failed)
        self._next: dict[str, asyncio.Task[Sequence[ResourceQuota] | None]] = {}  # live reads by namespace, not begun
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        metrics.observe_cache(
            self.age,
            lambda: self._quotas.synced,
            lambda: len(self._quotas.skipped),
            lambda: len(self._quotas.snapshot.crowded),
        )

    @property
    def synced(self) -> bool:
        """Whether all quotas have been read at least once, and all LimitRanges, or it is known why not."""
        return self._quotas.synced and (self._limit_ranges.synced or bool(self._limit_ranges.failing))

    @property
    def problems(self) -> Mapping[str, str]:
        """What fails at present, and why; empty while the cache follows the cluster."""
        quotas = {read: why for read, why in self._quotas.failing.items() if read != LIVE}
        return quotas | {f"{read} of LimitRanges": why for read, why in self._limit_ranges.failing.items()}

    def age(self) -> float:
        """Return the seconds since the API server last sent something about quotas."""
        return self._quotas.age()

    def quotas(self, namespace: str) -> Sequence[ResourceQuota]:
        """Return the cached quotas of the namespace, by name."""
        return self._quotas.snapshot.of(namespace)

    def by_namespace(self) -> Mapping[str, Sequence[ResourceQuota]]:
        """Return the cached quotas of all namespaces."""
        return self._quotas.snapshot.by_namespace()

    def limit_ranges(self, namespace: str) -> Sequence[LimitRange]:
        """Return the cached LimitRanges of the namespace, by name."""
        return self._limit_ranges.snapshot.of(namespace)

    async def run(self) -> None:
        """Follow both kinds until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._quotas.run())
            tasks.create_task(self._limit_ranges.run())

    async def _read_version(self) -> None:
        """Read the version of the API server: an upgrade ends each watch. Where that fails, the last one counts."""
        try:
            found = await self._client.version()
        except ReadError as error:
            if str(error) != self._version_problem:
                self._version_problem = str(error)
                logs.warning("version cannot be read", reason=str(error), kubernetes=str(self.kubernetes))
            return
        self._version_problem = ""
        if found != self.kubernetes:
            self.kubernetes = found
            logs.info("version read", kubernetes=str(found))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def live(self, namespace: str, wait: float = 0) -> Sequence[ResourceQuota] | None:
        """Read the namespace's quotas from the API server, by name; None if that fails or takes over LIVE_SECONDS.

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
                    found = await self._client.list(QUOTAS, namespace)
            except Exception as error:  # noqa: BLE001 - whatever it is, the review that waits is answered
                what = str(error) if isinstance(error, ReadError) else repr(error)
                reason = f"no answer within {LIVE_SECONDS:g} s" if isinstance(error, TimeoutError) else what
                self._quotas.failed(LIVE, reason)
                return None
        self._quotas.succeeded(LIVE)
        return Snapshot(found.items).of(namespace)
