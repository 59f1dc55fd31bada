"""What the command line reads of a cluster, once: the Pods of Flyte that run, and the ResourceQuotas."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from webhook.cluster.client import QuotaClient, connect
from webhook.cluster.quota_answers import ReadError
from webhook.shared.kubeconfig import ConfigError

ERRORS: Final = (ConfigError, ReadError)
# Each finds some of the Pods that webhook.flyte.task takes for Flyte's; a selector cannot say "or".
SELECTORS: Final = ("execution-id", "flyte.org/run", "flyte.org/managed=true")
RUNNING: Final = "status.phase!=Succeeded,status.phase!=Failed"


RESOURCES: Final = {"Pod": "pods", "ResourceQuota": "resourcequotas"}


def read(kubeconfig: Path, namespace: str, kind: str, name: str, seen: Callable[[], None]) -> list[dict[str, Any]]:
    """Return objects of one namespace, or of all, as plain data, and call `seen` for each; one of ERRORS if that fails.

    They are the ResourceQuotas, the Pods of Flyte that run, or the Pod of that name.
    """
    return asyncio.run(_read(connect(kubeconfig), namespace, RESOURCES[kind], _selections(kind, name), seen))


def _selections(kind: str, name: str) -> list[dict[str, str]]:
    if name:
        return [{"fieldSelector": f"metadata.name={name}"}]
    return [{"labelSelector": labels, "fieldSelector": RUNNING} for labels in SELECTORS] if kind == "Pod" else [{}]


async def _read(
    client: QuotaClient, namespace: str, resource: str, selections: list[dict[str, str]], seen: Callable[[], None]
) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        for selection in selections:
            async for each in client.list_objects(resource, namespace, **selection):
                found[each["metadata"]["namespace"], each["metadata"]["name"]] = each
                seen()
    finally:
        await client.close()
    return [*found.values()]
