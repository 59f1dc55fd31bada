"""What Flyte 1 and the webhook make of a task together: its Pod, and whether it ends well."""

import json

import pytest

from tests.e2e.client import Client, Json
from tests.e2e.flyte import kubelet
from tests.e2e.flyte.platform import NONE, PLATFORM, Execution, Flyte
from tests.e2e.pods import resources

pytestmark = pytest.mark.usefixtures("webhook")
SPOT = {"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
GPU = {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}
DEFAULTS = {"cpu": "500m", "memory": "500Mi", "ephemeral-storage": "1Gi"}


def both(amounts: Json) -> Json:
    """The amounts as request and limit."""
    return {"requests": amounts, "limits": amounts}


def succeeds(execution: Execution) -> Json:
    """Its Pod, which has run and ended well, and the workflow with it."""
    pod = execution.pod()
    kubelet.finish(execution.flyte.admin, pod)
    execution.until("SUCCEEDED")
    return pod


def containers(pod: Json, kind: str = "containers") -> Json:
    """The resources of its containers, by name."""
    return {it["name"]: it.get("resources", {}) for it in pod["spec"].get(kind, [])}


def changes(pod: Json) -> list[Json]:
    """What the webhook says that it changed."""
    record = json.loads(pod["metadata"].get("annotations", {}).get("flyte-admission.io/changes", "{}"))
    found: list[Json] = record.get("changes", [])
    return found


@pytest.mark.parametrize("platform", [PLATFORM, NONE], ids=["Flyte knows them", "Flyte does not"])
def test_a_task_that_states_nothing_gets_the_defaults(flyte: Flyte, namespace: str, platform: Json) -> None:
    assert resources(succeeds(flyte.launch("plain", namespace, platform))) == both(DEFAULTS)


def test_a_task_over_the_limit_is_lowered_by_flyte_itself(flyte: Flyte, namespace: str) -> None:
    pod = succeeds(flyte.launch("over_limit", namespace))
    assert resources(pod)["limits"]["cpu"] == "4"
    assert changes(pod) == []


def test_a_task_over_the_limit_is_lowered_by_us_where_flyte_does_not_and_its_user_is_not_told(
    flyte: Flyte, namespace: str
) -> None:
    execution = flyte.launch("over_limit", namespace, NONE)
    pod = succeeds(execution)
    assert resources(pod)["limits"]["cpu"] == "4"
    assert any(it["from"] == "6" and it["to"] == "4" for it in changes(pod))
    told = json.dumps([execution.events("workflow"), execution.events("task")])
    assert "over the maximum" not in told


def test_a_gpu_task_runs_on_the_tainted_node(flyte: Flyte, namespace: str) -> None:
    pod = succeeds(flyte.launch("gpu", namespace))
    assert pod["spec"]["nodeName"] == "gpu"
    assert GPU in pod["spec"]["tolerations"]


@pytest.mark.parametrize(("workflow", "more"), [("interruptible", {}), ("plain", {"interruptible": "true"})])
def test_an_interruptible_task_tolerates_spot_nodes(flyte: Flyte, namespace: str, workflow: str, more: Json) -> None:
    pod = succeeds(flyte.launch(workflow, namespace, **more))
    assert pod["metadata"]["labels"]["interruptible"] == "true"
    assert SPOT in pod["spec"]["tolerations"]


def test_the_last_attempt_of_an_interruptible_task_is_not_interruptible(
    flyte: Flyte, admin: Client, namespace: str
) -> None:
    execution = flyte.launch("interruptible", namespace)
    seen: list[Json] = []
    while not seen or seen[-1]["metadata"]["labels"]["interruptible"] == "true":
        pod = execution.pod(but=[it["metadata"]["name"] for it in seen])
        kubelet.run(admin, pod)
        execution.until("RUNNING", "task")
        seen.append(pod)
        if pod["metadata"]["labels"]["interruptible"] == "true":
            kubelet.take_away(admin, pod)
        assert len(seen) < 6
    assert SPOT in seen[0]["spec"]["tolerations"]
    assert SPOT not in seen[-1]["spec"]["tolerations"]
    kubelet.finish(admin, seen[-1])
    execution.until("SUCCEEDED")


def test_sidecars_of_a_pod_template_get_secondary_defaults(flyte: Flyte, namespace: str) -> None:
    pod = succeeds(flyte.launch("sidecar", namespace))
    found = containers(pod)
    assert found["primary"] == both({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"})
    assert found["log-shipper"] == both({"cpu": "100m", "memory": "64Mi"})
    assert found["greedy"]["limits"]["cpu"] == "4"
    assert not [it for it in changes(pod) if "greedy" in it["path"] and it["from"] == "16"]
    assert containers(pod, "initContainers")["download"]["limits"] == {"cpu": "500m", "memory": "500Mi"}


def test_a_pod_template_of_the_cluster_adds_labels_and_no_containers(
    flyte: Flyte, admin: Client, namespace: str
) -> None:
    named = [{"name": name, "image": f"example.com/{name}:1"} for name in ("default", "mesh")]
    template = {"metadata": {"labels": {"team": "a"}}, "spec": {"containers": named}}
    metadata = {"name": "shared", "namespace": namespace}
    admin.created({"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata, "template": template})
    pod = succeeds(flyte.launch("named_template", namespace))
    assert pod["metadata"]["labels"]["team"] == "a"
    assert len(pod["spec"]["containers"]) == 1


def test_the_containers_of_co_pilot_keep_what_flyte_gives_them(flyte: Flyte, namespace: str) -> None:
    execution = flyte.launch("raw_container", namespace)
    pod = execution.pod()
    found = containers(pod) | containers(pod, "initContainers")
    own = [it for name, it in found.items() if name.startswith("flyte-copilot-")]
    assert own
    assert all(it["limits"]["cpu"] == "500m" and it["limits"]["memory"] == "128Mi" for it in own)
    assert not [it for it in changes(pod) if "flyte-copilot" in it["path"] and it["from"] is not None]


def test_labels_of_whoever_launches_reach_the_pod_and_get_nothing_more(flyte: Flyte, namespace: str) -> None:
    lies = {"project": "rich", "domain": "production", "workflow-name": "other", "flyte.org/managed": "true"}
    execution = flyte.launch("over_limit", namespace, NONE, labels=json.dumps({**lies, "task-name": "other"}))
    pod = succeeds(execution)
    labels = pod["metadata"]["labels"]
    assert lies.items() <= labels.items()
    assert labels["task-name"] == "workflows-over-limit-task"
    assert resources(pod)["limits"]["cpu"] == "4"  # production has 64


def test_an_override_for_a_task_reaches_its_map_task(flyte: Flyte, namespace: str) -> None:
    pod = succeeds(flyte.launch("mapped_overridden", namespace))
    assert pod["metadata"]["labels"]["task-name"].startswith("workflows-map-overridden-")
    assert resources(pod)["limits"]["memory"] == "512Mi"
