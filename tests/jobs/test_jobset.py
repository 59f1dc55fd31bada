"""The JobSet: what is charged is what the Pods of its Jobs take."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver import Json, defaulted
from tests.jobs import LABELS, POLICIES, admitted, charged, mutated, templates, usage
from tests.jobs.jobs_of_a_set import pods
from webhook.jobs import KINDS
from webhook.policy.model import Policy

JOBSETS = "jobsets.jobset.x-k8s.io"


@st.composite
def replicated_jobs(draw: st.DrawFn, name: str) -> Json:
    number = st.integers(0, 3)
    spec = draw(st.fixed_dictionaries({}, optional={"parallelism": number, "completions": number}))
    replicas = draw(st.fixed_dictionaries({}, optional={"replicas": number}))
    return {"name": name, **replicas, "template": {"spec": {**spec, "template": draw(templates("main"))}}}


@st.composite
def jobsets(draw: st.DrawFn) -> Json:
    jobs = [draw(replicated_jobs(name)) for name in draw(st.sampled_from([["a"], ["a", "b"]]))]
    metadata = {"name": "j", "labels": LABELS}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {"replicatedJobs": jobs},
    }


@settings(max_examples=100)
@given(jobsets(), POLICIES)
def test_the_job_is_charged_for_the_pods_of_its_jobs_and_their_own_review_changes_nothing(
    job: Json, policy: Policy
) -> None:
    after, _ = mutated(JOBSETS, job, policy)
    made = [defaulted(pod) for pod in pods(after)]
    stored = [admitted(pod, policy) for pod in made]
    assert stored == made
    assert mutated(JOBSETS, after, policy)[0] == after
    if made:
        assert usage(stored) == charged(JOBSETS, job, policy)


@pytest.mark.parametrize(
    ("job", "expect"),
    [
        ({}, ("job 0", 1)),
        ({"name": "w", "replicas": 2, "template": {}}, ("w", 2)),
        ({"replicas": 2, "template": {"spec": {"parallelism": 3}}}, ("job 0", 6)),
        ({"template": {"spec": {"parallelism": 3, "completions": 2}}}, ("job 0", 2)),
        ({"replicas": -1, "template": {"spec": {"parallelism": 3}}}, ("job 0", 0)),
    ],
    ids=["nothing", "replicas", "parallelism", "completions", "negative"],
)
def test_pods_are_counted_as_the_controllers_do(job: Json, expect: tuple[str, int]) -> None:
    found = KINDS["jobset.x-k8s.io", "jobsets"].decode(
        msgspec.Raw(msgspec.json.encode({"spec": {"replicatedJobs": [job]}}))
    )
    assert [(role.name, role.count) for role in found.roles] == [expect]
    assert KINDS["jobset.x-k8s.io", "jobsets"].decode(msgspec.Raw(b"{}")).roles == ()
