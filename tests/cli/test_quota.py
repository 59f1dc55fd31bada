"""`quota`: what quotas have left, what fits, and who holds most."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.running import NAMESPACE, Json, pod, quota, run
from tests.fake_apiserver import FakeApiServer, in_thread, kubeconfig, page, status
from tests.process import EXAMPLES

USED = {"limits.cpu": "8", "limits.memory": "16Gi"}
QUOTA = quota(USED, limits_cpu="12", limits_memory="32Gi")


def shown(*items: Json, options: tuple[str, ...] = ()) -> list[Json]:
    result = run("quota", "-f", "-", "-o", "json", *options, stdin=[*items])
    assert (result.exit_code, result.stderr) == (0, "")
    found: list[Json] = json.loads(result.stdout)
    return found


def test_each_resource_has_what_is_hard_used_and_free() -> None:
    (found,) = shown(QUOTA)
    assert (found["namespace"], found["project"], found["domain"]) == (NAMESPACE, "flytesnacks", "development")
    assert found["quotas"] == [
        {
            "name": "project-quota",
            "scopes": [],
            "resources": [
                {"name": "limits.cpu", "hard": "12", "used": "8", "free": "4", "percent": 66},
                {"name": "limits.memory", "hard": "32Gi", "used": "16Gi", "free": "16Gi", "percent": 50},
            ],
        }
    ]


def test_a_quota_that_forbids_something_is_not_full_until_that_is_used() -> None:
    nothing = quota({"limits.cpu": "1"}, limits_cpu="100", services="0")
    full = quota({"limits.cpu": "99"}, namespace="full-development", limits_cpu="100")
    assert [found["namespace"] for found in shown(nothing, full)] == ["full-development", NAMESPACE]
    used = quota({"limits.cpu": "1", "services": "1"}, limits_cpu="100", services="0")
    assert [found["namespace"] for found in shown(used, full)] == [NAMESPACE, "full-development"]


@pytest.mark.parametrize(
    ("quotas", "now", "ever"),
    [
        ([QUOTA], "limits.cpu=4, limits.memory=16Gi", "limits.cpu=12, limits.memory=32Gi"),
        ([QUOTA, quota({"limits.cpu": "0"}, name="b", limits_cpu="3")], "limits.cpu=3, limits.memory=16Gi",
         "limits.cpu=3, limits.memory=32Gi"),
        ([quota({"limits.cpu": "5"}, limits_cpu="4")], "", "limits.cpu=4"),
        ([QUOTA, quota({"pods": "2"}, name="b", pods="2")], "", "limits.cpu=12, limits.memory=32Gi"),
        ([quota({"services": "2"}, services="2")], "any", "any"),
        ([quota({"limits.cpu": "300m"}, limits_cpu="1.5")], "limits.cpu=1200m", "limits.cpu=1500m"),
        ([quota(None, limits_cpu="4")], "limits.cpu=4", "limits.cpu=4"),
    ],
)  # fmt: skip
def test_the_largest_task_that_fits_is_named(quotas: list[Json], now: str, ever: str) -> None:
    (found,) = shown(*quotas)
    assert (found["fits_now"], found["fits_ever"]) == (now, ever)


def test_a_quota_with_scopes_bounds_only_what_it_counts() -> None:
    scoped = quota({"limits.cpu": "1"}, name="scoped", limits_cpu="1")
    scoped["spec"]["scopes"] = ["Terminating"]
    terms = [{"scopeName": "PriorityClass", "operator": "In", "values": ["high", "low"]}]
    scoped["spec"]["scopeSelector"] = {"matchExpressions": terms}
    (found,) = shown(QUOTA, scoped)
    assert found["fits_now"] == "limits.cpu=4, limits.memory=16Gi"
    assert found["quotas"][1]["scopes"] == ["Terminating", "PriorityClass In high,low"]
    text = run("quota", "-f", "-", stdin=[QUOTA, scoped]).stdout
    assert "counts only Pods of Terminating, PriorityClass In high,low\n" in text


def task(pod_name: str, cpu: str, name: str | None) -> Json:
    made = pod(pod_name, cpu)
    made["metadata"]["labels"] = {"execution-id": "a"} | ({} if name is None else {"task-name": name})
    return made


def test_holders_are_the_tasks_that_run_and_the_largest_comes_first() -> None:
    pods = [task("a", "1", "small"), task("b", "2", "large"), task("c", "3", "large"), task("d", "2", None)]
    ended = task("e", "9", "small") | {"status": {"phase": "Failed"}}
    (found,) = shown(QUOTA, *pods, ended)
    assert [(it["task"], it["pods"], it["held"]["limits.cpu"]) for it in found["holders"]] == [
        ("large", 2, "5"), ("d", 1, "2"), ("small", 1, "1"),
    ]  # fmt: skip


def test_a_pod_that_lacks_what_a_younger_quota_demands_holds_what_it_has() -> None:
    made = task("a", "2", "train")
    del made["spec"]["containers"][0]["resources"]["limits"]["cpu"]
    (found,) = shown(quota({"requests.cpu": "2"}, requests_cpu="4", limits_cpu="9"), made)
    assert [it["held"] for it in found["holders"]] == [{"requests.cpu": "2"}]


def test_a_job_holds_nothing_beside_its_pods() -> None:
    job = next(yaml.safe_load_all((EXAMPLES / "jobs.yaml").read_text()))
    (found,) = shown(QUOTA, job, task("a", "1", "train"))
    assert [it["task"] for it in found["holders"]] == ["train"]


def test_one_namespace_is_shown_in_full_and_fits_80_columns() -> None:
    names = ["limits_cpu", "limits_memory", "limits_ephemeral-storage", "requests_nvidia_com/gpu"]
    wide = quota({}, **dict.fromkeys(names, "12"))
    pods = [task(f"p{n}", f"{n + 1}", f"a-task-with-a-name-that-is-as-long-as-a-label-may-be-{n}") for n in range(7)]
    lines = run("quota", "-f", "-", stdin=[wide, *pods]).stdout.splitlines()
    assert lines[0] == f"{NAMESPACE} (project flytesnacks, domain development)"
    assert len([line for line in lines if line.startswith("a-task-")]) == 5
    assert lines[-1] == "and 2 more, which -o json has"
    assert max(map(len, lines)) <= 80


def test_several_namespaces_are_listed_the_fullest_first() -> None:
    other = quota({"requests.nvidia.com/gpu": "8"}, namespace="vision-production", **{"requests.nvidia.com/gpu": "8"})
    empty = quota({}, namespace="empty-production")
    text = run("quota", "-f", "-", stdin=[QUOTA, other, empty]).stdout
    assert [line.split() for line in text.splitlines()] == [
        ["NAMESPACE", "FULLEST", "HARD", "USED", "FREE", "%"],
        ["vision-production", "requests.nvidia.com/gpu", "8", "8", "0", "100"],
        [NAMESPACE, "limits.cpu", "12", "8", "4", "66"],
    ]


@pytest.mark.parametrize(
    ("options", "namespaces"),
    [
        (("-p", "vision"), ["vision-production"]),
        (("-d", "development"), [NAMESPACE]),
        (("-p", "vision", "-d", "development"), []),
        (("-n", NAMESPACE), [NAMESPACE]),
    ],
)
def test_they_can_be_chosen_by_project_domain_and_namespace(options: tuple[str, ...], namespaces: list[str]) -> None:
    other = quota({"limits.cpu": "8"}, namespace="vision-production", limits_cpu="8")
    assert [found["namespace"] for found in shown(QUOTA, other, options=options)] == namespaces


def test_a_policy_tells_how_namespaces_are_named(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text('namespace_mapping: {template: "{{ domain }}-{{ project }}"}\n')
    (found,) = shown(quota({}, namespace="staging-vision", limits_cpu="8"), options=("--policy", str(policy)))
    assert (found["project"], found["domain"]) == ("vision", "staging")


def test_where_there_is_no_quota_it_says_so() -> None:
    result = run("quota", "-f", "-", stdin=[pod("a")])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no ResourceQuota there\n")


def test_yaml_has_what_json_has_and_a_pod_that_cannot_be_read_is_named() -> None:
    items = [QUOTA, pod("b") | {"spec": {"containers": {}}}]
    as_json, as_yaml = (run("quota", "-f", "-", "-o", kind, stdin=items) for kind in ("json", "yaml"))
    assert yaml.safe_load(as_yaml.stdout) == json.loads(as_json.stdout)
    assert as_json.stderr.startswith("stdin:1:1: Pod b: spec.containers")


def test_without_the_right_to_list_pods_there_are_no_holders(tmp_path: Path) -> None:
    with in_thread(FakeApiServer({"list": [status(403, "no"), page(QUOTA)]})) as server:
        result = run("quota", "--kubeconfig", kubeconfig(tmp_path, server.url), "-o", "json")
    assert (result.exit_code, json.loads(result.stdout)[0]["holders"]) == (0, [])
    assert result.stderr == "left out: 403 Reason: no; needed is a ClusterRole with the verb list on pods\n"


def test_without_the_right_to_list_quotas_it_ends(tmp_path: Path) -> None:
    with in_thread(FakeApiServer({"list": [page(), page(), page(), status(403, "no")]})) as server:
        result = run("quota", "--kubeconfig", kubeconfig(tmp_path, server.url))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "403 Reason: no; needed is a ClusterRole with the verb list on resourcequotas\n"


def test_a_pod_that_cannot_be_read_is_named_and_hides_nothing() -> None:
    result = run("quota", "-f", "-", stdin=[pod("a") | {"spec": {"containers": {}}}, quota({"pods": "1"}, pods="4")])
    assert (result.exit_code, result.stdout.split()[10:15]) == (2, ["pods", "4", "1", "3", "25"])
    assert result.stderr.startswith("stdin:1:1: Pod a: spec.containers: ")


def test_cpu_and_requests_cpu_are_one_resource_of_the_largest_task() -> None:
    both = quota(
        {"cpu": "1", "requests.cpu": "1", "requests.memory": "0"},
        **{"cpu": "8", "requests.cpu": "6", "memory": "9Gi", "requests.hugepages-2Mi": "4Mi", "hugepages-2Mi": "2Mi"},
    )
    (found,) = shown(pod("a"), both)
    fits = "memory=9Gi, requests.cpu={}, requests.hugepages-2Mi=2Mi"
    assert (found["fits_now"], found["fits_ever"]) == (fits.format(5), fits.format(6))
    table = run("quota", "-f", "-", stdin=[pod("a"), both]).stdout.partition("\nTASK")[2].partition("\n")[0]
    assert table.split() == ["PODS", "requests.cpu", "memory", "requests.hugepages-2Mi"]
