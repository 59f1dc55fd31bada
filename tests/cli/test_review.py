"""`review`: files, modes, exit codes, and Pods that run; what it prints is in tests/offline."""

import json
import os
from pathlib import Path
from threading import Thread

import pytest

from tests.cli.running import Json, dump, pod, quota, run

POLICY = "task_resources: {limits: {cpu: 4}}\n"
AUDIT = f"mode: audit\noverrides: [{{domain: development, mode: warn}}]\n{POLICY}"
FULL = quota({"limits.cpu": "4"}, limits_cpu="4")


def written(folder: Path, text: str | Json, name: str) -> Path:
    file = folder / name
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    return file


def outcomes(text: str) -> list[tuple[str, str]]:
    return [(found["pod"], found["outcome"]) for found in json.loads(text)]


def manifest(name: str, cpu: str = "1") -> Json:
    """A Pod that is not created yet."""
    made = pod(name, cpu)
    return {key: value for key, value in made.items() if key != "status"} | {
        "metadata": {"name": name, "namespace": made["metadata"]["namespace"], "labels": made["metadata"]["labels"]}
    }


def test_each_file_is_read_once_so_that_all_may_be_pipes(tmp_path: Path) -> None:
    limit_range = {"kind": "LimitRange", "metadata": {"name": "r", "namespace": "vision-development"}}
    given: dict[str, str | Json] = {
        "--policy": POLICY, "--quotas": quota(None, limits_cpu="4"), "--limit-ranges": limit_range, "-f": manifest("a"),
    }  # fmt: skip
    options: list[str | Path] = []
    writers = []
    for option, text in given.items():
        pipe = tmp_path / option
        os.mkfifo(pipe)
        written_text = text if isinstance(text, str) else json.dumps(text)
        writers.append(Thread(target=pipe.write_text, args=(written_text,)))
        options += [option, pipe]
    for writer in writers:
        writer.start()
    result = run("review", *options, "-o", "json")
    for writer in writers:
        writer.join()
    assert (result.exit_code, outcomes(result.stdout)) == (0, [("a", "unchanged")])


def test_several_files_are_reviewed_in_turn_and_charged_together(tmp_path: Path) -> None:
    policy, quotas = written(tmp_path, POLICY, "policy.yaml"), written(tmp_path, quota(None, limits_cpu="4"), "q.json")
    files = [written(tmp_path, manifest(name, "2"), f"{name}.json") for name in "abc"]
    options: list[str | Path] = [
        "review",
        "--policy",
        policy,
        "--quotas",
        quotas,
        "-o",
        "json",
        "-f",
        files[0],
        "-f",
        files[1],
    ]
    result = run(*options, "-f", files[2])
    assert (result.exit_code, outcomes(result.stdout)) == (
        1,
        [("a", "unchanged"), ("b", "unchanged"), ("c", "refused")],
    )
    piped = run(*options, "-f", "-", stdin=manifest("d"))
    assert outcomes(piped.stdout)[2] == ("d", "refused")


@pytest.mark.parametrize(
    ("options", "code", "outcome"),
    [
        ([], 1, "would be refused"),
        (["--mode", "enforce"], 1, "refused"),
        (["--mode", "audit"], 1, "would be refused"),
        (["--mode", "enforce", "--fail-on", "changed"], 1, "refused"),
    ],
)
def test_a_file_that_only_reports_does_not_make_ci_green(
    tmp_path: Path, options: list[str], code: int, outcome: str
) -> None:
    policy, quotas = written(tmp_path, AUDIT, "policy.yaml"), written(tmp_path, quota(None, limits_cpu="1"), "q.json")
    result = run(
        "review", "--policy", policy, "--quotas", quotas, *options, "-o", "json", "-f", "-", stdin=manifest("a", "2")
    )
    assert (result.exit_code, outcomes(result.stdout)) == (code, [("a", outcome)])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on", "changed"], 1),
        (["--fail-on", "refused"], 0),
        (["--fail-on", "warning"], 1),
        (["--fail-on", "warning", "--fail-on", "changed"], 1),
    ],
)
def test_what_fails_can_be_chosen(tmp_path: Path, options: list[str], code: int) -> None:
    policy = written(tmp_path, "task_resources: {defaults: {cpu: 8}, limits: {cpu: 4}}\n", "policy.yaml")
    assert run("review", "--policy", policy, *options, "-f", "-", stdin=manifest("a", "6")).exit_code == code


def test_a_pod_that_runs_is_not_charged_a_second_time(tmp_path: Path) -> None:
    policy, quotas = written(tmp_path, POLICY, "policy.yaml"), written(tmp_path, FULL, "q.json")
    options: list[str | Path] = ["review", "--policy", policy, "--quotas", quotas, "-o", "json", "-f", "-"]
    running = run(*options, stdin=dump(pod("a", "2"), pod("b", "2")))
    assert (running.exit_code, outcomes(running.stdout)) == (0, [("a", "unchanged"), ("b", "unchanged")])
    new = run(*options, stdin=dump(pod("a", "2"), manifest("c", "1")))
    assert outcomes(new.stdout) == [("a", "unchanged"), ("c", "refused")]


def test_nor_one_that_lacks_what_a_younger_quota_demands(tmp_path: Path) -> None:
    made, full = pod("a", "2"), quota({"limits.cpu": "0", "requests.cpu": "2"}, requests_cpu="2", limits_cpu="9")
    del made["spec"]["containers"][0]["resources"]["limits"]["cpu"]
    policy, quotas = written(tmp_path, POLICY, "policy.yaml"), written(tmp_path, full, "q.json")
    result = run("review", "--policy", policy, "--quotas", quotas, "-o", "json", "-f", "-", stdin=made)
    assert (result.exit_code, outcomes(result.stdout)) == (0, [("a", "changed")])


def test_a_pod_that_has_ended_is_ignored(tmp_path: Path) -> None:
    policy = written(tmp_path, POLICY, "policy.yaml")
    ended = pod("a", "6") | {"status": {"phase": "Succeeded"}}
    result = run("review", "--policy", policy, "-f", "-", stdin=ended)
    assert (result.exit_code, result.stdout) == (0, "flytesnacks-development/a: ignored (it has ended)\n")


BEST_EFFORT = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "q", "namespace": "flytesnacks-development"},
    "spec": {"hard": {"pods": "0"}, "scopes": ["BestEffort"]},
}


def test_the_version_of_kubernetes_can_be_given(tmp_path: Path) -> None:
    policy, quotas = written(tmp_path, "{}", "policy.yaml"), written(tmp_path, BEST_EFFORT, "q.json")
    asked = manifest("a")
    asked["spec"]["resources"] = {}
    options: list[str | Path] = ["review", "--policy", policy, "--quotas", quotas, "-o", "json", "-f", "-"]
    for version, outcome in {"1.36": "refused", "1.37": "unchanged"}.items():
        assert outcomes(run(*options, "--kubernetes", version, stdin=asked).stdout) == [("a", outcome)]
    assert outcomes(run(*options, stdin=asked).stdout) == [("a", "unchanged")]
    wrong = run(*options, "--kubernetes", "new", stdin=asked)
    assert wrong.exit_code == 2
    assert "'new' is not a version of Kubernetes; write one such as 1.37" in wrong.stderr
