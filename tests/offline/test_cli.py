"""`review` and `policy` on the command line: what they print, and with which exit code they end."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonpatch
import pytest
import yaml
from click.testing import CliRunner, Result

from tests.process import EXAMPLES, PATIENCE, PROGRAM
from webhook.cli.main import main

POLICY = """
task_resources:
  defaults: {cpu: 500m, memory: 500Mi}
  limits: {cpu: 4, memory: 8Gi}
"""
QUOTAS = """
apiVersion: v1
kind: ResourceQuota
metadata: {name: project-quota, namespace: flytesnacks-development}
spec: {hard: {limits.cpu: "6"}}
"""


BOMB = "a: &a [x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)


KINDS = "Pod, RayJob, SparkApplication, DaskJob, PyTorchJob, TFJob, MPIJob, JobSet or AdmissionReview"
NOT_FLYTE = "not of a Flyte task: it has no label execution-id, flyte.org/run, or flyte.org/managed: true"


def pod(name: str = "a", cpu: str = "6", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "flytesnacks-development", "labels": {"execution-id": "a"}, **metadata,
        },
        "spec": {
            "containers": [
                {"name": name, "image": "i", "resources": {"limits": {"cpu": cpu, "memory": "1Gi"}}},
            ]
        },
    }  # fmt: skip


def review_of(pod: dict[str, Any]) -> dict[str, Any]:
    review: dict[str, Any] = json.loads((EXAMPLES / "review.json").read_text())
    review["request"]["object"] = pod
    return review


def run(*arguments: str | Path, stdin: str | bytes = "") -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)], input=stdin, catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def quotas(tmp_path: Path) -> Path:
    file = tmp_path / "quotas.yaml"
    file.write_text(QUOTAS)
    return file


def outcomes(result: Result) -> list[tuple[str, str]]:
    return [(report["pod"], report["outcome"]) for report in json.loads(result.stdout)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps(pod()), [("a", "changed")]),
        (json.dumps(pod(), indent="\t"), [("a", "changed")]),
        (yaml.safe_dump(pod()), [("a", "changed")]),
        (yaml.safe_dump(pod(cpu="4")), [("a", "unchanged")]),
        (yaml.safe_dump(pod(labels=None)), [("a", "ignored")]),
        (f"---\n---\n{yaml.safe_dump(pod())}---\n# nothing\n---\n", [("a", "changed")]),
        (yaml.safe_dump_all([pod(), pod("b", "1")]), [("a", "changed"), ("b", "unchanged")]),
        (yaml.safe_dump({"kind": "List", "items": [pod(), pod("b")]}), [("a", "changed"), ("b", "changed")]),
        (yaml.safe_dump({"kind": "PodList", "items": [{"metadata": {"name": "a"}}]}), [("a", "ignored")]),
        (yaml.safe_dump({"kind": "List", "items": [{"kind": "List", "items": [pod()]}]}), [("a", "changed")]),
        (json.dumps({"kind": "List", "items": []}), []),
        (json.dumps(review_of(pod())), [("c2d8f5-n0-0", "changed")]),
        (yaml.safe_dump(review_of(pod())), [("c2d8f5-n0-0", "changed")]),
        (json.dumps(review_of(pod())).replace('"CREATE"', '"DELETE"'), [("c2d8f5-n0-0", "ignored")]),
        (yaml.safe_dump_all([review_of(pod()), pod("b")]), [("c2d8f5-n0-0", "changed"), ("b", "changed")]),
    ],
)  # fmt: skip
def test_pods_are_read_from(policy: Path, tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    file = tmp_path / "pods"
    file.write_text(text)
    result = run("review", "--policy", policy, "-o", "json", "-f", file)
    assert (result.exit_code, outcomes(result), result.stderr) == (0, expected, "")
    piped = run("review", "--policy", policy, "-o", "json", "-f", "-", stdin=text)
    assert (piped.exit_code, piped.stdout) == (0, result.stdout)


def test_a_manifest_gets_the_defaults_of_the_api_server_first(policy: Path) -> None:
    (report,) = json.loads(run("review", "--policy", policy, "-o", "json", "-f", "-", stdin=json.dumps(pod())).stdout)
    amounts = {"cpu": "4", "memory": "1Gi"}
    assert report["result"].pop("metadata")["annotations"].keys() == {"flyte-admission.io/changes"}
    assert report["result"] == {name: value for name, value in pod().items() if name != "metadata"} | {
        "spec": {"containers": [{"name": "a", "image": "i", "resources": {"limits": amounts, "requests": amounts}}]}
    }
    assert [(change["path"], change["from"], change["to"]) for change in report["changes"]] == [
        ("/spec/containers/a/resources/limits/cpu", "6", "4"),
        ("/spec/containers/a/resources/requests/cpu", "6", "4"),
    ]


def test_a_review_is_taken_as_it_is(policy: Path) -> None:
    text = json.dumps(review_of(pod()))
    (report,) = json.loads(run("review", "--policy", policy, "-o", "json", "-f", "-", stdin=text).stdout)
    name = report["result"]["spec"]["containers"][0]["name"]
    patch = [
        {"op": "add", "path": change["path"].replace(f"/{name}/", "/0/"), "value": change["to"]}
        for change in report["changes"]
    ]
    patch.insert(0, {"op": "add", "path": "/spec/containers/0/resources/requests", "value": {}})
    assert report["result"]["metadata"].pop("annotations").keys() == {"flyte-admission.io/changes"}
    assert report["result"] == jsonpatch.apply_patch(pod(), patch)
    assert report["changes"][0]["from"] is None


def test_yaml_has_what_json_has(policy: Path, quotas: Path) -> None:
    text = yaml.safe_dump_all([pod(), pod("b"), pod("c", labels={})])
    options = ["--policy", str(policy), "--quotas", str(quotas), "-f", "-"]
    as_json, as_yaml = (run("review", *options, "-o", kind, stdin=text) for kind in ("json", "yaml"))
    assert (as_json.exit_code, as_yaml.exit_code) == (1, 1)
    assert list(yaml.safe_load_all(as_yaml.stdout)) == json.loads(as_json.stdout)


def test_text_tells_each_change_and_the_refusal(policy: Path, quotas: Path) -> None:
    text = yaml.safe_dump_all([pod(), pod("b"), pod("c", "1m"), pod("d", labels={})])
    exceeded = (
        "exceeded quota: project-quota, requested: limits.cpu=4, used: limits.cpu=4, limited: limits.cpu=6; short by "
        "limits.cpu=2; the largest task that fits now: limits.cpu=2; wait for other tasks to end, or ask for less"
    )
    result = run("review", "--policy", policy, "--quotas", quotas, "-f", "-", stdin=text)
    assert result.exit_code == 1
    for line in (
        "flytesnacks-development/a: changed",
        "  lowered: limits cpu of a from 6 to 4 (over the maximum 4)",
        "  result:",
        "    a: requests cpu=4,memory=1Gi",
        "    a: limits cpu=4,memory=1Gi",
        "flytesnacks-development/b: refused",
        f'  403 Forbidden: pods "b" is forbidden: {exceeded}',
        "flytesnacks-development/c: unchanged",
        f"flytesnacks-development/d: ignored ({NOT_FLYTE})",
    ):
        assert line in result.stdout.splitlines()


def test_text_shows_the_tolerations_of_the_result(policy: Path) -> None:
    data = pod()
    data["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = 1
    result = run("review", "--policy", policy, "-f", "-", stdin=json.dumps(data))
    assert '    tolerates {"key":"nvidia.com/gpu","operator":"Exists","effect":"NoSchedule"}' in result.stdout


def test_a_refused_pod_exits_with_1_and_has_no_result(policy: Path, quotas: Path) -> None:
    text = yaml.safe_dump_all([pod(), pod("b")])
    result = run("review", "--policy", policy, "--quotas", quotas, "-o", "json", "-f", "-", stdin=text)
    first, second = json.loads(result.stdout)
    assert result.exit_code == 1
    assert first["result"] is not None
    assert (second["outcome"], second["code"], second["reason"], second["result"]) == (
        "refused",
        403,
        "Forbidden",
        None,
    )


def test_a_dry_run_is_charged_to_nobody(policy: Path, quotas: Path) -> None:
    dry = review_of(pod(cpu="4"))
    dry["request"]["dryRun"] = True
    text = yaml.safe_dump_all([dry, pod("b", "4")])
    result = run("review", "--policy", policy, "--quotas", quotas, "-o", "json", "-f", "-", stdin=text)
    assert (result.exit_code, [outcome for _, outcome in outcomes(result)]) == (0, ["changed", "unchanged"])


def test_quotas_may_be_given_several_times(policy: Path, quotas: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(QUOTAS.replace("project-quota", "another").replace("limits.cpu", "requests.memory"))
    text = json.dumps(pod(cpu="4"))
    result = run("review", "--policy", policy, "--quotas", quotas, "--quotas", more, "-f", "-", stdin=text)
    assert result.exit_code == 1
    assert "exceeded quota: another, requested: requests.memory=1Gi" in result.stdout


def test_quotas_without_a_namespace_take_the_one_that_is_given(policy: Path, tmp_path: Path) -> None:
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text(QUOTAS.replace(", namespace: flytesnacks-development", "").replace('"6"', '"1"'))
    arguments = ["review", "--policy", str(policy), "--quotas", str(quotas), "-f", "-"]
    alone = run(*arguments, stdin=json.dumps(pod()))
    assert (alone.exit_code, "warning: no namespace, so it is a quota of default" in alone.stderr) == (0, True)
    given = run(*arguments, "-n", "flytesnacks-development", stdin=json.dumps(pod()))
    assert (given.exit_code, given.stderr) == (1, "")


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", "1:1", f"nothing in it; {KINDS}, or a List of them, is expected"),
        ("# nothing\n---\n", "1:1", "nothing in it"),
        ("hello", "1:1", f"not an object; {KINDS}, or a List of them, is expected"),
        ("\n  - kind: Pod\n", "2:3", f"not an object; {KINDS}"),
        ("a: 1", "1:1", f"an object without a kind; {KINDS}"),
        ("kind: Deployment\n", "1:1", f"kind Deployment; {KINDS}"),
        ('{"kind": "Deployment"}', "1:1", f"kind Deployment; {KINDS}"),
        ("kind: Pod\n---\nkind: Job\n", "3:1", "kind Job; Pod"),
        ("kind: List\nitems:\n- kind: Pod\n- kind: Job\n", "4:3", "items[1]: kind Job; Pod"),
        ("kind: List\nitems: null\n", "1:1", "kind List; Pod"),
        ("kind: Pod\nkind: Pod\n", "2:1", "kind: duplicate key"),
        ("kind: Pod\nspec: {overhead: {cpu: 1 core}}\n", "1:1", "Pod: spec.overhead[...]: '1 core' is not a valid"),
        ('{"kind": "Pod", "spec": {"resources": {"limits": {"a\\rb": "x"}}}}', "1:1", "'x' is not a valid quantity"),
        ("a: [1\nb: 2", "2:2", "not valid YAML"),
        ('{"kind": "Pod",', "1:16", "not valid YAML"),
        ("a: \x00", "1:4", "not valid YAML: a control character"),
        ("&a [*a]", "1:1", "nested too deeply, or an alias within itself"),
        ("[" * 900, "1:1", "nested too deeply"),
        ("kind: Pod\nspec:\n" + "- " * 3000, "1:1", "nested too deeply"),
        (BOMB, "", "more than 200000 values"),
        ("kind: Pod\nmetadata: {name: p}\nspec: {containers: {}}\n", "1:1", "Pod p: spec.containers: a map where"),
        ("\n\nkind: AdmissionReview\napiVersion: v1\n", "3:1", "AdmissionReview of v1 where"),
        ("kind: AdmissionReview\napiVersion: admission.k8s.io/v1\nrequest: null\n", "1:1", "request.uid: a request"),
        ("kind: Pod\nmetadata: hello\n", "1:1", "Pod: metadata: a text where a map is expected"),
        ("kind: Pod\nmetadata: {name: [x]}\n", "1:1", "metadata.name: a list where a text is expected"),
        ("kind: Pod\nmetadata: {namespace: [x]}\n", "1:1", "request.namespace: a list where a text is expected"),
        ('{"kind": "Pod", "metadata": {"name": "\\ud800"}}', "1:", "surrogate"),
        ('kind: Pod\nmetadata: {name: "\\ud800"}\n', "", "surrogate"),
    ],
)  # fmt: skip
def test_what_is_no_pod_exits_with_2_and_is_told_with_its_place(
    policy: Path, tmp_path: Path, text: str, place: str, what: str
) -> None:
    file = tmp_path / "pods.yaml"
    file.write_text(text)
    result = run("review", "--policy", policy, "-f", file)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{file}:{place}")
    assert what in line
    assert run("review", "--policy", policy, "-f", "-", stdin=text).stderr == line.replace(str(file), "stdin") + "\n"


def test_text_that_is_not_utf_8_is_told(policy: Path, tmp_path: Path) -> None:
    file = tmp_path / "pods.yaml"
    file.write_bytes(b"kind: Pod\nmetadata: {name: \xff}\n")
    for source, name in ((file, str(file)), ("-", "-")):
        result = run("review", "--policy", policy, "-f", source, stdin=file.read_bytes())
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"{name}: not UTF-8 text from byte 27 on; save it as UTF-8")


def test_a_policy_and_quotas_that_are_not_utf_8_are_told(policy: Path, tmp_path: Path) -> None:
    file = tmp_path / "latin-1"
    file.write_bytes(b"# \xe9.")
    said = f"{file}: not UTF-8 text from byte 2 on; save it as UTF-8\n"
    for options in ([f"--policy={file}"], [f"--policy={policy}", f"--quotas={file}"]):
        result = run("review", *options, "-f", "-", stdin=json.dumps(pod()))
        assert (result.exit_code, result.stderr) == (2, said)


def test_a_file_that_is_missing_or_a_folder_is_told(policy: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "missing.yaml", tmp_path):
        result = run("review", "--policy", policy, "-f", file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(file) in result.stderr


@pytest.mark.parametrize("options", [[], ["-f", "-"], ["--policy", "x"], ["-f", "-", "-o", "xml"]])
def test_wrong_usage_exits_with_2(options: list[str]) -> None:
    result = run("review", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")


def test_warnings_of_the_policy_go_to_stderr(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("task_resources: {defaults: {cpu: 8}, limits: {cpu: 4}}\n")
    result = run("review", "--policy", policy, "-o", "json", "-f", "-", stdin=json.dumps(pod()))
    assert (result.exit_code, outcomes(result)) == (0, [("a", "changed")])
    assert result.stderr.startswith(f"{policy}:1:34: task_resources.defaults.cpu: warning: 8 is over the limit 4")


def test_check_says_that_a_policy_is_good(policy: Path) -> None:
    result = run("policy", "check", policy)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{policy}: good\n", "")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("plugins: {k8s: {scheduler-name: x}}\n", "1 warning"),
        ("plugins: {k8s: {scheduler-name: x, resource-toleration: {}}}\n", "2 warnings"),
    ],
)
def test_check_counts_warnings_and_exits_with_0(tmp_path: Path, text: str, count: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(text)
    result = run("policy", "check", policy)
    assert (result.exit_code, result.stdout) == (0, f"{policy}: good, with {count}\n")
    assert all(line.startswith(f"{policy}:1:") for line in result.stderr.splitlines())


def test_show_prints_json_too(policy: Path) -> None:
    shown = run("policy", "show", policy, "-d", "prod", "-o", "json")
    data = json.loads(shown.stdout)
    assert (data["for"], data["policy"]["task_resources"]["limits"]) == (
        {"domain": "prod"},
        {"cpu": 4, "memory": "8Gi"},
    )
    assert data["unknown"] == ["the domain prod is not known to the file"]


def test_check_lists_what_is_left_to_flyte_if_asked(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "plugins:\n  k8s: {scheduler-name: x, image-pull-policy: Always, Resource-Toleration: {}}\n  presto: {}\n"
    )
    counted = f"{policy}:2:9: warning: 3 keys are left to Flyte and not used here; `policy check -v` lists them"
    typed = "plugins.k8s.Resource-Toleration: warning: not used here; did you mean resource-tolerations?"
    left = ["2:9: plugins.k8s.scheduler-name", "2:28: plugins.k8s.image-pull-policy", "3:3: plugins.presto"]
    assert run("policy", "check", policy).stderr.splitlines() == [f"{policy}:2:55: {typed}", counted]
    listed = run("policy", "check", "-v", policy).stderr.splitlines()
    assert listed[2:] == [f"{policy}:{place}: left to Flyte" for place in left]


def test_check_tells_everything_that_is_wrong_at_once_and_exits_with_2(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "task_resources:\n  limits: {cpu: x}\n  defaults: []\nplugin: {}\nsecondary_defaults: {gpu: 1.5}\n"
    )
    result = run("policy", "check", policy)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [
        f"{policy}:2:17", f"{policy}:3:13", f"{policy}:4:1", f"{policy}:5:27",
    ]  # fmt: skip


RANGES = """
{kind: LimitRange, metadata: {name: wide, namespace: flytesnacks-production}, spec: {limits: [
  {type: Container, min: {cpu: 1}, max: {cpu: 8}, maxLimitRequestRatio: {cpu: 4}, default: {cpu: 4}},
  {type: Pod}]}}
