"""Whose Pod it is, read from the labels that each generation of Flyte writes."""

import pytest

from tests.vectors import Data, pod_of
from webhook.flyte import Identification, Task, identify

V1 = {"execution-id": "f1", "project": "flytesnacks", "domain": "development", "task-name": "a-b-c", "node-id": "n0"}
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
        (V1, Task(1, "flytesnacks", "development", name="a-b-c", run="f1")),
        ({"execution-id": "f1"}, Task(1, run="f1")),
        ({"execution-id": "", "project": None, "task-name": None}, Task(1)),
        (V2, Task(2, "flytesnacks", "development", name="a.b.c", run="r1")),
        ({"flyte.org/managed": "true"}, Task(2)),
        ({"flyte.org/run": "r1", "flyte.org/project": "p"}, Task(2, "p", run="r1")),  # before 2.0.41
        ({"flyte.org/managed": "true", "project": "", "flyte.org/project": "p"}, Task(2, "p")),
        ({**V1, **V2, "project": "own"}, Task(2, "own", "development", name="a.b.c", run="f1")),
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
