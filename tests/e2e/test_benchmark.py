"""The benchmarks that need Kubernetes or Go run, and what they compare does the same to the sample Pods."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonpatch
import pytest

from benchmarks import load, samples, servers
from benchmarks.samples import Json
from benchmarks.through_api_server import essence
from tests.e2e.controlplane import binaries
from tests.e2e.controlplane.binaries import Binaries

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


def measured(name: str, folder: Path) -> list[Json]:
    """The figures of a quick run."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--results", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(json.loads((folder / f"{name}.json").read_text())["figures"])


def patched(review: bytes, answer: bytes) -> Json:
    """The Pod of the review with the patch of the answer."""
    response = json.loads(answer)["response"]
    assert response["allowed"]
    pod = json.loads(review)["request"]["object"]
    return dict(jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"]))))


@pytest.fixture(scope="module")
def controller() -> None:
    """The Go webhook is built."""
    binaries.from_modules(os.environ, servers.CONTROLLER)


def test_every_case_is_measured(programs: Binaries, tmp_path: Path) -> None:
    assert Path(programs.path("kube-apiserver")).exists()
    assert {figure["case"] for figure in measured("through_api_server", tmp_path)} >= {
        *(f"to none: {case}" for case in ("constant", "constant-patch", "webhook", "webhook-validating-too", "policy")),
        "to constant: webhook",
        "to policy: webhook",
    }


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("name", ["request_path", "throughput"])
def test_the_go_webhook_is_measured_with_known_and_with_new_shapes(name: str, tmp_path: Path) -> None:
    figures = {(figure["case"].partition(", ")[2], figure["measured"]) for figure in measured(name, tmp_path)}
    before = {"request_path": "", "throughput": "1 connections, "}[name]
    assert figures >= {
        (f"{before}{shapes}: {server}", amount)
        for shapes in ("known shapes", "new shapes")
        for server in ("webhook", "Go webhook")
        for amount in ("p50, ms", "cpu, us a request")
    }


@pytest.mark.usefixtures("controller")
def test_the_go_webhook_clamps_cpu_and_does_to_a_pod_what_ours_does() -> None:
    review = samples.review(1)
    with servers.side_by_side() as running:
        answers = {name: load.answer(running[name].target(), review) for name in ("webhook", "Go webhook")}
    ours, go = (patched(review, answers[name]) for name in ("webhook", "Go webhook"))
    assert go["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "4"
    assert essence(go) == essence(ours)