---
{kind: LimitRange, metadata: {name: odd, namespace: flytesnacks-development}, spec: {limits: [
  {type: Container, min: {cpu: 5}, max: {memory: 500Mi}, maxLimitRequestRatio: {cpu: 2}, default: {cpu: 10}},
  {type: Pod, min: {memory: 64Gi}}]}}
"""


def test_check_tells_which_limit_ranges_contradict_the_policy(tmp_path: Path) -> None:
    policy, ranges = tmp_path / "policy.yaml", tmp_path / "ranges.yaml"
    policy.write_text(
        "task_resources: {defaults: {cpu: {request: 1, limit: 3}, memory: 1Gi}, limits: {cpu: 4}}\n"
        "pod_limits: {memory: 32Gi}\n"
    )
    ranges.write_text(RANGES)
    result = run("policy", "check", policy, "--limit-ranges", ranges)
    odd = "LimitRange odd of namespace flytesnacks-development: warning:"
    assert result.stderr.splitlines() == [
        f"{odd} min cpu=5 is over the policy's maximum 4 of a container: none is accepted",
        f"{odd} min memory=64Gi is over the policy's maximum 32Gi of a Pod: none is accepted",
        f"{odd} default cpu=10 is over the policy's maximum 4, and is lowered to it",
        f"{odd} maxLimitRequestRatio cpu=2 is under that of the default, 1 to 3, and lowers its limit",
        f"{odd} max memory=500Mi is under the default 1Gi, and is what tasks get",
    ]
    assert (result.exit_code, result.stdout) == (0, f"{policy}: good, with 5 warnings\n")


def test_check_takes_its_file_as_an_argument_or_by_the_option_of_the_other_commands(policy: Path) -> None:
    assert run("policy", "check", "--policy", policy).output == run("policy", "check", policy).output
    wrong: list[list[str | Path]] = [[], [policy, "--policy", policy]]
    for arguments in wrong:
        result = run("policy", "check", *arguments)
        assert (result.exit_code, "one policy file is needed: FILE, or --policy FILE" in result.stderr) == (2, True)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "a\n---\nb\n", "- " * 3000, "task_resources: null\n\x07"])
def test_check_of_what_is_no_policy_exits_with_2(tmp_path: Path, text: str) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(text)
    for arguments in (["policy", "check"], ["policy", "show"]):
        result = run(*arguments, policy)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"{policy}:")


def test_show_prints_what_it_amounts_to_under_the_names_of_kubernetes(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "task_resource_defaults:\n"
        "  task_resources: {defaults: {cpu: 0.5, mem: 1Gi, gpu: 0}, limits: {gpu: 2, ephemeralStorage: 1Gi}}\n"
        "secondary_defaults: {}\n"
        "plugins: {k8s: {gpu-resource-name: amd.com/gpu, resource-tolerations: {amd.com/gpu: {operator: Exists}}}}\n"
    )
    result = run("policy", "show", policy)
    assert (result.exit_code, result.stderr) == (0, "")
    wanted = {
        "mode": "enforce",
        "task_resources": {
            "defaults": {"cpu": "500m", "memory": "1Gi", "amd.com/gpu": 0},
            "limits": {"ephemeral-storage": "1Gi", "gpu": 2},
        },
        "secondary_defaults": {},
    }
    found = yaml.safe_load(result.stdout)
    assert {key: found[key] for key in wanted} == wanted
    assert found["plugins"]["k8s"]["resource-tolerations"] == {"amd.com/gpu": [{"operator": "Exists"}]}


def test_schema_prints_a_json_schema() -> None:
    result = run("policy", "schema")
    schema = json.loads(result.stdout)
    assert (result.exit_code, schema["type"], schema["additionalProperties"]) == (0, "object", False)
    assert {"task_resources", "secondary_defaults", "overrides", "verdicts", "plugins"} <= set(schema["properties"])


def commands(group: click.Command, *path: str) -> list[list[str]]:
    """The command and all below it, as one types them."""
    if not isinstance(group, click.Group):
        return [[*path]]
    context = click.Context(group)
    below = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [[*path], *(line for name, command in below if command for line in commands(command, *path, name))]


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_and_every_option_has_help(command: list[str], option: str) -> None:
    result = run(*command, option)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_every_option_says_what_it_is_for(command: list[str]) -> None:
    found: click.Command = main
    for name in command:
        assert isinstance(found, click.Group)
        below = found.get_command(click.Context(found), name)
        assert below
        found = below
    assert found.help
    assert [option.name for option in found.params if isinstance(option, click.Option) and not option.help] == []


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"], prog_name="x").stdout.startswith("x, version ")
    assert process("--version").stdout.startswith(b"flyte-admission, version ")


def process(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=PATIENCE, check=False)


def test_a_process_exits_with_0_1_or_2(policy: Path, quotas: Path) -> None:
    options = ["review", f"--policy={policy}", f"--quotas={quotas}", "-f", "-"]
    fits, refused = pod("a", "4"), {"kind": "List", "items": [pod("a"), pod("b")]}
    for data, code in ((fits, 0), (refused, 1), ({}, 2)):
        result = process(*options, stdin=json.dumps(data).encode())
        assert result.returncode == code
        assert b"Traceback" not in result.stderr


def test_a_process_reads_utf_8_whatever_the_locale(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    text = yaml.safe_dump(pod(annotations={"task": "Größe"}), allow_unicode=True).encode()
    result = process("review", "--policy", policy, "-o", "json", "-f", "-", stdin=text)
    assert json.loads(result.stdout)[0]["result"]["metadata"]["annotations"]["task"] == "Größe"


def test_a_pipe_that_closes_early_makes_no_traceback(policy: Path) -> None:
    many = yaml.safe_dump_all([pod(f"pod-{index}") for index in range(200)]).encode()
    reading, writing = os.pipe()
    os.close(reading)
    command = [*PROGRAM, "review", f"--policy={policy}", "-o", "yaml", "-f", "-"]
    result = subprocess.run(command, input=many, stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
    os.close(writing)
    assert b"Traceback" not in result.stderr
