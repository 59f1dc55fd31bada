"""What the command line reads of a cluster, once: the Pods and jobs of Flyte, or any other list."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from webhook.cluster.client import CORE, ClusterClient, connect
from webhook.cluster.quota_answers import ReadError
from webhook.jobs import KINDS
from webhook.shared.kubeconfig import ConfigError

ERRORS: Final = (ConfigError, ReadError)
# Each finds some of the Pods that webhook.flyte.task takes for Flyte's; a selector cannot say "or".
SELECTORS: Final = ("execution-id", "flyte.org/run", "flyte.org/managed=true")
RUNNING: Final = "status.phase!=Succeeded,status.phase!=Failed"
# Each kind's resource, and the path of its API.
RESOURCES: Final = {
    "Pod": ("pods", CORE),
    "ResourceQuota": ("resourcequotas", CORE),
    "LimitRange": ("limitranges", CORE),
    **{kind.name: (resource, f"/apis/{group}/{kind.version}") for (group, resource), kind in KINDS.items()},
}


class Listing(NamedTuple):
    """A list of one resource, of one namespace or of all, and what selects from it."""

    resource: str
    namespace: str = ""
    api: str = CORE
    labelSelector: str = ""
    fieldSelector: str = ""


def read(kubeconfig: Path, namespace: str, kind: str, name: str, seen: Callable[[], None]) -> list[dict[str, Any]]:
    """Return objects of one namespace, or of all, as plain data, and call `seen` for each; one of ERRORS if that fails.

    They are the ResourceQuotas, the LimitRanges, the Pods of Flyte that run, its jobs of one kind, or the Pod of that
    name.
    """
    resource, api = RESOURCES[kind]
    listings = [Listing(resource, namespace, api, **selection) for selection in _selections(kind, name)]
    return asyncio.run(_read(connect(kubeconfig), listings, seen))


def read_list(kubeconfig: Path, listing: Listing, seen: Callable[[], None]) -> list[dict[str, Any]]:
    """Return the objects of a list as plain data, and call `seen` for each; one of ERRORS if that fails."""
    return asyncio.run(_read(connect(kubeconfig), [listing], seen))


def read_metrics(kubeconfig: Path) -> str:
    """Return the metrics of the API server; one of ERRORS if that fails."""
    return asyncio.run(_metrics(connect(kubeconfig)))


def _selections(kind: str, name: str) -> list[dict[str, str]]:
    if name:
        return [{"fieldSelector": f"metadata.name={name}"}]
    if kind in ("ResourceQuota", "LimitRange"):
        return [{}]
    running = {"fieldSelector": RUNNING} if kind == "Pod" else {}  # nothing selects by the status of a job
    return [{"labelSelector": labels, **running} for labels in SELECTORS]


async def _read(client: ClusterClient, listings: list[Listing], seen: Callable[[], None]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        for listing in listings:
            async for each in client.list_objects(**listing._asdict()):
                found[each["metadata"].get("namespace", ""), each["metadata"]["name"]] = each
                seen()
    finally:
        await client.close()
    return [*found.values()]


async def _metrics(client: ClusterClient) -> str:
    try:
        return await client.metrics()
    finally:
        await client.close()
