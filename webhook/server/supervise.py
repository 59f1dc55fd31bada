"""The supervisor of followers: an error in one never ends the server."""

import asyncio
from collections.abc import Awaitable, Callable
from random import random as random_number
from time import monotonic
from traceback import format_exc

from webhook.cluster.backoff import Backoff
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics


async def keep_running(
    name: str,
    follow: Callable[[], Awaitable[None]],
    metrics: Metrics,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run the follower until cancelled; log and count each unexpected error, wait, and start it again."""
    backoff = Backoff(monotonic, random_number)
    while True:
        try:
            await follow()
        except Exception:  # noqa: BLE001 - reviews go on, whatever it is
            pause = backoff.pause()
            metrics.follower_failed(name)
            logs.warning("follower failed", follower=name, again_in=round(pause, 1), traceback=format_exc(limit=-20))
            await sleep(pause)
