"""Whose Pod it is, as each generation of Flyte and the operators on its behalf make Pods; what authors may claim."""

import pytest

from tests.vectors import Data, cases, pod_of
from webhook.flyte.namespace import NamespacePattern
from webhook.flyte.task import Identification, LabelTrust, Task, identify

V1 = {
    "execution-id": "f1",
    "project": "flytesnacks",
    "domain": "development",
    "workflow-name": "a-b",
    "task-name": "a-b-c",
    "node-id": "n0",
}
V2 = {
    "flyte.org/managed": "true",
    "flyte.org/run": "r1",
    "flyte.org/project": "flytesnacks",
    "flyte.org/domain": "development",
    "project": "flytesnacks",
    "domain": "development",
    "task-name": "a.b.c",
}


@pytest.mark.parametrize(
    ("labels", "expect"),
    [
        (None, None),
        ({}, None),
        ({"app": "nginx", "project": "p", "domain": "d"}, None),
        ({"flyte.org/managed": "false"}, None),
        ({"flyte.org/managed": None}, None),
        (V1, Task(1, "flytesnacks", "development", "a-b", "a-b-c")),
        ({"execution-id": "f1"}, Task(1)),
        ({"execution-id": "", "project": None, "task-name": None}, Task(1)),
        (V2, Task(2, "flytesnacks", "development", "", "a.b.c")),
        ({**V2, "run": "of-2-0-43"}, Task(2, "flytesnacks", "development", "", "a.b.c")),
        ({"flyte.org/managed": "true"}, Task(2)),
        ({"flyte.org/run": "r1", "flyte.org/project": "p"}, Task(2, "p")),  # before 2.0.41
        ({"flyte.org/managed": "true", "project": "", "flyte.org/project": "p"}, Task(2, "p")),
        (
            {**V1, "interruptible": "true"},
            Task(1, "flytesnacks", "development", "a-b", "a-b-c", interruptible=True),
        ),
        ({**V1, "interruptible": "false"}, Task(1, "flytesnacks", "development", "a-b", "a-b-c")),
    ],
)
def test_labels_say_which_flyte_and_which_task(labels: dict[str, str | None] | None, expect: Task | None) -> None:
    pod = pod_of({"metadata": {"labels": labels}, "spec": {"containers": [{}]}})
    assert identify(pod, "anywhere", Identification(labels="always")) == expect


@pytest.mark.parametrize(
    ("metadata", "names", "primary"),
    [
        ({}, [], 0),
        ({}, ["a", "b"], 0),
        ({}, [None, None], 0),
        ({}, ["a", "primary"], 1),
        ({"name": "f1-n0-0"}, ["log", "f1-n0-0"], 1),
        ({"generateName": "f1-"}, ["log", "f1-"], 0),
        ({"name": "f1-n0-0"}, ["primary", "f1-n0-0"], 1),
        ({"annotations": {"primary_container_name": "b"}}, ["primary", "b"], 1),
        ({"name": "a", "annotations": {"primary_container_name": "b"}}, ["a", "b"], 1),
        ({"name": "a", "annotations": {"primary_container_name": "gone"}}, ["x", "a"], 1),
        ({"annotations": {"primary_container_name": None}}, ["x", "primary"], 1),
        ({"annotations": {"primary_container_name": ""}}, ["x", ""], 0),
        ({"annotations": {"primary_container_name": "a"}}, ["x", "a", "a"], 1),
    ],
)
def test_the_primary_container_runs_the_task(metadata: Data, names: list[str | None], primary: int) -> None:
    spec = {"containers": [{"name": name} for name in names], "initContainers": [{"name": "primary"}]}
    task = identify(pod_of({"metadata": {"labels": V1, **metadata}, "spec": spec}), "anywhere", Identification())
    assert task is not None
    assert task.primary == f"/spec/containers/{primary}"


def owned(*owners: tuple[str, bool | None]) -> Data:
    return {"ownerReferences": [{"kind": kind, "name": "o", "uid": "u", "controller": it} for kind, it in owners]}


def task_of(metadata: Data, namespace: str = "flytesnacks-development", how: Identification | None = None) -> Task:
    pod = pod_of({"metadata": metadata, "spec": {"containers": [{"name": "c"}]}})
    task = identify(pod, namespace, how or Identification())
    assert task is not None
    return task


