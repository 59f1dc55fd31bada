"""A rule is added as docs/architecture.md says, to a copy of the program, and holds for what it reads."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULE = '''
"""Denies Pods on the network of their node."""

from webhook.rules.workload import Workload


def deny_host_network(workload: Workload) -> str:
    """Return why the Pod is denied; empty where it is allowed."""
    return "spec.hostNetwork is not allowed" if workload.is_on_host_network else ""
'''
IMPORT, TUPLE = "from webhook.rules import claims", "(claims.deny_claims,)"
LIST = {IMPORT: f"{IMPORT}, host_network", TUPLE: "(claims.deny_claims, host_network.deny_host_network)"}
READ = {
    "    has_claims: bool = False": "    is_on_host_network: bool = False\n    has_claims: bool = False",
    "        has_claims=": "        is_on_host_network=spec.host_network or False,\n        has_claims=",
}
DECODE = {"    priority_class_name:": "    host_network: bool | None = None\n    priority_class_name:"}
POD = """
{{apiVersion: v1, kind: Pod, metadata: {{name: p, labels: {{execution-id: f}}}},
  spec: {{hostNetwork: {on}, containers: [{{name: p, image: i}}]}}}}
"""


def edit(file: Path, edits: dict[str, str]) -> None:
    text = file.read_text()
    for old, new in edits.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with the rule in it, once all steps of the page are done."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("webhook", "certs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "webhook/rules/host_network.py").write_text(RULE.lstrip())
    edit(folder / "webhook/rules/__init__.py", LIST)
    edit(folder / "webhook/rules/workload.py", READ)
    edit(folder / "webhook/api/pod.py", DECODE)
    return folder


def test_the_page_names_each_file_that_adding_it_touches() -> None:
    section = (ROOT / "docs/architecture.md").read_text().partition("To add a rule")[2].partition("\n## ")[0]
    for file in ("webhook/rules/", "webhook/rules/__init__.py", "webhook/rules/workload.py", "webhook/api/pod.py"):
        assert f"`{file}`" in section


@pytest.mark.parametrize(("on", "code"), [("true", 1), ("false", 0)])
def test_the_rule_decides_about_the_field_that_it_reads(copy: Path, tmp_path: Path, on: str, code: int) -> None:
    (tmp_path / "pod.yaml").write_text(POD.format(on=on))
    policy = ROOT / "examples/policy.yaml"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "webhook",
        "review",
        "--policy",
        policy,
        "-f",
        tmp_path / "pod.yaml",
    ]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert run.returncode == code, run.stderr
    assert ("spec.hostNetwork is not allowed" in run.stdout) == bool(code)


def test_a_rule_that_reads_what_is_not_in_the_workload_does_not_type_check(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "rule.py").write_text(RULE.replace("is_on_host_network", "host_pid").lstrip())
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--no-incremental",
        "--follow-imports=silent",
        tmp_path / "rule.py",
    ]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert '"Workload" has no attribute "host_pid"' in run.stdout
