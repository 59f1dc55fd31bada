"""Starts what is measured: our webhook as its users run it, and the controls, each a process of its own."""

import asyncio
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks import constant, samples
from benchmarks.load import Target
from tests import fake_apiserver
from tests.e2e.controlplane import binaries, processes
from webhook.server import tls

PATIENCE: Final = 120.0  # seconds
PAUSE: Final = 0.002  # seconds between two looks
POLICY: Final = samples.EXAMPLES / "policy.yaml"
CONTROLLER: Final = Path(__file__).resolve().parent / "controller"
PAGE: Final = 500  # quotas of one answer, as the webhook asks for them


@dataclass(frozen=True)
class Server:
    """A process that answers reviews."""

    process: subprocess.Popen[bytes]
    log: Path
    certificate: Path
    started: float  # by time.perf_counter

    def target(self) -> Target:
        """Where it is."""
        return Target(f"{self.event('listening')['webhook']}/mutate", self.certificate)

    def event(self, name: str) -> dict[str, Any]:
        """What it logs under this name, once it does."""
        while True:
            for line in self.log.read_text().splitlines():
                if line.startswith("{") and (found := json.loads(line))["event"] == name:
                    return dict(found)
            if self.process.poll() is not None or time.perf_counter() > self.started + PATIENCE:
                sys.exit(f"no {name!r} in the log of {self.process.args!r}:\n{self.log.read_text()}")
            time.sleep(PAUSE)

    def seconds_to_ready(self) -> float:
        """From its start until it says that it is ready."""
        where = urlsplit(self.event("listening")["health"])
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
        while True:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                connection.close()
                return time.perf_counter() - self.started
            time.sleep(PAUSE)

    def cpu_seconds(self) -> float:
        """What all its threads have run so far."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def megabytes(self, field: str = "VmRSS") -> float:
        """What it has in memory; VmHWM is the most it had."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


@contextmanager
def control(answer: bytes = constant.ALLOWED) -> Iterator[Server]:
    """The constant route; UID in the answer stands for the request's."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "answer").write_bytes(answer)
        certificate, key = tls.make_self_signed(folder, ["127.0.0.1"])
        command = [sys.executable, constant.__file__, str(certificate), str(key), str(folder / "answer")]
        with _running(folder, certificate, command) as server:
            yield server


@contextmanager
def ours(
    quotas: Sequence[samples.Json] = (samples.quota(),), policy: Path = POLICY, kubeconfig: Path | None = None
) -> Iterator[Server]:
    """`flyte-admission serve` with the quotas of a cluster; without a kubeconfig, of one that has these."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        certificate, key = tls.make_self_signed(folder, ["127.0.0.1"])
        if kubeconfig is None:
            cluster = stack.enter_context(fake_apiserver.in_thread(_cluster(quotas)))
            kubeconfig = fake_apiserver.kubeconfig(folder, cluster.url)
        command = [sys.executable, "-m", "webhook", "serve", "--listen=127.0.0.1:0", "--health-listen=127.0.0.1:0",
                   f"--policy={policy}", f"--kubeconfig={kubeconfig}",
                   f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"]  # fmt: skip
        yield stack.enter_context(_running(folder, certificate, command))


@contextmanager
def controller() -> Iterator[Server]:
    """The webhook in Go, with controller-runtime; MissingError where it is not built and cannot be."""
    program = binaries.from_modules(os.environ, CONTROLLER) / CONTROLLER.name
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        certificate, _ = tls.make_self_signed(folder, ["127.0.0.1"])
        (port,) = processes.free_ports(1)
        with _running(folder, certificate, [str(program), f"--port={port}", f"--cert-dir={folder}"]) as server:
            yield server


@contextmanager
def side_by_side() -> Iterator[dict[str, Server]]:
    """The control and what is compared with it, all ready; the webhook in Go is left out where it cannot be built."""
    with ExitStack() as stack:
        running = {"control": stack.enter_context(control()), "webhook": stack.enter_context(ours())}
        running["webhook"].seconds_to_ready()
        try:
            running["Go webhook"] = stack.enter_context(controller())
            running["Go webhook"].seconds_to_ready()
        except binaries.MissingError as error:
            print(f"without the Go webhook: {error}\n")
        yield running


def _cluster(quotas: Sequence[samples.Json]) -> fake_apiserver.FakeApiServer:
    """One that lists these quotas page by page, and then tells of no change."""
    begins = range(0, max(len(quotas), 1), PAGE)
    pages = [
        fake_apiserver.page(*quotas[begin : begin + PAGE], more="more" if begin != begins[-1] else "")
        for begin in begins
    ]
    return fake_apiserver.FakeApiServer({"list": pages, "watch": [_no_change]})


async def _no_change(writer: asyncio.StreamWriter) -> None:
    """A watch that goes on until the server is stopped."""
    with suppress(asyncio.CancelledError):
        await fake_apiserver.stream(end=fake_apiserver.SILENCE)(writer)


@contextmanager
def _running(folder: Path, certificate: Path, command: Sequence[str]) -> Iterator[Server]:
    log = folder / "log"
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stderr=output, env=os.environ)
        try:
            yield Server(process, log, certificate, start)
        finally:
            process.terminate()
            process.wait(PATIENCE)
