"""The benchmark through the API server runs, and what it compares does the same to the sample Pods."""

import json
import subprocess
import sys
from pathlib import Path

from tests.e2e.controlplane.binaries import Binaries

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "through_api_server.py"


def test_every_case_is_measured(programs: Binaries, tmp_path: Path) -> None:
    assert Path(programs.path("kube-apiserver")).exists()
    command = [sys.executable, str(BENCHMARK), "--quick", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

    figures = json.loads((tmp_path / "through_api_server.json").read_text())["figures"]
    assert {figure["case"] for figure in figures} >= {
        *(f"to none: {case}" for case in ("constant", "constant-patch", "webhook", "webhook-validating-too", "policy")),
        "to constant: webhook",
        "to policy: webhook",
    }
