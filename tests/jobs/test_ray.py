"""The RayJob: what is charged is what KubeRay's Pods take, and what Ray is told is what its containers have."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver import Json, defaulted
from tests.jobs import (
    GPU,
    LABELS,
    POLICIES,
    admitted,
    charged,
    mutated,
    policy_of,
    resources,
    some,
    templates,
    usage,
    without,
)  # fmt: skip
from tests.jobs.kuberay import OWN, limits_of, pods, told
from webhook.jobs import KINDS
from webhook.policy.model import Policy

RAYJOBS = "rayjobs.ray.io"


@st.composite
def groups(draw: st.DrawFn, name: str) -> Json:
    numbers = st.integers(0, 4)
    params = {"num-cpus": some("1", "8", "64"), "memory": some("1073741824", "99999999999"), "num-gpus": some("0", "8")}
    of_gpu = draw(some(GPU, "GPU", "gpu"))
    stated = {"CPU": some("1", "16"), "memory": some("1Gi", "100Gi"), of_gpu: some("1", "8")}
    return {
        "groupName": name,
        "template": draw(templates("ray-worker")),
        "rayStartParams": draw(st.fixed_dictionaries({}, optional=params)),
        **draw(st.fixed_dictionaries({}, optional={"resources": st.fixed_dictionaries({}, optional=stated)})),
        "replicas": draw(numbers),
        "minReplicas": draw(numbers),
        "maxReplicas": draw(numbers),
        "numOfHosts": draw(some(1, 1, 2)),
        **draw(some({}, {}, {"suspend": True})),
    }


@st.composite
def ray_jobs(draw: st.DrawFn) -> Json:
    cluster = {
        "headGroupSpec": {"template": draw(templates("ray-head")), "rayStartParams": draw(some({}, {"num-cpus": "8"}))},
        "workerGroupSpecs": [draw(groups(name)) for name in draw(some([], ["a"], ["a", "b"]))],
        **draw(some({}, {"enableInTreeAutoscaling": True})),
    }
    options = st.fixed_dictionaries({}, optional={"resources": resources(), "idleTimeoutSeconds": st.just(60)})
    cluster |= draw(st.fixed_dictionaries({}, optional={"autoscalerOptions": options}))
    spec: Json = {"rayClusterSpec": cluster, "submissionMode": draw(some("K8sJobMode", "SidecarMode", "HTTPMode"))}
    spec |= draw(st.fixed_dictionaries({}, optional={"submitterPodTemplate": templates("submit")}))
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "j", "labels": LABELS}, "spec": spec}


@settings(max_examples=150)
@given(ray_jobs(), POLICIES)
def test_the_job_is_charged_for_the_pods_that_kuberay_makes_and_their_own_review_changes_nothing_of_the_templates(
    job: Json, policy: Policy
) -> None:
    after, _ = mutated(RAYJOBS, job, policy)
    made = pods(after)
    stored = [admitted(pod, policy) for pod in made]
    assert [without(pod, OWN) for pod in stored] == [without(defaulted(pod), OWN) for pod in made]
    assert usage(stored) == charged(RAYJOBS, job, policy)


@settings(max_examples=100)
@given(ray_jobs(), POLICIES)
def test_ray_is_told_no_more_than_a_limit_that_we_have_set(job: Json, policy: Policy) -> None:
    after, _ = mutated(RAYJOBS, job, policy)
    for before, now in zip(nodes(job), nodes(after), strict=True):
        had = limits_of(before)
        for param, limit in limits_of(now).items():
            if had.get(param) == limit:
                assert told(now)[param] == told(before)[param]
            else:
                assert told(now)[param] <= math.ceil(limit)


def nodes(job: Json) -> list[Json]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@settings(max_examples=100)
@given(ray_jobs(), POLICIES)
def test_a_mutated_job_gets_no_other_patch(job: Json, policy: Policy) -> None:
    after, _ = mutated(RAYJOBS, job, policy)
    assert mutated(RAYJOBS, after, policy)[0] == after


def test_resources_of_a_group_that_were_lowered_are_found_again() -> None:
    container = {"name": "ray-worker", "resources": {"limits": {GPU: "8"}, "requests": {GPU: "8"}}}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    group = {"groupName": "a", "template": template, "resources": {GPU: "8"}, "replicas": 1}
    head = {"template": {"spec": {"containers": [{"name": "ray-head"}]}}}
    spec = {"rayClusterSpec": {"headGroupSpec": head, "workerGroupSpecs": [group]}, "submissionMode": "HTTPMode"}
    job = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "j", "labels": LABELS}, "spec": spec}
    policy = policy_of('{"task_resources": {"limits": {"gpu": 1}}}')
    after, _ = mutated(RAYJOBS, job, policy)
    assert after["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["resources"] == {GPU: "1"}
    assert mutated(RAYJOBS, after, policy)[0] == after


@pytest.mark.parametrize(
    ("data", "roles"),
    [
        ({}, ["submitter"]),
        ({"spec": {"clusterSelector": {"ray.io/cluster": "c"}}}, ["submitter"]),
        ({"spec": {"clusterSelector": {"ray.io/cluster": "c"}, "rayClusterSpec": {}}}, ["submitter"]),
        ({"spec": {"submissionMode": "InteractiveMode"}}, []),
        ({"spec": {"rayClusterSpec": {}, "submissionMode": "HTTPMode"}}, ["head"]),
        (
            {"spec": {"rayClusterSpec": {"workerGroupSpecs": [{}]}, "submissionMode": ""}},
            ["head", "workers 0", "submitter"],
        ),
    ],
    ids=["nothing", "another's cluster", "another's cluster beside one", "interactive", "no head", "no name"],
)
def test_what_is_left_out_is_as_kuberay_takes_it(data: Json, roles: list[str]) -> None:
    job = KINDS["ray.io", "rayjobs"].decode(msgspec.Raw(msgspec.json.encode(data)))
    assert [role.name for role in job.roles] == roles


@pytest.mark.parametrize(
    ("group", "expect"),
    [
        ({"replicas": 3}, (3, 3)),
        ({"replicas": 3, "minReplicas": 4}, (4, 4)),
        ({"replicas": 3, "maxReplicas": 2}, (2, 2)),
        ({"replicas": 3, "minReplicas": 5, "maxReplicas": 2}, (2, 2)),
        ({"replicas": 3, "numOfHosts": 4}, (12, 12)),
        ({"replicas": -3}, (0, 0)),
        ({"replicas": 3, "suspend": True}, (0, 0)),
        ({}, (0, 0)),
    ],
    ids=str,
)
def test_workers_are_counted_as_kuberay_does(group: Json, expect: tuple[int, int]) -> None:
    data = {"spec": {"rayClusterSpec": {"workerGroupSpecs": [group]}}}
    workers = KINDS["ray.io", "rayjobs"].decode(msgspec.Raw(msgspec.json.encode(data))).roles[1]
    assert (workers.count, workers.most) == expect


def test_an_autoscaled_group_is_its_fewest_workers_and_may_grow_to_its_most() -> None:
    group = {"replicas": 3, "minReplicas": 1, "maxReplicas": 8, "numOfHosts": 2}
    data = {"spec": {"rayClusterSpec": {"workerGroupSpecs": [group], "enableInTreeAutoscaling": True}}}
    workers = KINDS["ray.io", "rayjobs"].decode(msgspec.Raw(msgspec.json.encode(data))).roles[1]
    assert (workers.count, workers.most) == (2, 16)
