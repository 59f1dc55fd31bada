"""A follower that fails is told, counted and started again; nothing but a cancellation ends it."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from webhook.server.supervise import keep_running
from webhook.telemetry.metrics import Metrics


def failures(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("flyte_admission_follower_errors_total", {"follower": "policy"})


@pytest.mark.parametrize("error", [KeyError("x"), OverflowError("date value out of range"), RecursionError()])
async def test_it_is_told_counted_and_started_again_after_a_pause(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, pauses, runs, forever = Metrics(), list[float](), list[int](), asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def follow() -> None:
        runs.append(len(runs))
        if len(runs) < 4:
            raise error
        forever.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("policy", follow, metrics, sleep))
    await asyncio.wait_for(forever.wait(), 10)
    assert (len(runs), failures(metrics)) == (4, 3)
    assert [0.8 * 2**number <= pause < 1.6 * 2**number for number, pause in enumerate(pauses)] == [True] * 3
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["follower"]) for line in lines] == [("follower failed", "policy")] * 3
    assert all(type(error).__name__ in line["traceback"] and "follow" in line["traceback"] for line in lines)
    await ended(task, forever.wait)


async def ended(task: asyncio.Task[None], before: Callable[[], Awaitable[object]]) -> None:
    await before()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_in_its_pause_ends_it_too() -> None:
    sleeping = asyncio.Event()

    async def sleep(_: float) -> None:
        sleeping.set()
        await asyncio.Event().wait()

    async def follow() -> None:
        raise ValueError

    await ended(asyncio.create_task(keep_running("policy", follow, Metrics(), sleep)), sleeping.wait)
