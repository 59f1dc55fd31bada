"""What the command line reads of a cluster, once: the Pods of Flyte that run, and the ResourceQuotas."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, Final

from webhook.cluster.client import QuotaClient, connect
from webhook.cluster.quota_answers import ReadError
from webhook.shared.kubeconfig import ConfigError

ERRORS: Final = (ConfigError, ReadError)
# Each finds some of the Pods that webhook.flyte.task takes for Flyte's; a selector cannot say "or".
SELECTORS: Final = ("execution-id", "flyte.org/run", "flyte.org/managed=true")
RUNNING: Final = "status.phase!=Succeeded,status.phase!=Failed"


def read(kubeconfig: Path, namespace: str, kind: str, name: str = "") -> list[dict[str, Any]]:
    """Return objects of one namespace, or of all, as plain data; one of ERRORS if that fails.

    They are the ResourceQuotas, the Pods of Flyte that run, or the Pod of that name.
    """
    client = connect(kubeconfig)
    if kind == "ResourceQuota":
        reading = _all(client.list_objects("resourcequotas", namespace))
    elif name:
        reading = _all(client.list_objects("pods", namespace, fieldSelector=f"metadata.name={name}"))
    else:
        reading = _pods(client, namespace)
    return asyncio.run(_closing(client, reading))


async def _closing(client: QuotaClient, reading: Awaitable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        return await reading
    finally:
        await client.close()


async def _pods(client: QuotaClient, namespace: str) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for selector in SELECTORS:
        async for pod in client.list_objects("pods", namespace, labelSelector=selector, fieldSelector=RUNNING):
            found[pod["metadata"]["uid"]] = pod
    return [*found.values()]


async def _all(objects: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found async for found in objects]
