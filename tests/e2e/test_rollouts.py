"""Our own Pods run: replicas are replaced, drained and rolled back under `failurePolicy: Fail`, and no create fails."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.client import Client, Json, path_of, wait_for
from tests.e2e.controlplane import processes
from tests.e2e.controlplane.binaries import Binaries
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.demo_cluster import add_node
from tests.e2e.following import Follower, Installation, block_for_nodes, checked_out
from tests.e2e.kubelet import kubelet
from tests.e2e.network import networked
from tests.e2e.pods import FLYTE_1, pod, resources
from tests.e2e.rendering import NAMESPACE
from tests.e2e.streaming import streaming

TASKS = "tasks"  # the namespace of the creates
NODES = ["node-1", "node-2", "node-3", "node-4"]
CONTROLLERS = ",".join(
    f"{name}-controller"
    for name in ("namespace", "deployment", "replicaset", "disruption", "endpointslice", "garbage-collector")
)
ROLLED = "kubectl --namespace flyte-admission rollout status deployment/flyte-admission --timeout=3m"
UPGRADE = {
    "kustomize": f"kubectl apply -k my-cluster && {ROLLED}",
    "Helm": "helm upgrade flyte-admission manifests/helm/flyte-admission --namespace flyte-admission "
    "--values my-cluster/values.yaml --wait --timeout 3m",
}
ROLLBACK = {
    "kustomize": block_for_nodes("rollout undo") + ROLLED,
    "Helm": "helm rollback flyte-admission --namespace flyte-admission --wait --timeout 3m",
}


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs the replicas of an installation."""

    plane: ControlPlane
    admin: Client
    follower: Follower
    installation: Installation

    def pods(self) -> list[Json]:
        """The Pods of the webhook."""
        selector = "app.kubernetes.io/component=webhook"
        found: list[Json] = self.admin.must("GET", path_of("Pod", NAMESPACE), labelSelector=selector)["items"]
        return found

    def replicas(self) -> dict[str, str]:
        """The node of each Pod of the webhook that is ready, by name."""
        return {each["metadata"]["name"]: each["spec"]["nodeName"] for each in self.pods() if is_ready(each)}

    def waiting(self) -> list[str]:
        """What containers of the webhook wait for."""
        statuses = [status for each in self.pods() for status in each["status"].get("containerStatuses", ())]
        return [status["state"]["waiting"]["reason"] for status in statuses if "waiting" in status["state"]]

    def choose_tag(self, tag: str) -> None:
        """Write down another version of the image."""
        folder = self.follower.checkout / "my-cluster"
        way = {"kustomize": "kustomization.yaml", "Helm": "values.yaml"}[self.follower.way]
        content = yaml.safe_load((folder / way).read_text())
        if self.follower.way == "kustomize":
            content["images"][0]["newTag"] = tag
        else:
            content["image"]["tag"] = tag
        (folder / way).write_text(yaml.safe_dump(content))

    def tag(self) -> str:
        """The version that is to run."""
        deployed = self.admin.must("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/flyte-admission")
        return str(deployed["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2])

    def upgrade(self, timeout: str = "3m") -> None:
        """Install what is written down, and wait until it runs."""
        self.follower.type(UPGRADE[self.follower.way].replace("3m", timeout))

    def roll_back(self) -> None:
        """Go back to what ran before, and wait until it runs."""
        self.follower.type(ROLLBACK[self.follower.way])

    def evict(self, name: str) -> int:
        """Ask for a replica to go; the code of the answer."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
        return self.admin.ask("POST", f"{path_of('Pod', NAMESPACE, name)}/eviction", eviction).code

    def default_cpu(self) -> str:
        """What a Pod of Flyte's gets."""
        made = self.admin.created(pod(TASKS, "task-", FLYTE_1), dry_run=True)
        return str(resources(made)["requests"]["cpu"])


def is_ready(made: Json) -> bool:
    conditions = {each["type"]: each["status"] for each in made["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in made["metadata"]


@pytest.fixture(scope="module")
def plane(programs: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with nodes that run our Pods, which its API server calls by their Service."""
    hurry = {f"FLYTE_ADMISSION_CERTS_{name}": "1" for name in ("INTERVAL", "SETTLE")}
    with (
        tempfile.TemporaryDirectory() as folder,
        networked(Path(folder)) as network,
        processes.running(programs, *network.flags, controllers=CONTROLLERS) as plane,
    ):
        admin = plane.client()
        for name in NODES:
            add_node(admin, name)
        admin.created({"kind": "Namespace", "metadata": {"name": TASKS}})
        admin.close()
        with kubelet(plane, network, tmp_path_factory.mktemp("pods"), **hurry):
            yield plane


@pytest.fixture(scope="module", params=["kustomize", "Helm"])
def cluster(
    plane: ControlPlane, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The document's installation with `failurePolicy: Fail`, and its Pods at work."""
    follower = checked_out(plane, tmp_path_factory.mktemp("admin"), request.param)
    installation = Installation(follower, "Fail")
    installation.choose(cpu="500m")
    follower.follow("Install")
    for command in ("rollout status", "grep 'certificate replaced'"):
        follower.type(block_for_nodes(command))
    admin = plane.client()
    wait_for("the first create", lambda: admin.create(pod(TASKS, "task-", FLYTE_1), dry_run=True).code == 201)
    yield Cluster(plane, admin, follower, installation)
    follower.follow("Uninstall")
    admin.close()


def test_no_create_fails_while_replicas_are_replaced_drained_and_rolled_back(cluster: Cluster) -> None:
    before, tag = cluster.replicas(), cluster.tag()
    assert len(set(before.values())) == 3, "each has a node of its own"
    with streaming(cluster.plane, TASKS) as answers:
        cluster.choose_tag("0.1.1")
        cluster.upgrade()
        upgraded = cluster.replicas()
        assert cluster.tag() == "0.1.1"
        assert len(set(upgraded.values())) == 3
        assert not before.keys() & upgraded.keys()
        for node in [*upgraded.values()][:2]:
            cluster.follower.type(f"kubectl drain {node} --ignore-daemonsets --delete-emptydir-data --timeout=2m")
            assert node not in cluster.replicas().values()
            cluster.follower.type(f"kubectl uncordon {node} && {ROLLED}")
        cluster.roll_back()
        assert cluster.tag() == tag
    assert answers.keys() == {"created"}


def test_a_policy_that_does_not_load_replaces_no_replica_and_can_be_undone(cluster: Cluster) -> None:
    """The chart's schema does not see that two overrides are for the same tasks."""
    before, tag = cluster.replicas(), cluster.tag()
    with streaming(cluster.plane, TASKS) as answers:
        cluster.installation.choose_policy({"overrides": [{"project": "p", "limits": {"cpu": 4}}] * 2})
        cluster.choose_tag("0.1.2")
        with pytest.raises(AssertionError, match=r"timed out|deadline exceeded"):
            cluster.upgrade(timeout="20s")
        wait_for("a replica that ends", lambda: "CrashLoopBackOff" in cluster.waiting())
        assert (cluster.tag(), cluster.replicas()) == ("0.1.2", before)
        assert cluster.default_cpu() == "500m", "the policy before stays in use"
        cluster.roll_back()
        assert (cluster.tag(), cluster.replicas()) == (tag, before)
        cluster.installation.choose(cpu="250m")
        cluster.upgrade()
        assert cluster.default_cpu() == "250m"
    assert answers.keys() == {"created"}


@pytest.mark.parametrize("cluster", ["kustomize"], indirect=True)
def test_the_budget_lets_one_replica_go_at_a_time(cluster: Cluster) -> None:
    first, second, *_ = cluster.replicas()
    with streaming(cluster.plane, TASKS) as answers:
        cluster.follower.type("kubectl cordon " + " ".join(NODES))
        assert cluster.evict(first) == 201
        wait_for("the end of a replica", lambda: len(cluster.replicas()) == 2)
        assert cluster.evict(second) == 429, "the one in its place waits for a node"
        cluster.follower.type(f"kubectl uncordon {' '.join(NODES)} && {ROLLED}")
        assert cluster.evict(second) == 201
    assert answers.keys() == {"created"}
