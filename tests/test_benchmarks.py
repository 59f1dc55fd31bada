"""Each benchmark measures what it says it does, if asked to, quickly; how fast anything is, is no test's business."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MEASURED = {
    "request_path": ("decode", "whole decision", "whole request"),
    "throughput": ("closed, 1 connections", "closed, 64 connections", "open, 1000/s", "after the load"),
    "scale": ("namespaces, 1 to 3", "containers, 1 to 3", "overrides, 1 to 3"),
    "quota": ("1 quotas, 3 containers",),
    "stalls": ("list, relist, burst", "policy", "certificate", "metrics"),
    "start": ("webhook",),
}


@pytest.mark.parametrize("name", MEASURED)
def test_a_benchmark_prints_its_table_and_writes_its_file(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

    written = json.loads((tmp_path / f"{name}.json").read_text())
    assert done.stdout.startswith(written["title"])
    for figure in written["figures"]:
        assert f"{figure['case']} " in done.stdout
        assert all(amount > 0 for amount in (*figure["control"], *figure["amounts"]))
        assert figure["ratio"]["lowest"] <= figure["ratio"]["median"] <= figure["ratio"]["highest"]
    cases = {figure["case"] for figure in written["figures"]}
    assert all(any(case.startswith(wanted) for case in cases) for wanted in MEASURED[name])


def test_make_bench_runs_every_benchmark() -> None:
    makefile = (BENCHMARKS.parent / "Makefile").read_text()
    listed = next(line for line in makefile.splitlines() if line.startswith("BENCHMARKS := ")).split()[2:]
    assert set(listed) == {*MEASURED, "through_api_server"}
