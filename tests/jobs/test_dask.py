"""The DaskJob: what is charged is what the Pods take, and a worker is told what its container has."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver import Json, amount, defaulted
from tests.jobs import LABELS, POLICIES, admitted, charged, mutated, templates, usage
from tests.jobs.dask_operator import pods, told
from webhook.jobs import KINDS
from webhook.policy.model import Policy

DASKJOBS = "daskjobs.kubernetes.dask.org"
decode = KINDS["kubernetes.dask.org", "daskjobs"].decode


@st.composite
def dask_jobs(draw: st.DrawFn) -> Json:
    """Built as createWorkerSpec builds the workers: with arguments for the limits, zero where there are none."""
    runner, scheduler, worker = (draw(templates(name))["spec"] for name in ("job-runner", "scheduler", "dask-worker"))
    args = ["dask-worker", "--name", "$(DASK_WORKER_NAME)"]
    if limits := worker["containers"][0]["resources"]["limits"]:
        args += ["--nthreads", str(math.ceil(amount(limits.get("cpu", 0))))]
        args += ["--memory-limit", str(limits.get("memory", 0))]
    worker["containers"][0]["args"] = args
    workers = {"spec": worker, **draw(st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 3)}))}
    spec = {
        "job": {"spec": runner},
        "cluster": {"metadata": {"labels": LABELS}, "spec": {"scheduler": {"spec": scheduler}, "worker": workers}},
    }
    metadata = {"name": "j", "labels": LABELS}
    return {"apiVersion": "kubernetes.dask.org/v1", "kind": "DaskJob", "metadata": metadata, "spec": spec}


@settings(max_examples=150)
@given(dask_jobs(), POLICIES)
def test_the_job_is_charged_for_the_pods_of_the_operator_and_their_own_review_changes_nothing(
    job: Json, policy: Policy
) -> None:
    after, _ = mutated(DASKJOBS, job, policy)
    made = [defaulted(pod) for pod in pods(after)]
    stored = [admitted(pod, policy) for pod in made]
    assert stored == made
    assert mutated(DASKJOBS, after, policy)[0] == after
    assert usage(stored) == charged(DASKJOBS, job, policy)


@settings(max_examples=100)
@given(dask_jobs(), POLICIES)
def test_a_worker_is_told_what_flyte_would_tell_of_limits_that_we_have_lowered_or_set(
    job: Json, policy: Policy
) -> None:
    after, _ = mutated(DASKJOBS, job, policy)
    had, has = (each["spec"]["cluster"]["spec"]["worker"]["spec"]["containers"][0] for each in (job, after))
    before, limits = ((each["resources"].get("limits") or {}) for each in (had, has))
    for option, name in (("--nthreads", "cpu"), ("--memory-limit", "memory")):
        if option in told(job):
            stated = told(after)[option]
            limit = amount(limits[name]) if name in limits else 0
            assert amount(stated) == (math.ceil(limit) if name == "cpu" else limit)
            if before.get(name) == limits.get(name):
                assert stated == told(job)[option]
        else:
            assert has["args"] == had["args"]


def worker_of(*args: str, **worker: int) -> Json:
    container = {"name": "dask-worker", "args": ["dask-worker", *args], "resources": {"limits": {"cpu": "64"}}}
    spec = {"worker": {"spec": {"containers": [container]}, **worker}}
    return {"metadata": {"labels": LABELS}, "spec": {"cluster": {"spec": spec}}}


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (["--nthreads=64"], ["--nthreads"]),
        (["--memory-limit", "0.9GB"], ["--memory-limit"]),
        (["--memory-limit", "auto", "--nthreads", "8"], ["--memory-limit"]),
        (["--nthreads"], []),
        (["--resources", "GPU=2"], []),
    ],
    ids=str,
)
def test_an_argument_in_another_form_stays_and_is_noted(args: list[str], options: list[str]) -> None:
    (role,) = decode(msgspec.Raw(msgspec.json.encode(worker_of(*args)))).roles
    assert role.notes == tuple(
        f"the argument {option} stays as it is: it has not the form that Flyte writes" for option in options
    )


@pytest.mark.parametrize(
    ("data", "roles"),
    [
        ({}, []),
        ({"spec": {"job": {}, "cluster": {"spec": {"worker": {}, "scheduler": {}}}}}, []),
        ({"spec": {"job": {"spec": {}}, "cluster": None}}, [("runner", 1)]),
        ({"spec": {"cluster": {"spec": {"worker": {"spec": {}}}}}}, [("worker", 1)]),
        (worker_of(replicas=-1), [("worker", 0)]),
        (worker_of(replicas=7), [("worker", 7)]),
    ],
    ids=["nothing", "no Pods", "runner", "worker", "negative", "seven"],
)
def test_pods_are_counted_as_the_operator_does(data: Json, roles: list[tuple[str, int]]) -> None:
    assert [(role.name, role.count) for role in decode(msgspec.Raw(msgspec.json.encode(data))).roles] == roles
