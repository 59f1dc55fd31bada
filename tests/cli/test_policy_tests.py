"""`test`: what is decided against what is expected."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.running import run

CASE = """
name: too much
policy: {task_resources: {defaults: {memory: 1Gi}, limits: {cpu: 4}}}
object:
  kind: Pod
  metadata: {name: a, labels: {execution-id: a}}
  spec: {containers: [{name: main, resources: {limits: {cpu: 6, memory: 1Gi}}}]}
expect:
"""
CHANGES = """
  changes:
    - {path: /spec/containers/main/resources/requests/cpu, from: 6, to: 4000m}
    - {path: /spec/containers/0/resources/limits/cpu, from: "6", to: 4, rule: clamp, why: over the maximum 4}
"""
QUOTA = "[{kind: ResourceQuota, metadata: {name: q, namespace: default}, spec: {hard: {limits.cpu: 1}}}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.case.yaml").write_text(f"{CASE}  outcome: changed{CHANGES}")
    return tmp_path


@pytest.mark.parametrize("where", ["0/resources/%s/nvidia.com~1gpu", "main/resources/%s/nvidia.com/gpu"])
def test_a_change_may_have_the_path_of_the_patch_or_that_of_the_record(tmp_path: Path, where: str) -> None:
    case = CASE.replace("limits: {cpu: 4}}", "limits: {gpu: 4}}, tolerate_by_own_name: false")
    case = case.replace("cpu: 6", "cpu: 1, nvidia.com/gpu: 6")
    paths = [f"/spec/containers/{where % side}" for side in ("limits", "requests")]
    changes = "".join(f"    - {{path: {path}, to: 4}}\n" for path in paths)
    (tmp_path / "a.case.yaml").write_text(f"{case}  outcome: changed\n  changes:\n{changes}")
    assert run("test", tmp_path).stdout == "1 passed\n"


def test_the_first_case_passes_as_it_is_written(tmp_path: Path) -> None:
    result = run("test", "--init", tmp_path / "new" / "tests")
    file = tmp_path / "new" / "tests" / "first.case.yaml"
    assert (result.exit_code, result.stdout) == (0, f"{file}: written; run flyte-admission test {file.parent}\n")
    result = run("test", tmp_path)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "2 passed\n", "")


def test_the_first_case_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "first.case.yaml").write_text("mine")
    result = run("test", "--init", tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path / 'first.case.yaml'}: File exists\n")
    assert (tmp_path / "first.case.yaml").read_text() == "mine"


def test_a_case_that_meets_its_expectation_passes(folder: Path) -> None:
    for path in (folder, folder / "a.case.yaml"):
        result = run("test", path)
        assert (result.exit_code, result.stdout) == (0, "1 passed\n")


def test_cases_of_the_present_folder_are_found_and_hidden_ones_are_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".venv").mkdir()
    (folder / ".venv" / "case.yaml").write_text("- not a case\n")
    monkeypatch.chdir(folder)
    assert run("test").stdout == "1 passed\n"


@pytest.mark.parametrize(
    ("expected", "difference"),
    [
        ("  outcome: refused\n", ['-outcome: "refused"', '+outcome: "changed"']),
        ("  code: 403\n", ["-code: 403", "+code: null"]),
        ("  message: exceeded\n", ['-message: "exceeded"', '+message: null']),
        ("  warnings: [lowered]\n", ['-- "lowered"']),
        (
            "  changes: [{path: /spec/containers/main/resources/limits/cpu, to: 5}]\n",
            [
                '-- {"path": "/spec/containers/main/resources/limits/cpu", "to": 5}',
                '+- {"path": "/spec/containers/main/resources/limits/cpu", "from": "6", "to": "4"}',
                '+- {"path": "/spec/containers/main/resources/requests/cpu", "from": "6", "to": "4"}',
            ],
        ),
        (f"{CHANGES}    - {{path: /spec/tolerations/-}}\n", ['-- {"path": "/spec/tolerations/-"}']),
        (
            CHANGES.replace("rule: clamp", "rule: fill"),
            [
                (
                    '-- {"path": "/spec/containers/0/resources/limits/cpu", "from": "6", "to": 4, "rule": "fill", '
                    '"why": "over the maximum 4"}'
                ),
                '+- {"path": "/spec/containers/main/resources/limits/cpu", "from": "6", "to": "4"}',
            ],
        ),
    ],
)  # fmt: skip
def test_a_difference_is_shown_line_by_line(folder: Path, expected: str, difference: list[str]) -> None:
    (folder / "a.case.yaml").write_text(CASE + expected)
    result = run("test", folder)
    first, *lines, last = result.stdout.splitlines()
    assert (result.exit_code, first, last) == (1, f"FAILED {folder / 'a.case.yaml'}: too much", "0 passed, 1 failed")
    changed = [line[2:] for line in lines if line[2:3] in ("-", "+")]
    assert changed[:2] == ["--- expected", "+++ found"]
    assert changed[2:] == difference


def test_policy_object_and_quotas_may_be_files_beside_the_case(folder: Path) -> None:
    (folder / "policy.yaml").write_text("task_resources: {limits: {cpu: 4}}\n")
    (folder / "pods").mkdir()
    (folder / "pods" / "pod.yaml").write_text(
        json.dumps({"kind": "Pod", "metadata": {"labels": {"execution-id": "a"}}})
    )
    (folder / "quotas.yaml").write_text("kind: List\nitems: " + QUOTA)
    case = "policy: policy.yaml\nobject: pods/pod.yaml\nquotas: quotas.yaml\nexpect: {outcome: unchanged}\n"
    (folder / "a.case.yaml").write_text(case)
    assert run("test", folder).stdout == "1 passed\n"


def test_a_case_may_state_quotas_endpoint_mode_and_day(folder: Path) -> None:
    exempt = CASE.replace("policy: {", "policy: {exemptions: [{match: {namespace: default}, skip: [clamp, quota], "
                          "reason: r, until: 2026-11-30}], ")  # fmt: skip
    (folder / "a.case.yaml").write_text(
        f"quotas: {QUOTA}{CASE}  {{outcome: refused, reason: RequestEntityTooLarge, message: limits.cpu=4}}\n"
        f"---\nendpoint: validate{CASE}  {{outcome: refused, message: is 6}}\n"
        f"---\nmode: audit{CASE}  outcome: would be changed\n"
        f"---\ntoday: 2026-11-30{exempt}  outcome: unchanged\n"
        f"---\ntoday: 2026-12-01{exempt}  outcome: changed\n"
    )
    assert run("test", folder).stdout == "5 passed\n"
    (folder / "a.case.yaml").write_text(f"{exempt}  outcome: unchanged\n")
    assert run("test", folder, "--today", "2026-11-30").exit_code == 0
    assert run("test", folder, "--today", "2026-12-01").exit_code == 1


def test_a_case_may_state_the_version_of_the_api_server(folder: Path) -> None:
    """Before 1.37, an empty spec.resources makes a Pod BestEffort for quotas."""
    quota = QUOTA.replace("hard: {limits.cpu: 1}", "hard: {pods: 0}, scopes: [BestEffort]")
    empty = f"quotas: {quota}{CASE.replace('spec: {', 'spec: {resources: {}, ')}"
    (folder / "a.case.yaml").write_text(
        f"kubernetes: '1.36'\n{empty}  outcome: refused\n"
        f"---\nkubernetes: v1.37.2\n{empty}  outcome: changed\n---\n{empty}  outcome: changed\n"
    )
    assert run("test", folder).stdout == "3 passed\n"


def test_a_mode_of_the_command_line_is_for_cases_that_state_none(folder: Path) -> None:
    audit = CASE.replace("policy: {", "policy: {mode: audit, ")
    (folder / "a.case.yaml").write_text(f"{audit}  outcome: changed\n")
    assert run("test", folder).exit_code == 1
    assert run("test", folder, "--mode", "enforce").exit_code == 0
    (folder / "a.case.yaml").write_text(f"mode: audit{audit}  outcome: would be changed\n")
    assert run("test", folder, "--mode", "enforce").exit_code == 0


def test_without_an_expectation_the_exit_code_goes_by_fail_on(folder: Path) -> None:
    (folder / "a.case.yaml").write_text(CASE.replace("expect:\n", ""))
    assert run("test", folder).stdout == "1 passed\n"
    result = run("test", folder, "--fail-on", "changed")
    assert (result.exit_code, "  outcome: changed\n" in result.stdout) == (1, True)


@pytest.mark.parametrize("expected", ["", "  changes: []\n", "  outcome: unchanged\n"])
def test_a_label_with_a_typo_fails_a_case_that_does_not_expect_to_be_ignored(folder: Path, expected: str) -> None:
    typo = CASE.replace("execution-id", "execution_id").replace("expect:\n", "expect:\n" if expected else "")
    (folder / "a.case.yaml").write_text(typo + expected)
    result = run("test", folder)
    assert (result.exit_code, "  outcome: ignored (not of a Flyte task: it has no label" in result.stdout) == (1, True)
    (folder / "a.case.yaml").write_text(
        f"{typo}{'' if expected else 'expect:'}\n  outcome: ignored\n".replace(expected, "")
    )
    assert run("test", folder).stdout == "1 passed\n"


def test_null_expects_that_there_is_none(folder: Path) -> None:
    nothing = "  {code: null, reason: null, message: null, changes: null, warnings: null}\n"
    for cpu, passes in ((1, True), (6, False)):
        (folder / "a.case.yaml").write_text(CASE.replace("cpu: 6", f"cpu: {cpu}") + nothing)
        assert (run("test", folder).exit_code == 0) is passes
    (folder / "a.case.yaml").write_text(f"quotas: {QUOTA}{CASE}  message: null\n")
    assert '+message: "pods' in run("test", folder).stdout


def test_warnings_of_the_policy_may_fail_a_case(folder: Path) -> None:
    (folder / "a.case.yaml").write_text(CASE.replace("defaults: {", "defaults: {cpu: 8, ") + "  outcome: changed\n")
    assert run("test", folder).exit_code == 0
    result = run("test", folder, "--fail-on", "warning")
    assert (result.exit_code, "warning: 8 is over the limit 4" in result.stdout) == (1, True)
    (folder / "a.case.yaml").write_text(CASE.replace("defaults: {", "defaults: {cpu: 8, ") + "  outcome: refused\n")
    shown = run("test", folder, "--fail-on", "warning").stdout
    assert "warning: 8 is over the limit 4" in shown
    assert '-outcome: "refused"' in shown


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("policy: {}\n", "1:1: ", "object"),
        (f"{CASE}  outcome: denied\n", "9:12: expect.outcome: ", "'changed'"),
        (f"{CASE}  outcomes: changed\n", "9:3: expect.outcomes: ", "did you mean outcome? accepted: outcome, code"),
        (f"today: tomorrow{CASE}", "1:8: today: ", ""),
        (
            f"kubernetes: new{CASE}",
            "1:13: kubernetes: ",
            "'new' is not a version of Kubernetes; write one such as 1.37",
        ),
        (
            f"kubernetes: 1.40{CASE}",
            "1:13: kubernetes: ",
            "1.4 where a text is expected; write one in quotes, such as ",
        ),
        ("policy: missing.yaml\nobject: {kind: Pod}\n", "", "missing.yaml:1:1: No such file or directory"),
        ("policy: latin.yaml\nobject: {kind: Pod}\n", "", "latin.yaml:1:1: not UTF-8 text"),
        ("policy: {task_resources: {limit: 1}}\nobject: {kind: Pod}\n", "", "task_resources.limit: unknown key"),
        ("policy: {}\nobject: {kind: Service}\n", "2:9: ", "kind Service; Pod"),
        ("policy: {}\nobject: []\n", "2:9: ", "0 objects where one Pod, RayJob, SparkApplication, DaskJob, "),
        ("policy: {}\nobject: {kind: AdmissionReview}\n", "2:9: ", "AdmissionReview"),
        ("policy: {}\nobject: {kind: Pod}\nquotas: [{kind: ResourceQuota}]\n", "3:10: ", "no metadata.name"),
        ("policy: [\n", "", "not valid YAML"),
    ],
)
def test_a_case_that_cannot_be_read_is_named_with_its_place_and_spoils_no_other(
    folder: Path, text: str, place: str, what: str
) -> None:
    (folder / "b.case.yaml").write_text(text)
    (folder / "latin.yaml").write_bytes(b"# \xe9")
    result = run("test", folder)
    assert result.exit_code == 2
    assert result.stdout.endswith("1 passed, 1 cannot be read\n")
    assert f"CANNOT BE READ {folder / 'b.case.yaml'}\n  {folder / 'b.case.yaml' if place else ''}" in result.stdout
    assert place in result.stdout
    assert what in result.stdout


def test_where_there_is_no_case_it_says_what_one_is(tmp_path: Path) -> None:
    result = run("test", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"no case in {tmp_path}: none of case.yaml, *.case.yaml, *.case.yml, response.json\n"


def test_a_path_without_a_case_is_not_passed_over(folder: Path) -> None:
    (folder / "empty").mkdir()
    result = run("test", folder / "a.case.yaml", folder / "empty")
    assert (result.exit_code, result.stdout, result.stderr.startswith(f"no case in {folder / 'empty'}: ")) == (
        2,
        "",
        True,
    )


def test_a_folder_that_lacks_a_file_of_a_case_cannot_be_read(folder: Path) -> None:
    (folder / "golden").mkdir()
    for name in ("review.json", "response.json"):
        (folder / "golden" / name).write_text("{}")
    result = run("test", folder)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (2, "1 passed, 1 cannot be read")


def test_a_case_file_may_end_in_yml(folder: Path) -> None:
    (folder / "a.case.yaml").rename(folder / "a.case.yml")
    assert run("test", folder).stdout == "1 passed\n"


def test_junit_has_each_case_with_its_difference_or_problem(folder: Path) -> None:
    (folder / "b.case.yaml").write_text(f"{CASE}  outcome: refused\n")
    (folder / "case.yaml").write_text("policy: {}\n")
    result = run("test", folder, "-o", "junit")
    suite = ET.fromstring(result.stdout)  # noqa: S314 - our own
    assert result.exit_code == 2
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    passed, failed, unread = suite.iter("testcase")
    assert (passed.get("name"), len(passed)) == (f"{folder / 'a.case.yaml'}: too much", 0)
    assert '+outcome: "changed"' in str(failed.findtext("failure"))
    assert "object" in str(unread.findtext("error"))


def test_json_has_each_case(folder: Path) -> None:
    (folder / "b.case.yaml").write_text(f"{CASE}  outcome: refused\n")
    data = json.loads(run("test", folder, "-o", "json").stdout)
    assert [found["passed"] for found in data] == [True, False]
    assert '+outcome: "changed"' in data[1]["difference"]
