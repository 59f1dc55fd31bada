"""The longest stall of the event loop while quotas, policy and certificate are read beside it, and figures scraped."""

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import uvloop
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import generate_latest

from benchmarks import samples
from benchmarks.request_path import some_quotas, whole
from benchmarks.scale import policy_with
from benchmarks.turns import Figure, Found, against, in_turns, run
from tests import fake_apiserver, x509
from webhook.cluster.client import ClusterClient
from webhook.cluster.informer import Informer
from webhook.cluster.ledger import Ledger
from webhook.policy.file import load
from webhook.server import collector, reload
from webhook.server.certificate import CertificateFiles, ServingCertificate
from webhook.server.state import State
from webhook.telemetry.metrics import Metrics

SIZE, QUICK = 5_000, 5  # overrides, and namespaces with two quotas each
ROUNDS = 5
PAUSE: Final = 0.001  # seconds
PAGE: Final = 500
NAMES: Final = ("a", "b")


@dataclass(frozen=True)
class Running:
    """A webhook in this process, whose cluster is in another one."""

    state: State
    informer: Informer
    serving: ServingCertificate
    folder: Path
    size: int


Case: TypeAlias = Callable[[Running], Coroutine[None, None, None]]


async def nothing(_: Running) -> None:
    """The control: as long as the others take, or so."""
    await asyncio.sleep(0.5)


async def quotas(running: Running) -> None:
    """A list, a second one for the first has expired, and a watch with a change of each quota at once."""
    following = asyncio.create_task(running.informer.run())
    last = f"p{running.size - 1}-development"
    while [str(quota.used["limits.cpu"]) for quota in of(running, last)] != ["2", "2"]:  # noqa: ASYNC110 - the state itself
        await asyncio.sleep(PAUSE)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


def of(running: Running, namespace: str) -> Any:
    """The quotas of a namespace as they are known."""
    return running.informer.quotas(namespace)


async def live(running: Running) -> None:
    """A read of one namespace."""
    await running.informer.live("p0-development")


async def policy(running: Running) -> None:
    """A file with other contents, taken up, and a first review by it."""
    await reload.poll_policy(running.folder / "policy.yaml", "", running.state)
    whole(samples.review(0, "p1-development"), running.state.policy, some_quotas(2))


async def certificate(running: Running) -> None:
    """Another certificate and another CA, taken up at the second look."""
    write_certificate(running.folder)
    for _ in range(2):
        await asyncio.to_thread(running.serving.poll)


async def metrics(running: Running) -> None:
    """A scrape."""
    generate_latest(running.state.metrics.registry)


CASES: Final[dict[str, Case]] = {
    "nothing": nothing, "list, relist, burst": quotas, "live read": live, "policy": policy,
    "certificate": certificate, "metrics": metrics,
}  # fmt: skip


def write_certificate(folder: Path) -> None:
    """A fresh one, as a Secret has it."""
    root = x509.root()
    leaf = root.issue()
    for name, content in (("ca.crt", root.crt), ("tls.crt", leaf.crt), ("tls.key", leaf.pem_key)):
        (folder / name).write_bytes(content)


def turn(case: Case, size: int) -> Callable[[], Found]:
    """A turn: a webhook with so many overrides, and what happens to its event loop meanwhile."""

    def taken() -> Found:
        with ExitStack() as stack:
            directory, url = stack.enter_context(TemporaryDirectory()), stack.enter_context(cluster(size))
            stack.enter_context(redirect_stderr(stack.enter_context(Path(os.devnull).open("w"))))  # the log
            return {"longest stall, ms": uvloop.run(longest_stall(case, Path(directory), url, size)) * 1000}

    return taken


async def longest_stall(case: Case, folder: Path, url: str, size: int) -> float:
    """Seconds that a task which sleeps for a millisecond, again and again, takes for that at the most.

    Not counted is for how long other processes had the machine: that time is of all threads here, so that this may be
    too little by what one of them waits while another one runs.
    """
    loaded, figures = load(policy_with(size), "policy.yaml"), Metrics()
    write_certificate(folder)
    (folder / "policy.yaml").write_text(policy_with(size) + "# changed\n")
    informer = Informer(ClusterClient(ApiClient(Configuration(host=url))), figures)
    serving = ServingCertificate(CertificateFiles(folder / "tls.crt", folder / "tls.key"), figures)
    state = State(loaded.policy, Ledger([]), figures, digest=loaded.policy.digest, cluster=informer)
    collector.freeze()
    doing = asyncio.create_task(case(Running(state, informer, serving, folder, size)))
    longest = 0.0
    while not doing.done():
        start = time.perf_counter() - waited()
        await asyncio.sleep(PAUSE)
        longest = max(longest, time.perf_counter() - waited() - start)
    await doing
    await informer.close()
    return longest


def waited() -> float:
    """Seconds that the threads of this process could have run in and had no CPU to run on."""
    return sum(int(task.read_text().split()[1]) for task in Path("/proc/self/task").glob("*/schedstat")) / 1e9


@contextmanager
def cluster(size: int) -> Iterator[str]:
    """The URL of one in a process of its own, for its work is not to be measured."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, size))
    process.start()
    theirs.close()  # so that its end is seen here
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def serve(parent: Connection, size: int) -> None:
    """Answer until terminated."""
    found = [samples.quota(f"p{number}-development", name) for number in range(size) for name in NAMES]
    begins = range(0, len(found), PAGE)
    pages = [fake_apiserver.page(*found[at : at + PAGE], more=str(at) if at != begins[-1] else "") for at in begins]
    changes = [{"type": "MODIFIED", "object": changed(quota, number)} for number, quota in enumerate(found)]
    replies = {
        "list": [*pages, *pages], "live": [fake_apiserver.page(*found[:2])],
        "watch": [fake_apiserver.status(410), fake_apiserver.stream(*changes, end=fake_apiserver.SILENCE)],
    }  # fmt: skip

    async def answer() -> None:
        async with fake_apiserver.FakeApiServer(replies) as server:
            parent.send(server.url)
            await asyncio.Event().wait()

    asyncio.run(answer())


def changed(quota: samples.Json, number: int) -> samples.Json:
    """The quota after one more Pod."""
    metadata = {**quota["metadata"], "resourceVersion": str(100 + number)}
    return {**quota, "metadata": metadata, "status": {**quota["status"], "used": dict.fromkeys(samples.HARD, "2")}}


def measure(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - the only argument
    """Each case in a webhook of its own."""
    size = QUICK if quick else SIZE
    turns = {name: turn(case, size) for name, case in CASES.items()}
    yield from against("nothing", in_turns(turns, 1 if quick else ROUNDS))


if __name__ == "__main__":
    run(__doc__, "nothing happens for half a second", measure)
