"""The followers of the policy file, the certificate and the cluster while the server runs.

The files are polled. Mounted volumes change by a swap of symlinks, and a watch on a file would see only the first. What
cannot be used changes nothing.
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
from webhook.server.certificate import ServingCertificate
from webhook.server.state import State
from webhook.server.supervise import keep_running

POLL_SECONDS: Final = 5.0  # the kubelet takes a minute or so to bring a change


@asynccontextmanager
async def run_followers(path: Path, serving: ServingCertificate, state: State) -> AsyncIterator[None]:
    """Follow the policy, the certificate and the cluster during the block."""
    followers: dict[str, Callable[[], Awaitable[None]]] = {
        "policy": lambda: follow_policy(path, state),
        "certificate": lambda: follow_certificate(serving),
    }
    if state.cluster:
        followers["quotas"] = state.cluster.run
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(keep_running(name, run, state.metrics)) for name, run in followers.items()]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            if state.cluster:
                await state.cluster.close()


async def follow_policy(path: Path, state: State) -> None:
    """Poll the policy file until cancelled."""
    seen = state.digest
    while True:
        await asyncio.sleep(POLL_SECONDS)
        seen = await poll_policy(path, seen, state)


async def follow_certificate(serving: ServingCertificate) -> None:
    """Poll the files of the certificate until cancelled."""
    while True:
        await asyncio.to_thread(serving.poll)
        await asyncio.sleep(POLL_SECONDS)


async def poll_policy(path: Path, seen: str, state: State) -> str:
    """Read the file, and use it if its digest is not `seen`; return the digest, empty if it cannot be read.

    A pipe is read once, at the start: later it is empty, or blocks.
    """
    if await asyncio.to_thread(path.is_fifo):
        return seen
    try:
        text = await asyncio.to_thread(path.read_text, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        state.keep_policy(f"{path}: {error}")
        return ""
    if (found := digest(text)) != seen:
        await _use_policy(text, path, state)
    return found


async def _use_policy(text: str, path: Path, state: State) -> None:
    """Use the policy in the text, or keep the last good one."""
    try:
        state.use_policy(await asyncio.to_thread(_load_policy, text, str(path)))
    except ProblemsError as error:
        state.keep_policy(str(error))


def _load_policy(text: str, file: str) -> LoadedPolicy:
    """Load the policy, and memoise what its first review would otherwise compute."""
    with collector.paused():
        loaded = load(text, file)
        loaded.policy.matching(TaskScope())
        return loaded
