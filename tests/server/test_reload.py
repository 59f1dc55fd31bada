"""The policy follows its file through the swaps of a ConfigMap volume; a bad file keeps the last good one."""

import asyncio
import contextlib
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from starlette.types import Message

from webhook.cluster.ledger import Ledger
from webhook.flyte.task import Task
from webhook.http.probes import probes
from webhook.policy.file import LoadedPolicy, load
from webhook.server import reload
from webhook.server.state import State

GOOD, BETTER = "task_resources: {limits: {cpu: 4}}", "task_resources: {limits: {cpu: 8}}"
BAD = "task_resources:\n  limits: {cpu: four}\n"


class Volume:
    """A mounted ConfigMap: the file is a link into ..data, which is a link to a folder that the kubelet replaces."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.generation = folder, 0
        self.file = folder / "policy.yaml"
        self.write(text)
        self.file.symlink_to("..data/policy.yaml")

    def write(self, text: str | bytes) -> None:
        self.generation += 1
        fresh = self.folder / f"..{self.generation}"
        fresh.mkdir()
        (fresh / "policy.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        link = self.folder / "..data_tmp"
        link.symlink_to(fresh.name)
        link.rename(self.folder / "..data")


@pytest.fixture
async def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.005)
    return Volume(tmp_path, GOOD)


@pytest.fixture
async def state(volume: Volume) -> AsyncIterator[State]:
    loaded = load(GOOD, str(volume.file))
    state = State(loaded.policy, Ledger([]), digest=loaded.policy.digest)
    following = asyncio.create_task(reload.follow_policy(volume.file, state))
    yield state
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is the state itself
            await asyncio.sleep(0)


async def readyz(state: State) -> tuple[int, str]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/readyz", "headers": [], "query_string": b""}
    await probes(state.readiness, state.metrics.registry)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


def limit(state: State) -> str:
    return str(state.policy.platform.limits["cpu"].value)


def metrics(state: State) -> list[str]:
    text = generate_latest(state.metrics.registry).decode()
    return [line for line in text.splitlines() if line.startswith("flyte_admission_policy_")]


async def test_a_new_content_is_used(volume: Volume, state: State) -> None:
    volume.write(BETTER)
    await until(lambda: limit(state) == "8")
    volume.write(GOOD)
    await until(lambda: limit(state) == "4")
    assert 'flyte_admission_policy_reloads_total{result="good"} 3.0' in metrics(state)
    assert f'flyte_admission_policy_info{{digest="{load(GOOD, "x").policy.digest}"}} 1.0' in metrics(state)


@pytest.mark.parametrize(("content", "problem"), [(BAD, ":2:17: "), (b"\xff", "utf-8"), ("", "nothing in the file")])
async def test_a_bad_content_keeps_the_last_good_policy_and_is_told(
    volume: Volume, state: State, content: str | bytes, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    volume.write(content)
    await until(lambda: state.policy_problem != "")
    assert (limit(state), problem in state.policy_problem) == ("4", True)
    assert await readyz(state) == (200, "ok\npolicy: not in use, see the log\n")
    assert 'flyte_admission_policy_reloads_total{result="bad"} 1.0' in metrics(state)
    assert problem in capsys.readouterr().err
    volume.write(GOOD)
    await until(lambda: state.policy_problem == "")
    assert await readyz(state) == (200, "ok\n")


async def test_a_policy_that_came_through_a_pipe_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    loaded = load(GOOD, str(pipe))
    state = State(loaded.policy, Ledger([]), digest=loaded.policy.digest)
    assert await reload.poll_policy(pipe, state.digest, state) == state.digest
    assert (state.policy, state.policy_problem) == (loaded.policy, "")


async def test_what_has_not_changed_is_not_read_again_nor_told_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(GOOD)
    loaded = load(GOOD, str(file))
    state = State(loaded.policy, Ledger([]), digest=loaded.policy.digest)
    assert await reload.poll_policy(file, state.digest, state) == state.digest
    assert (state.policy, capsys.readouterr().err) == (loaded.policy, "")
    file.unlink()
    assert [await reload.poll_policy(file, "", state) for _ in range(3)] == ["", "", ""]
    assert capsys.readouterr().err.count("\n") == 1


async def test_a_policy_that_is_replaced_is_freed_without_a_garbage_collection(volume: Volume, state: State) -> None:
    volume.write(f"{BETTER}\noverrides: [{{project: p, limits: {{cpu: 2}}}}]")
    await until(lambda: limit(state) == "8")
    state.policy.settings(Task(1, "p", "d"), "p-d", "2026-01-01")
    before = weakref.ref(state.policy)
    gc.disable()
    try:
        volume.write(GOOD)
        await until(lambda: limit(state) == "4")
        assert before() is None
    finally:
        gc.enable()


async def test_a_policy_is_read_in_a_thread_and_the_event_loop_goes_on(
    volume: Volume, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def slow(text: str, file: str) -> LoadedPolicy:
        reading.set()
        assert go_on.wait(10)
        return load(text, file)

    monkeypatch.setattr(reload, "load", slow)
    volume.write(BETTER)
    await until(reading.is_set)
    assert limit(state) == "4"
    go_on.set()
    await until(lambda: limit(state) == "8")


async def test_a_file_that_was_gone_is_taken_up_when_it_is_back(volume: Volume, state: State) -> None:
    (volume.folder / "..data").unlink()
    await until(lambda: state.policy_problem != "")
    volume.write(BETTER)
    await until(lambda: limit(state) == "8")
