"""What the API server stores, binds and refuses with the webhook installed."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.installed import Installed
from tests.e2e.pods import FLYTE_1, FLYTE_2, pod, resources

GENERATIONS = pytest.mark.parametrize("labels", [FLYTE_1, FLYTE_2], ids=["flyte1", "flyte2"])
GPU_TASK = {"requests": {"cpu": "6"}, "limits": {"cpu": "6", "nvidia.com/gpu": "1"}}
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


@pytest.mark.usefixtures("webhook")
@GENERATIONS
def test_a_flyte_pod_is_stored_filled_clamped_and_tolerant(
    admin: Client, namespace: str, labels: dict[str, str]
) -> None:
    admin.created(pod(namespace, "task", labels, GPU_TASK))
    stored = admin.must("GET", path_of("Pod", namespace, "task"))
    native = {"cpu": "4", "memory": "500Mi", "ephemeral-storage": "1Gi"}
    both = {**native, "nvidia.com/gpu": "1"}
    assert resources(stored) == {"requests": both, "limits": both}
    assert {**TAINT, "operator": "Equal"} in stored["spec"]["tolerations"]


@pytest.mark.usefixtures("webhook")
@GENERATIONS
def test_generate_name_works(admin: Client, namespace: str, labels: dict[str, str]) -> None:
    names = {admin.created(pod(namespace, "task-", labels))["metadata"]["name"] for _ in range(3)}
    stored = admin.items("Pod", namespace)
    assert {found["metadata"]["name"] for found in stored} == names
    assert [resources(found)["requests"]["cpu"] for found in stored] == ["500m"] * 3
    assert all(name.startswith("task-") for name in names)


@pytest.mark.usefixtures("webhook")
def test_kubectl_shows_the_result_of_a_dry_run_which_stores_and_charges_nothing(
    control_plane: ControlPlane, admin: Client, namespace: str
) -> None:
    hard = {"pods": "1", "requests.cpu": "1"}
    admin.created({"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": hard}})
    wait_for("status.used", lambda: "used" in admin.must("GET", path_of("ResourceQuota", namespace, "q"))["status"])
    kubectl = [control_plane.binaries.path("kubectl"), f"--kubeconfig={control_plane.kubeconfig}"]
    done = subprocess.run(
        [*kubectl, "create", "--dry-run=server", "-o", "json", "-f", "-"],
        input=json.dumps(pod(namespace, "task", FLYTE_1)),
        env={"HOME": str(control_plane.folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert resources(json.loads(done.stdout))["limits"]["cpu"] == "500m"
    assert admin.items("Pod", namespace) == []
    used = admin.must("GET", path_of("ResourceQuota", namespace, "q"))["status"]["used"]
    assert used == {"pods": "0", "requests.cpu": "0"}


def test_a_pod_that_is_not_of_flyte_is_never_sent_to_us(admin: Client, namespace: str, webhook: Installed) -> None:
    before = webhook.requests()
    stored = admin.created(pod(namespace, "nginx", {"app": "nginx"}, {"limits": {"cpu": "6"}}))
    assert resources(stored) == {"requests": {"cpu": "6"}, "limits": {"cpu": "6"}}
    assert resize(admin, namespace, "nginx", "7")["requests"] == {"cpu": "7"}
    assert webhook.requests() == before
    admin.created(pod(namespace, "task", FLYTE_1))
    assert webhook.requests() != before


def resize(admin: Client, namespace: str, name: str, cpu: str) -> Json:
    """What the container has after its cpu has been asked for anew."""
    asked = {"name": "main", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}}
    path = f"{path_of('Pod', namespace, name)}/resize"
    reply = admin.ask("PATCH", path, {"spec": {"containers": [asked]}}, patch="strategic-merge-patch")
    assert reply.code == 200, reply.message
    return resources(reply.body)


@pytest.mark.usefixtures("webhook")
def test_a_resize_is_clamped(admin: Client, namespace: str) -> None:
    admin.created(pod(namespace, "task", FLYTE_1))
    for asked, given in [("1", "1"), ("9", "4")]:
        found = resize(admin, namespace, "task", asked)
        assert (found["requests"]["cpu"], found["limits"]["cpu"]) == (given, given)
    assert resources(admin.must("GET", path_of("Pod", namespace, "task")))["limits"]["cpu"] == "4"


LARGE = {"requests": {"cpu": "64", "memory": "64Gi"}, "limits": {"cpu": "64", "memory": "64Gi"}}
VOLUME = {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}}


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "main", "resources": LARGE}]},
        {"initContainers": [{"name": "init", "resources": LARGE}]},
        {"ephemeralContainers": [{"name": "debug", "image": "example.com/debug:1", "resources": LARGE}]},
        {"resources": LARGE},
        {"overhead": {"cpu": "64"}},
        {"volumes": [VOLUME]},
    ],
    ids=lambda spec: next(iter(spec)),
)
@pytest.mark.parametrize("subresource", ["", "/status", "/ephemeralcontainers"])
def test_nothing_but_a_resize_makes_a_pod_larger(admin: Client, namespace: str, subresource: str, spec: Json) -> None:
    """Which is why the webhook is called for no other change of a Pod, not even of one that waits at a gate."""
    init = {"name": "init", "image": "example.com/task:1"}
    small = {**VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    for name, gates in (("free", []), ("gated", [{"name": "example.com/gate"}])):
        made = pod(namespace, name, {}, initContainers=[init], volumes=[small], schedulingGates=gates)
        before = admin.created(made)["spec"]
        path = path_of("Pod", namespace, name)
        admin.ask("PATCH", path + subresource, {"spec": spec}, patch="strategic-merge-patch")
        assert admin.must("GET", path)["spec"] == before


@pytest.mark.usefixtures("webhook")
def test_a_limit_range_and_our_fill_agree(admin: Client, namespace: str) -> None:
    limits = {
        "type": "Container",
        "max": {"memory": "256Mi"},
        "default": {"cpu": "2"},
        "defaultRequest": {"cpu": "250m"},
    }
    made = {"kind": "LimitRange", "metadata": {"name": "limits", "namespace": namespace}, "spec": {"limits": [limits]}}
    admin.created(made)
    plain = pod(namespace, "plain", {})
    wait_for("the LimitRange", lambda: resources(admin.created(plain, dry_run=True)))
    assert resources(admin.created(pod(namespace, "task", FLYTE_1))) == {
        "requests": {"cpu": "250m", "memory": "256Mi", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "2", "memory": "256Mi", "ephemeral-storage": "1Gi"},
    }


@pytest.fixture
def gpu_node(admin: Client) -> Iterator[str]:
    """A Node with GPUs that are kept for those who tolerate it; nothing runs there."""
    admin.created({"kind": "Node", "metadata": {"name": "gpu"}})
    path = path_of("Node", name="gpu")
    amounts = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "1Ti", "pods": "10", "nvidia.com/gpu": "4"}
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": "never runs anything"}
    status = {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}}
    admin.must("PATCH", f"{path}/status", status)
    admin.must("PATCH", path, {"spec": {"taints": [TAINT]}})  # in place of not-ready, which nobody takes away here
    yield "gpu"
    admin.must("DELETE", path)


def scheduled(admin: Client, namespace: str, name: str) -> Json:
    """The condition PodScheduled, once the scheduler has set it."""

    def look() -> Json | None:
        conditions = admin.must("GET", path_of("Pod", namespace, name))["status"].get("conditions", ())
        return next((found for found in conditions if found["type"] == "PodScheduled"), None)

    return wait_for(f"the scheduler's word on {name}", look)


@pytest.mark.usefixtures("webhook")
def test_the_scheduler_binds_the_gpu_pod_that_went_through_us_and_no_other(
    admin: Client, namespace: str, gpu_node: str
) -> None:
    task = {"limits": {"cpu": "1", "nvidia.com/gpu": "1"}}
    admin.created(pod(namespace, "without-us", {}, task))
    admin.created(pod(namespace, "task", FLYTE_1, task))
    with_us, without_us = (scheduled(admin, namespace, name) for name in ("task", "without-us"))
    assert with_us["status"] == "True"
    assert admin.must("GET", path_of("Pod", namespace, "task"))["spec"]["nodeName"] == gpu_node
    assert without_us["status"] == "False"
    assert "untolerated taint" in without_us["message"]