@pytest.mark.parametrize(
    ("labels", "owners", "generation", "operated"),
    [
        (V1, owned(("flyteworkflow", True)), 1, False),  # container and pod tasks, map tasks of an ArrayNode
        (V1, owned(), 1, False),
        (V1, {"ownerReferences": None}, 1, False),
        (V2, owned(("TaskAction", True)), 2, False),
        (V2, {}, 2, False),
        (V1, owned(("RayCluster", True)), 1, True),
        (V2, owned(("RayCluster", True)), 2, True),
        (V1, owned(("SparkApplication", True)), 1, True),  # the driver
        (V1, owned(("Pod", True)), 1, True),  # executors, which the driver makes
        (V1, owned(("PyTorchJob", True)), 1, True),
        (V1, owned(("TFJob", True)), 1, True),
        (V1, owned(("MPIJob", True)), 1, True),
        (V1, owned(("ReplicaSet", True)), 1, True),  # Dask workers
        (V2, owned(("Job", True)), 2, True),  # of a JobSet
        (V1, owned(("RayCluster", False)), 1, False),
        (V1, owned(("RayCluster", None)), 1, False),
        (V1, owned(("RayCluster", False), ("flyteworkflow", True)), 1, False),
        (V1, owned(("flyteworkflow", False), ("RayCluster", True)), 1, True),
        # Flyte's own owner says which Flyte it is, whatever labels the author adds
        ({**V1, **V2}, owned(("flyteworkflow", True)), 1, False),
        ({**V1, "flyte.org/managed": "true"}, owned(("flyteworkflow", True)), 1, False),
        ({**V2, "execution-id": "x"}, owned(("TaskAction", True)), 2, False),
        ({"execution-id": "x"}, owned(("TaskAction", True)), 2, False),
    ],
)  # fmt: skip
def test_labels_and_owner_say_which_flyte_made_it_and_whether_by_an_operator(
    labels: Data, owners: Data, generation: int, *, operated: bool
) -> None:
    task = task_of({"labels": labels, **owners})
    assert (task.generation, task.operated) == (generation, operated)


@pytest.mark.parametrize(
    "metadata", [owned(("flyteworkflow", True)), {"labels": {"app": "x"}, **owned(("TaskAction", True))}]
)
def test_an_owner_alone_makes_no_task(metadata: Data) -> None:
    assert identify(pod_of({"metadata": metadata, "spec": {"containers": [{}]}}), "n", Identification()) is None


LIED = {"project": "rich", "domain": "production", "flyte.org/project": "rich", "flyte.org/domain": "production"}
DOMAIN_ONLY = NamespacePattern("{{ domain }}")
NOTHING_TOLD = NamespacePattern("flyte")


@pytest.mark.parametrize("labels", [{**V1, **LIED}, {**V2, **LIED}, {**V1, **V2, **LIED}])
@pytest.mark.parametrize("owners", [owned(), owned(("flyteworkflow", True)), owned(("RayCluster", True))])
@pytest.mark.parametrize("trust", ["flyte2", "always", "never"])
def test_what_the_namespace_tells_no_label_denies(labels: Data, owners: Data, trust: LabelTrust) -> None:
    task = task_of({"labels": labels, **owners}, how=Identification(labels=trust))
    assert (task.project, task.domain) == ("flytesnacks", "development")


@pytest.mark.parametrize(
    ("labels", "owner", "mapping", "trust", "project", "domain"),
    [
        (V1, "flyteworkflow", NOTHING_TOLD, "flyte2", "", ""),
        (V1, "flyteworkflow", NOTHING_TOLD, "always", "flytesnacks", "development"),
        (V1, "RayCluster", NOTHING_TOLD, "flyte2", "", ""),
        (V2, "TaskAction", NOTHING_TOLD, "flyte2", "flytesnacks", "development"),
        (V2, "RayCluster", NOTHING_TOLD, "flyte2", "flytesnacks", "development"),
        (V2, "TaskAction", NOTHING_TOLD, "never", "", ""),
        (V1, "flyteworkflow", DOMAIN_ONLY, "flyte2", "", "staging"),
        (V1, "flyteworkflow", DOMAIN_ONLY, "always", "flytesnacks", "staging"),
        # anyone who launches a workflow of Flyte 1 can add Flyte 2's labels, which Ray and Spark pass on to their Pods
        ({**V1, **V2, **LIED}, "RayCluster", DOMAIN_ONLY, "flyte2", "", "staging"),
        ({**V1, **V2, **LIED}, "flyteworkflow", DOMAIN_ONLY, "flyte2", "", "staging"),
    ],
)
def test_labels_tell_project_and_domain_only_where_they_are_trusted(  # noqa: PLR0913, PLR0917 - a table
    labels: Data, owner: str, mapping: NamespacePattern, trust: LabelTrust, project: str, domain: str
) -> None:
    how = Identification(mapping, trust)
    task = task_of({"labels": labels, **owned((owner, True))}, "staging", how)
    assert (task.project, task.domain) == (project, domain)


@pytest.mark.parametrize(
    ("names", "primary"),
    [
        (["istio-proxy", "spark-kubernetes-driver"], 1),
        (["istio-proxy", "spark-kubernetes-executor"], 1),
        (["istio-proxy", "ray-head", "autoscaler"], 1),
        (["istio-proxy", "ray-worker"], 1),
        (["istio-proxy", "pytorch"], 1),
        (["istio-proxy", "tensorflow"], 1),
        (["istio-proxy", "mpi"], 1),
        (["istio-proxy", "worker"], 1),
        (["istio-proxy", "scheduler"], 1),
        (["istio-proxy", "log-router"], 0),
    ],
)
def test_an_operators_container_runs_the_task_wherever_it_stands(names: list[str], primary: int) -> None:
    spec = {"containers": [{"name": name} for name in names]}
    task = identify(pod_of({"metadata": {"labels": V1}, "spec": spec}), "n", Identification())
    assert task is not None
    assert task.primary == f"/spec/containers/{primary}"


@pytest.mark.parametrize("expect", [case["expect"] for case in cases("flyte_v2.json", "taskPodLabels")])
def test_the_labels_that_flyte_2_writes_make_a_task_of_flyte_2(expect: Data) -> None:
    labels = {**V2, **(expect.get("subset") or expect["exact"])}
    assert task_of({"labels": labels}).generation == 2
