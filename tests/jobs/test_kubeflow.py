"""PyTorchJob, TFJob and MPIJob: what is charged is what the Pods of the training operator take."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver import Json, defaulted
from tests.jobs import LABELS, POLICIES, admitted, charged, mutated, some, subsets, templates, usage, without
from tests.jobs.training_operator import FIELDS, OWN, pods
from webhook.jobs import KINDS
from webhook.policy.model import Policy

RESOURCES = {"PyTorchJob": "pytorchjobs", "TFJob": "tfjobs", "MPIJob": "mpijobs"}
TYPES = {"PyTorchJob": ["Master", "Worker"], "TFJob": ["Chief", "PS", "Worker"], "MPIJob": ["Launcher", "Worker"]}
CONTAINERS = {"PyTorchJob": "pytorch", "TFJob": "tensorflow", "MPIJob": "mpi"}


@st.composite
def kubeflow_jobs(draw: st.DrawFn, kind: str) -> Json:
    replicas = st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 3)})
    chosen = draw(st.lists(st.sampled_from(TYPES[kind]), unique=True, min_size=1))
    types = {name: {"template": draw(templates(CONTAINERS[kind])), **draw(replicas)} for name in chosen}
    if kind == "PyTorchJob":
        in_capitals = draw(subsets([*types]))  # the operator takes these names in any case
        types = {name.upper() if name in in_capitals else name: replica for name, replica in types.items()}
    if kind == "MPIJob" and "Launcher" in types:
        types["Launcher"]["replicas"] = 1
    spec: Json = {FIELDS[kind]: types}
    if kind == "PyTorchJob":
        spec |= draw(some({}, {"elasticPolicy": {"minReplicas": 1, "maxReplicas": 4}}, {"elasticPolicy": {}}))
    metadata = {"name": "j", "labels": LABELS}
    return {"apiVersion": "kubeflow.org/v1", "kind": kind, "metadata": metadata, "spec": spec}


JOBS = st.sampled_from([*FIELDS]).flatmap(kubeflow_jobs)


@settings(max_examples=150)
@given(JOBS, POLICIES)
def test_the_job_is_charged_for_the_pods_of_the_operator_and_their_own_review_changes_nothing_of_the_templates(
    job: Json, policy: Policy
) -> None:
    resource = f"{RESOURCES[job['kind']]}.kubeflow.org"
    after, _ = mutated(resource, job, policy)
    made = pods(after)
    stored = [admitted(pod, policy) for pod in made]
    assert [without(pod, OWN) for pod in stored] == [without(defaulted(pod), OWN) for pod in made]
    assert mutated(resource, after, policy)[0] == after
    if made:
        assert usage(stored) == charged(resource, job, policy)


@pytest.mark.parametrize(
    ("resource", "spec", "roles"),
    [
        ("pytorchjobs", {}, []),
        ("pytorchjobs", {"pytorchReplicaSpecs": {"Worker": {}, "Master": None}}, [("worker", 1, 1)]),
        ("pytorchjobs", {"pytorchReplicaSpecs": {"Worker": {"replicas": -1}}}, [("worker", 0, 0)]),
        ("pytorchjobs", {"pytorchReplicaSpecs": {"": {}}}, [("unnamed", 1, 1)]),
        (
            "pytorchjobs",
            {"pytorchReplicaSpecs": {"Worker": {"replicas": 4}}, "elasticPolicy": {"minReplicas": 2, "maxReplicas": 8}},
            [("worker", 2, 8)],
        ),
        ("tfjobs", {"tfReplicaSpecs": {"PS": {"replicas": 2}, "Chief": {}}}, [("ps", 2, 2), ("chief", 1, 1)]),
        (
            "mpijobs",
            {"mpiReplicaSpecs": {"Launcher": {"replicas": 3}, "Worker": {}}},
            [("launcher", 1, 1), ("worker", 0, 0)],
        ),
    ],
    ids=["nothing", "null", "negative", "no name", "elastic", "tensorflow", "mpi"],
)
def test_pods_are_counted_as_the_operator_does(resource: str, spec: Json, roles: list[tuple[str, int, int]]) -> None:
    job = KINDS["kubeflow.org", resource].decode(msgspec.Raw(msgspec.json.encode({"spec": spec})))
    assert [(role.name, role.count, role.most) for role in job.roles] == roles
