"""Each benchmark measures what it says it does, if asked to, quickly; how fast anything is, is no test's business."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.turns import Figure

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
MEASURED = {
    "request_path": ("decode", "whole decision", "whole request"),
    "throughput": ("closed, 1 connections", "closed, 64 connections", "open, 1000/s", "after the load"),
    "scale": ("namespaces, 1 to 3", "containers, 1 to 3", "overrides, 1 to 3"),
    "quota": ("1 quotas, 3 containers",),
    "jobs": ("ray-job, 4 roles", "job-set, 2 roles"),
    "hostile": ("30,000 containers", "20 containers of 24 limits"),
    "stalls": ("list, relist, burst", "policy", "certificate", "metrics"),
    "start": ("webhook",),
    "views": ("scan, 100 Pods in JSON", "quota, 100 Pods in JSON", "scan, 10 Pods in YAML"),
}
WITHOUT_GO = "without the Go webhook: install Go 1.26 or newer (found: no Go) to have it built\n"


@pytest.mark.parametrize("name", MEASURED)
def test_a_benchmark_prints_its_table_and_writes_its_file(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--results", str(tmp_path)]
    no_go = {**os.environ, "PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=no_go)
    assert (done.returncode, done.stderr) == (0, "")

    written = json.loads((tmp_path / f"{name}.json").read_text())
    assert done.stdout.startswith(written["title"])
    for figure in written["figures"]:
        assert f"{figure['case']} " in done.stdout
        assert all(amount > 0 for amount in (*figure["control"], *figure["amounts"]))
        assert figure["ratio"]["lowest"] <= figure["ratio"]["median"] <= figure["ratio"]["highest"]
    cases = {figure["case"] for figure in written["figures"]}
    assert all(any(case.startswith(wanted) for case in cases) for wanted in MEASURED[name])
    assert (WITHOUT_GO in done.stdout) == (name in {"request_path", "throughput"})
    assert "Go webhook" not in done.stdout.replace(WITHOUT_GO, "")


@pytest.mark.parametrize(
    ("control", "remark"),
    [
        ((100.0, 90.0, 115.0, 110.0, 500.0), ""),  # one outlier
        ((100.0, 60.0, 75.0, 200.0, 105.0), "   not usable: the control's spread is 30%"),
        ((100.0,), ""),  # of --quick
    ],
)
def test_a_figure_is_not_usable_where_its_control_differs_much_between_rounds(
    control: tuple[float, ...], remark: str
) -> None:
    figure = Figure("case", "us", control, amounts=control)
    assert figure.row.endswith(f"1.00 to 1.00{remark}")


def test_make_bench_runs_every_benchmark() -> None:
    makefile = (BENCHMARKS.parent / "Makefile").read_text()
    listed = next(line for line in makefile.splitlines() if line.startswith("BENCHMARKS := ")).split()[2:]
    assert set(listed) == {*MEASURED, "through_api_server"}
