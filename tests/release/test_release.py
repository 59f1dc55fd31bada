"""What a release is made of, as far as it can be checked without one."""

import json
import re
import sys
from typing import Any

import pytest
import yaml

from tests.manifests import ROOT, documents
from tests.release.audit import main

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_digest_with_their_version_beside_it(file: Any) -> None:
    used = re.findall(r"^\s+(?:- )?uses: (?!\./)(.*)$", file.read_text(), re.MULTILINE)
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


def test_an_action_has_the_same_pin_everywhere() -> None:
    used = {each for file in WORKFLOWS for each in re.findall(r"uses: ([\w-]+/[\w-]+)@(\w+)", file.read_text())}
    assert len(used) == len({name for name, _ in used})


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflows_run_targets_that_exist(file: Any) -> None:
    text = file.read_text()
    targets = {name for run in re.findall(r"make ((?:--silent )?[a-z0-9 ]+)", text) for name in run.split()}
    assert targets - {"--silent", "Kubernetes"} <= TARGETS


def test_only_what_publishes_may_write_and_only_in_the_environment_for_it() -> None:
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yaml").read_text())
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as true
    for name, job in release["jobs"].items():
        writes = "write" in job.get("permissions", {}).values()
        assert writes == (job.get("environment") == "release"), name
    assert all("permissions" in documents(file)[0] for file in WORKFLOWS)


def test_the_tools_of_a_release_are_locked() -> None:
    folder = ROOT / "tests" / "release"
    asked = re.findall(r"^([\w-]+)>=", (folder / "requirements.in").read_text(), re.MULTILINE)
    locked = re.findall(r"^([\w-]+)==\S+ ", (folder / "requirements.txt").read_text(), re.MULTILINE)
    assert asked
    assert set(asked) <= set(locked)


@pytest.mark.parametrize(
    ("found", "code", "expect"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, ["looked up 1 of 1 dependencies"]),
        ([{"name": "a", "skip_reason": "?"}], 0, ["looked up 0 of 1", "does not have that list: a"]),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
            1,
            ["a 1: CVE-1, fixed in 2", "looked up 1 of 1"],
        ),
    ],
)
def test_the_audit_says_what_it_found_and_what_it_could_not_look_up(
    capsys: pytest.CaptureFixture[str], found: list[Any], code: int, expect: list[str]
) -> None:
    report = json.dumps({"dependencies": found})
    assert main([sys.executable, "-c", f"print({report!r})"]) == code
    printed = capsys.readouterr().out
    assert [text for text in expect if text not in printed] == []


def test_an_audit_without_a_report_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([sys.executable, "-c", "import sys; sys.exit('no network')"]) == 1
    assert capsys.readouterr().err == "pip-audit reported nothing:\nno network\n\n"
