"""`make demo-cluster`, and what it says to try."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.client import Json, wait_for
from tests.e2e.controlplane.binaries import Binaries
from tests.manifests import ROOT

NAMESPACE = "flytesnacks-development"


@pytest.fixture
def guide(programs: Binaries) -> Iterator[str]:
    """What it prints, once it is up."""
    programs.path("kwok")  # which is built before, once
    command = [sys.executable, "-m", "tests.e2e.demo_cluster"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        yield "".join(lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_the_commands_that_it_prints_show_pods_that_were_changed_scheduled_and_refused(guide: str) -> None:
    export, path, create, show, changes, metrics = re.findall(r"^  (.*)$", guide, re.MULTILINE)

    def typed(command: str) -> subprocess.CompletedProcess[str]:
        script = f"{export}\n{path}\n{command}"
        return subprocess.run(["/bin/bash", "-c", script], cwd=ROOT, text=True, capture_output=True, check=False)

    created = typed(create)
    assert "pod/a4k7h2-n0-0 created" in created.stdout
    assert "exceeded quota" in created.stderr

    def running() -> dict[str, str] | None:
        pods: list[Json] = json.loads(typed(f"{show} --output json").stdout)["items"]
        up = all(pod["status"].get("phase") == "Running" for pod in pods)
        return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods} if up else None

    nodes = wait_for("Pods that run", running)
    assert nodes["b9x3m1-n0-0"] == "gpu-1"
    assert nodes["a4k7h2-n0-0"] == "node-1"
    assert "flyte-admission.io/changes" in typed(changes).stdout
    assert 'endpoint="/mutate"' in typed(metrics).stdout
