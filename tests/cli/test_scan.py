"""`scan`: what would become of the Pods that run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.running import NAMESPACE, Json, container, dump, pod, quota, run
from tests.fake_apiserver import JOBS, FakeApiServer, body, in_thread, kubeconfig, page, status
from tests.process import EXAMPLES

POLICY = """
task_resources:
  defaults: {cpu: 500m, memory: 500Mi}
  limits: {cpu: 4, memory: 8Gi, gpu: 2}
secondary_defaults: {}
overrides:
  - {domain: staging, mode: audit}
"""
RAY = [{"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "r", "uid": "1", "controller": True}]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def scanned(policy: Path, *items: Json, options: tuple[str, ...] = ()) -> Json:
    result = run("scan", "--policy", policy, "-f", "-", "-o", "json", *options, stdin=[*items])
    assert (result.exit_code, result.stderr) == (0, "")
    data: Json = json.loads(result.stdout)
    return data


def outcomes(data: Json) -> dict[str, str]:
    return {found["name"]: found["outcome"] for found in data["found"]}


def test_each_pod_is_unchanged_changed_or_refused(policy: Path) -> None:
    data = scanned(policy, pod("a"), pod("b", "6"), pod("c", "2"), quota(None, limits_cpu="5"))
    assert outcomes(data) == {"a": "unchanged", "b": "changed", "c": "refused"}
    assert data["reasons"] == {
        "refused: exceeded quota: project-quota": 1,
        "lower limits.cpu: over the maximum 4": 1,
        "lower requests.cpu: over the maximum 4": 1,
    }
    refused = data["found"][2]
    assert (refused["code"], "exceeded quota: project-quota" in refused["message"]) == (403, True)
    assert [found["over_maximum"] for found in data["found"]] == [False, True, False]


def test_where_no_quota_was_read_the_summary_says_so(policy: Path) -> None:
    note = "No ResourceQuota was read, so none refuses anything."
    for items, options, shown in (([], (), True), ([], ("--no-quotas",), False), ([quota(None, pods="5")], (), False)):
        result = run("scan", "--policy", policy, "-f", "-", *options, stdin=[pod("a"), *items])
        assert (note in result.stdout.splitlines()) is shown


def test_a_pod_that_runs_is_not_charged_a_second_time(policy: Path) -> None:
    full = quota({"limits.cpu": "4"}, limits_cpu="4")
    assert outcomes(scanned(policy, pod("a", "2"), pod("b", "2"), full)) == {"a": "unchanged", "b": "unchanged"}


def test_nor_one_that_is_in_two_files(policy: Path, tmp_path: Path) -> None:
    full = quota({"limits.cpu": "4"}, limits_cpu="4")
    for name, items in (("some", [pod("a", "2")]), ("all", [pod("a", "2"), pod("b", "2"), full])):
        (tmp_path / name).write_text(json.dumps(dump(*items)))
    some, both = tmp_path / "some", tmp_path / "all"
    result = run("scan", "--policy", policy, "-f", some, "-f", both, "-o", "json")
    assert [it["outcome"] for it in json.loads(result.stdout)["found"]] == ["unchanged", "unchanged"]


def without(made: Json, *limits: str) -> Json:
    for name in limits:
        del made["spec"]["containers"][0]["resources"]["limits"][name]
    return made


def test_nor_one_that_lacks_what_a_younger_quota_demands(policy: Path) -> None:
    full = quota({"limits.cpu": "0", "requests.cpu": "4"}, limits_cpu="9", requests_cpu="4")
    made = [without(pod("a", "2"), "cpu"), without(pod("b", "2"), "cpu")]
    assert outcomes(scanned(policy, *made, full)) == {"a": "changed", "b": "changed"}


def test_nor_one_that_is_being_resized(policy: Path) -> None:
    resized = pod("a", "1")
    status = {"name": "main", "allocatedResources": {"cpu": "3"}, "resources": {"limits": {"cpu": "3"}}}
    resized["status"] |= {"containerStatuses": [status]}
    full = quota({"limits.cpu": "6"}, limits_cpu="4")
    assert outcomes(scanned(policy, resized, pod("b", "1"), pod("c", "2", minute=1), full)) == {
        "a": "unchanged", "b": "unchanged", "c": "unchanged",
    }  # fmt: skip


def test_what_other_pods_use_stays_used(policy: Path) -> None:
    tight = quota({"limits.cpu": "5"}, limits_cpu="5")
    made = pod("a", "1")
    del made["spec"]["containers"][0]["resources"]["limits"]["cpu"]
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2"
    assert outcomes(scanned(policy, pod("b", "4"), made, tight)) == {"b": "unchanged", "a": "refused"}


def test_in_an_overdrawn_quota_those_that_were_created_last_are_refused(policy: Path) -> None:
    pods = [pod("last", "2", minute=3), pod("first", "2", minute=1), pod("second", "2", minute=2)]
    data = scanned(policy, *pods, quota({"limits.cpu": "6"}, limits_cpu="4"))
    assert outcomes(data) == {"first": "unchanged", "second": "unchanged", "last": "refused"}


def test_pods_that_ended_and_those_of_others_are_left_out_and_counted(policy: Path) -> None:
    ended = [pod(f"b-{phase}") | {"status": {"phase": phase}} for phase in ("Succeeded", "Failed")]
    other = pod("c")
    other["metadata"]["labels"] = {"app": "nginx"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    data = scanned(policy, pod("a"), *ended, other, service)
    assert (outcomes(data), data["ended"], data["others"]) == ({"a": "unchanged"}, 2, 1)


def test_a_pod_that_cannot_be_read_is_named_and_hides_no_other(policy: Path) -> None:
    broken = [pod("b") | {"spec": {"containers": {}}}, pod("c") | {"status": {"conditions": 7}}]
    result = run("scan", "--policy", policy, "-f", "-", "-o", "json", stdin=[*broken, pod("a")])
    assert (result.exit_code, outcomes(json.loads(result.stdout))) == (2, {"a": "unchanged"})
    of_spec, of_status = result.stderr.splitlines()
    assert of_spec.startswith("stdin:1:1: Pod b: spec.containers: ")
    assert of_status.startswith("stdin:1:1: Pod c: status.conditions: ")


def gpus(name: str, count: int, **spec: Any) -> Json:
    made = pod(name, **spec)
    for side in made["spec"]["containers"][0]["resources"].values():
        side["nvidia.com/gpu"] = str(count)
    made["spec"]["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return made


def operated(made: Json) -> Json:
    made["metadata"]["ownerReferences"] = RAY
    return made


def with_sidecar(kind: str, **extra: Any) -> Json:
    made = pod("a")
    beside = container("beside", requests={"cpu": "8"}, limits={"cpu": "8"}) | extra
    made["spec"].setdefault(kind, []).append(beside)
    return made


@pytest.mark.parametrize(
    ("made", "risks"),
    [
        (pod("a", "6"), []),
        (gpus("a", 2), []),
        (gpus("a", 4), ["fewer devices than the task asks for"]),
        (operated(pod("a", "6")), ["an operator's Pod is lowered, and its operator does not know"]),
        (operated(pod("a", "1")), []),
        (with_sidecar("containers"), ["a container beside the task gets a limit"]),
        (with_sidecar("initContainers", restartPolicy="Always"), ["a container beside the task gets a limit"]),
        (with_sidecar("initContainers"), []),
    ],
)
def test_risky_changes_are_named(policy: Path, made: Json, risks: list[str]) -> None:
    data = scanned(policy, made)
    assert (data["found"][0]["risks"], [*data["risks"]]) == (risks, risks)


LIMITED = {
    "kind": "LimitRange", "metadata": {"name": "l", "namespace": NAMESPACE},
    "spec": {"limits": [{"type": "Container", "max": {"cpu": "200m"}}]},
}  # fmt: skip
REFUSING = """
task_resources: {defaults: {cpu: 500m, memory: 500Mi}, limits: {cpu: 4, memory: 8Gi, gpu: 2}}
over_limit: {nvidia.com/gpu: refuse}
exemptions: [{match: {domain: staging}, skip: [clamp], until: 2999-01-01, reason: a test}]
"""


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (pod("a", "6"), True),
        (pod("a", "4"), False),
        (gpus("a", 4), True),
        (pod("a", "6", "flytesnacks-staging"), False),
    ],
    ids=["over the maximum", "at it", "over one that refuses", "exempted"],
)
def test_a_pod_is_over_a_maximum_whatever_the_policy_makes_of_it(tmp_path: Path, made: Json, expected: object) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(REFUSING)
    (found,) = scanned(policy, made)["found"]
    assert found["over_maximum"] is expected


def test_a_default_that_a_limit_range_lowers_is_over_no_maximum(policy: Path) -> None:
    made = pod("a")
    made["spec"]["containers"][0]["resources"] = {}
    (found,) = scanned(policy, made, LIMITED)["found"]
    assert (found["outcome"], found["over_maximum"]) == ("changed", False)
    (found,) = scanned(policy, pod("a", "1"), LIMITED)["found"]
    assert found["over_maximum"]


def test_what_is_lowered_stays_within_the_limit_ranges(policy: Path) -> None:
    limits = [{"type": "Container", "max": {"cpu": "2"}}]
    limit_range = {"kind": "LimitRange", "metadata": {"name": "l", "namespace": NAMESPACE}, "spec": {"limits": limits}}
    (found,) = scanned(policy, pod("a", "6"), limit_range)["found"]
    assert {change["to"] for change in found["changes"] if change["path"].endswith("/cpu")} == {"2"}


def test_without_the_right_to_list_limit_ranges_they_are_left_out(policy: Path, tmp_path: Path) -> None:
    replies = {"list": [page(pod("a")), page()], "ranges": [status(403, "no")]}
    with in_thread(FakeApiServer(replies)) as server:
        result = run("scan", "--policy", policy, "--kubeconfig", kubeconfig(tmp_path, server.url), "-o", "json")
    assert (result.exit_code, outcomes(json.loads(result.stdout))) == (0, {"a": "unchanged"})
    assert result.stderr == "left out: 403 Reason: no; needed is a ClusterRole with the verb list on limitranges\n"


def test_jobs_of_a_dump_are_decided_as_a_whole(policy: Path) -> None:
    (fits, large) = yaml.safe_load_all((EXAMPLES / "jobs.yaml").read_text())
    ended = fits | {"status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}}
    gpus = quota(None, namespace=large["metadata"]["namespace"], **{"requests.nvidia.com/gpu": "2"})
    gpus["spec"]["hard"] = {"requests.nvidia.com/gpu": "2"}
    data = scanned(policy, fits, large, ended, gpus)
    assert [(found["kind"], found["outcome"]) for found in data["found"]] == [
        ("RayJob", "changed"),
        ("RayJob", "refused"),
    ]
    assert data["ended"] == 1
    assert "refused: exceeded quota: project-quota" in data["reasons"]


def test_a_limit_that_the_policy_removes_is_no_risk(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("cpu_limits: remove\ntask_resources: {defaults: {cpu: 1, memory: 1Gi}}\n")
    made = pod("a")
    made["spec"]["containers"].append(container("beside", **made["spec"]["containers"][0]["resources"]))
    data = scanned(policy, made)
    assert (data["reasons"], data["risks"]) == ({"remove limits.cpu: cpu_limits: remove": 1}, {})


def test_a_record_shows_that_the_webhook_saw_the_creation(policy: Path) -> None:
    known = pod("b", "6")
    change = {"path": "/spec/containers/main/resources/limits/cpu", "from": "8", "to": "6", "rule": "clamp", "why": "w"}
    record = json.dumps({"policy": "p", "changes": [change]})
    known["metadata"]["annotations"] = {"flyte-admission.io/changes": record}
    data = scanned(policy, pod("a", "6"), known)
    assert [found["has_record"] for found in data["found"]] == [False, True]
    text = run("scan", "--policy", policy, "-f", "-", stdin=[pod("a", "6"), known]).stdout
    assert "Changed or refused, but no record (no webhook then, or another policy): 1.\n" in text


def test_so_does_a_pod_that_is_refused_though_not_for_a_quota_alone(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(REFUSING)
    full = quota(None, limits_cpu="5")
    pods = [pod("fits"), gpus("by-the-policy", 4), pod("changed-too", "6"), pod("by-a-quota", "4")]
    data = scanned(policy, *pods, full)
    assert [(it["name"], it["outcome"], it["unseen"]) for it in data["found"]] == [
        ("fits", "unchanged", False), ("by-the-policy", "refused", True), ("changed-too", "changed", True),
        ("by-a-quota", "refused", False),
    ]  # fmt: skip
    details = run("scan", "--policy", policy, "-f", "-", "--details", stdin=[*pods, full]).stdout
    assert details.count("\n  no record: it was created without the webhook, or under another policy\n") == 2


def test_a_mode_that_only_reports_is_told_and_decided_all_the_same(policy: Path) -> None:
    made = pod("a", "6", "flytesnacks-staging")
    data = scanned(policy, made)
    assert (outcomes(data), data["found"][0]["mode"]) == ({"a": "changed"}, "audit")
    text = run("scan", "--policy", policy, "-f", "-", stdin=[made]).stdout
    assert "In a mode that only reports, so that nothing is done to them: 1.\n" in text


def test_500_pods_print_a_page_that_fits_80_columns(policy: Path) -> None:
    pods = []
    for number in range(500):
        namespace = f"a-project-with-a-name-that-is-as-long-as-a-label-{number % 40:02}-development"[:63]
        made = pod(f"p{number}", "6", namespace)
        made["spec"]["containers"][0]["resources"]["limits"]["memory"] = f"{9 + number % 15}Gi"
        made["spec"]["tolerations"] = None
        made["spec"]["containers"].append(container(f"c{number}", limits={f"example.com/d{number % 12}": 1}))
        pods.append(made)
    lines = run("scan", "--policy", policy, "-f", "-", stdin=pods).stdout.splitlines()
    assert len(lines) < 66
    namespaces = {made["metadata"]["namespace"] for made in pods}
    assert len(namespaces.intersection(lines)) == 20  # none is cut, or looks like another
    assert max(map(len, lines[1:])) <= 80  # the first names the policy
    assert [line.split() for line in lines if line.startswith(("20 more", "all"))] == [
        ["20", "more", "240", "0", "240", "0", "240", "0"], ["all", "500", "0", "500", "0", "500", "0"],
    ]  # fmt: skip
    assert any(line.endswith("more, which -o json has") for line in lines)
    wide = run("scan", "--policy", policy, "-f", "-", stdin=pods, COLUMNS="200").stdout
    assert pods[0]["metadata"]["namespace"] in wide


def test_details_list_each_pod_that_would_be_changed_or_refused(policy: Path) -> None:
    items = [pod("a"), gpus("b", 4), pod("c", "8"), quota(None, limits_cpu="3")]
    text = run("scan", "--policy", policy, "--details", "-f", "-", stdin=items).stdout
    assert f"{NAMESPACE}/a" not in text
    for line in (
        f"{NAMESPACE}/b: changed",
        "  lowered: limits nvidia.com/gpu of main from 4 to 2 (over the maximum 2)",
        "  risk: fewer devices than the task asks for",
        f"{NAMESPACE}/c: refused",
    ):
        assert line in text.splitlines()


def test_a_namespace_alone_is_looked_at_and_quotas_are_left_out_where_asked(policy: Path) -> None:
    items = [pod("a"), pod("b", namespace="other-production"), quota(None, limits_cpu="500m")]
    assert outcomes(scanned(policy, *items)) == {"a": "refused", "b": "unchanged"}
    assert outcomes(scanned(policy, *items, options=("-n", "other-production"))) == {"b": "unchanged"}
    assert outcomes(scanned(policy, *items, options=("--no-quotas",))) == {"a": "unchanged", "b": "unchanged"}


def test_yaml_has_what_json_has(policy: Path) -> None:
    items = dump(pod("a", "6"), quota(None, limits_cpu="500m"))
    as_json, as_yaml = (
        run("scan", "--policy", policy, "-f", "-", "-o", kind, stdin=items) for kind in ("json", "yaml")
    )
    assert yaml.safe_load(as_yaml.stdout) == json.loads(as_json.stdout)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on", "changed"], 1),
        (["--fail-on", "refused"], 0),
        (["--fail-on", "refused", "--fail-on", "changed"], 1),
        (["--fail-on", "warning"], 0),
    ],
)
def test_the_exit_code_is_1_for_what_is_asked_for(policy: Path, options: list[str], code: int) -> None:
    assert run("scan", "--policy", policy, *options, "-f", "-", stdin=[pod("a", "6")]).exit_code == code


def test_a_warning_of_the_policy_can_fail_it(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("task_resources: {defaults: {cpu: 8}, limits: {cpu: 4}}\n")
    options = ["scan", "--policy", str(policy), "-f", "-"]
    assert run(*options, stdin=[pod("a")]).exit_code == 0
    assert run(*options, "--fail-on", "warning", stdin=[pod("a")]).exit_code == 1


@pytest.mark.parametrize("options", [[], ["-f", "-", "--kubeconfig", __file__]])
def test_one_source_is_needed(policy: Path, options: list[str]) -> None:
    result = run("scan", "--policy", policy, *options)
    assert (result.exit_code, "either -f FILE or --kubeconfig FILE is needed" in result.stderr) == (2, True)


def test_a_cluster_is_read_by_the_labels_of_flyte_and_what_ended_stays_there(policy: Path, tmp_path: Path) -> None:
    bare = {key: value for key, value in pod("a", "2").items() if key != "kind"}  # as in the items of a PodList
    replies = [
        page(bare, more="t"),
        page(pod("b", "2")),
        page(),
        page(bare),
        page(quota({"limits.cpu": "4"}, limits_cpu="4")),
    ]
    with in_thread(FakeApiServer({"list": replies})) as server:
        config = kubeconfig(tmp_path, server.url)
        result = run("scan", "--policy", policy, "--kubeconfig", config, "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert outcomes(json.loads(result.stdout)) == {"a": "unchanged", "b": "unchanged"}
    asked = [(it.path, it.query.get("labelSelector")) for it in server.requests if it.verb != "jobs"]
    selectors = ["execution-id", "execution-id", "flyte.org/run", "flyte.org/managed=true"]
    assert asked == [
        *(("/api/v1/pods", selector) for selector in selectors),
        ("/api/v1/resourcequotas", None),
        ("/api/v1/limitranges", None),
    ]
    assert server.requests[0].query["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"


def test_one_namespace_of_a_cluster_takes_rights_in_it_alone(policy: Path, tmp_path: Path) -> None:
    with in_thread(FakeApiServer({"live": [page(pod("a"))]})) as server:
        config = kubeconfig(tmp_path, server.url)
        options = ["-n", NAMESPACE, "--no-quotas", "-o", "json"]
        result = run("scan", "--policy", policy, "--kubeconfig", config, *options)
    assert outcomes(json.loads(result.stdout)) == {"a": "unchanged"}
    paths = {request.path.rpartition("/")[2] for request in server.requests}
    assert paths == {"pods", "limitranges", *JOBS}
    assert all(f"/namespaces/{NAMESPACE}/" in request.path for request in server.requests)


def test_jobs_of_a_cluster_are_read_too_as_far_as_it_has_and_allows_them(policy: Path, tmp_path: Path) -> None:
    (fits, large) = yaml.safe_load_all((EXAMPLES / "jobs.yaml").read_text())
    ended = fits | {"metadata": fits["metadata"] | {"name": "e"}, "status": {"jobDeploymentStatus": "Complete"}}
    jobs = [page(fits, ended), page(large), page(), status(403, "no"), status(404)]
    with in_thread(FakeApiServer({"list": [page()], "jobs": jobs})) as server:
        result = run("scan", "--policy", policy, "--kubeconfig", kubeconfig(tmp_path, server.url), "-o", "json")
    data = json.loads(result.stdout)
    assert result.exit_code == 0, result.stderr
    assert [(found["kind"], found["name"]) for found in data["found"]] == [
        ("RayJob", "e5h8k2-n0-0"),
        ("RayJob", "e5h8k2-n1-0"),
    ]
    assert data["ended"] == 1
    needed = "needed is a ClusterRole with the verb list on sparkapplications"
    assert result.stderr == f"left out: 403 Reason: no; {needed}\n"
    asked = [request.path for request in server.requests if request.verb == "jobs"]
    assert asked[:4] == [*["/apis/ray.io/v1/rayjobs"] * 3, "/apis/sparkoperator.k8s.io/v1beta2/sparkapplications"]
    assert asked[-1] == "/apis/jobset.x-k8s.io/v1alpha2/jobsets"


def test_a_right_that_is_missing_is_named(policy: Path, tmp_path: Path) -> None:
    with in_thread(FakeApiServer({"list": [status(403, "no")]})) as server:
        result = run("scan", "--policy", policy, "--kubeconfig", kubeconfig(tmp_path, server.url))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "403 Reason: no; needed is a ClusterRole with the verb list on pods\n"


def test_what_is_not_a_list_and_no_kubeconfig_are_said(policy: Path, tmp_path: Path) -> None:
    with in_thread(FakeApiServer({"list": [body({"items": 7})]})) as server:
        result = run("scan", "--policy", policy, "--kubeconfig", kubeconfig(tmp_path, server.url))
    assert (result.exit_code, result.stderr.startswith("the answer cannot be read: ")) == (2, True)
    result = run("scan", "--policy", policy, "--kubeconfig", policy)
    assert (result.exit_code, result.stderr.startswith(f"{policy}: ")) == (2, True)
