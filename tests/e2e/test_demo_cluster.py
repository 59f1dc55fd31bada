"""`make demo-cluster`, and what it says to try."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.client import Json, wait_for
from tests.e2e.controlplane.binaries import Binaries
from tests.manifests import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"


@contextmanager
def demo_cluster(programs: Binaries, *options: str) -> Iterator[str]:
    """What it prints, once it is up."""
    programs.path("kwok")  # which is built before, once
    command = [sys.executable, "-m", "tests.e2e.demo_cluster", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        try:
            yield "".join(lines)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


def typed(*commands: str) -> subprocess.CompletedProcess[str]:
    """Run them in one shell that has the program on its path, as in an activated environment."""
    script = "\n".join([f'export PATH={Path(sys.executable).parent}:"$PATH"', *commands])
    return subprocess.run(["/bin/bash", "-c", script], cwd=ROOT, text=True, capture_output=True, check=False)


def test_the_commands_that_it_prints_show_pods_that_were_changed_scheduled_and_refused(programs: Binaries) -> None:
    with demo_cluster(programs) as guide:
        *exports, create, show, changes, metrics = re.findall(r"^  (.*)$", guide, re.MULTILINE)
        created = typed(*exports, create)
        assert "pod/a4k7h2-n0-0 created" in created.stdout
        assert "exceeded quota" in created.stderr

        def running() -> dict[str, str] | None:
            pods: list[Json] = json.loads(typed(*exports, f"{show} --output json").stdout)["items"]
            up = all(pod["status"].get("phase") == "Running" for pod in pods)
            return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods} if up else None

        nodes = wait_for("Pods that run", running)
        assert nodes["b9x3m1-n0-0"] == "gpu-1"
        assert nodes["a4k7h2-n0-0"] == "node-1"
        assert "flyte-admission.io/changes" in typed(*exports, changes).stdout
        assert 'endpoint="/mutate"' in typed(*exports, metrics).stdout


def test_the_tutorial_leads_from_the_values_of_a_chart_to_audit_and_to_enforce(
    programs: Binaries, tmp_path: Path
) -> None:
    policy = tmp_path / "my-policy.yaml"
    policy.write_text((ROOT / "examples" / "flyte-values.yaml").read_text())
    blocks = re.findall(r"^```sh cluster\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    create, audited, enforce, explain = (block.replace("my-policy.yaml", str(policy)) for block in blocks)
    with demo_cluster(programs, "--policy", str(policy)) as guide:
        exports = re.findall(r"^  (export .*)$", guide, re.MULTILINE)
        assert 'pods "d6g1j9-n1-0" is forbidden: exceeded quota' in typed(*exports, create).stderr
        shown = typed(*exports, audited).stdout
        assert '"cpu":"6"' in shown
        assert "lower limits.cpu: over the maximum 4" in shown
        assert "would_be_changed" in shown
        assert "admission webhook" in typed(*exports, enforce).stderr
        assert "lowered: limits cpu of c2d8f5-n0-0 from 6 to 4" in typed(*exports, explain).stdout
