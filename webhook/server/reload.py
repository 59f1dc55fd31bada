"""Follow the policy file and the certificate while the server runs: mounted volumes change by a swap of symlinks.

The files are polled, for a watch on them would see the first swap only. What cannot be used changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from webhook.policy.file import LoadedPolicy, digest, load
from webhook.policy.model import TaskScope
from webhook.policy.yaml_text import ProblemsError
from webhook.server import collector
from webhook.server.certificate import Serving
from webhook.server.state import Service
from webhook.server.supervise import keep

POLL_SECONDS: Final = 5.0  # the kubelet takes a minute or so to bring a change


@asynccontextmanager
async def following(path: Path, serving: Serving, service: Service) -> AsyncIterator[None]:
    """Keep up with the policy, the certificate and the cluster during the block."""
    followers: dict[str, Callable[[], Awaitable[None]]] = {
        "policy": lambda: follow(path, service),
        "certificate": lambda: follow_certificate(serving),
    }
    if service.cluster:
        followers["quotas"] = service.cluster.run
    async with asyncio.TaskGroup() as tasks:
        kept = [tasks.create_task(keep(name, run, service.metrics)) for name, run in followers.items()]
        try:
            yield
        finally:
            for task in kept:
                task.cancel()
            if service.cluster:
                await service.cluster.close()


async def follow(path: Path, service: Service) -> None:
    """Have the service take up each new content of the file, or the reason why it cannot, until cancelled."""
    seen = service.digest
    while True:
        await asyncio.sleep(POLL_SECONDS)
        seen = await look(path, seen, service)


async def follow_certificate(serving: Serving) -> None:
    """Have it take up what its files hold, or tell why it cannot, until cancelled."""
    while True:
        await asyncio.to_thread(serving.look)
        await asyncio.sleep(POLL_SECONDS)


async def look(path: Path, seen: str, service: Service) -> str:
    """One look at the file: the digest of what it holds, none where it cannot be read; `seen` is the last one."""
    try:
        text = await asyncio.to_thread(path.read_text, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        service.keep_policy(f"{path}: {error}")
        return ""
    if (found := digest(text)) != seen:
        await take_up(text, path, service)
    return found


async def take_up(text: str, path: Path, service: Service) -> None:
    """Use the policy in the text from now on, or log what is wrong with it and go on with the last good one."""
    try:
        service.use_policy(await asyncio.to_thread(_prepared, text, str(path)))
    except ProblemsError as error:
        service.keep_policy(str(error))


def _prepared(text: str, file: str) -> LoadedPolicy:
    """Load the policy in a thread, with what its first review would have to work out."""
    with collector.halted():
        loaded = load(text, file)
        loaded.policy.matching(TaskScope())
        return loaded
