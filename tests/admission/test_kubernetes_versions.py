"""Where Kubernetes 1.36 and 1.37 differ about `spec.resources`, the version of the API server decides."""

import pytest

from tests.vectors import Data, pod_of, quota_of
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate, validate
from webhook.admission.decision import Allowed, Denied
from webhook.admission.wire import Request
from webhook.api.version import NEWEST, Version, parse
from webhook.policy.file import load

DAY = "2026-11-25"
FULL = {"metadata": {"name": "q", "namespace": "n"}, "status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}}
MEMORY = {"limits": {"memory": "2Gi"}, "requests": {"memory": "2Gi"}}
MEMORY_AND_A_SUM = {"limits": {"memory": "2Gi"}, "requests": {"memory": "2Gi", "cpu": "10m"}}
PROXY = {"name": "proxy", "resources": {"requests": {"cpu": "10m"}}}


def reviewed(level: Data, *containers: Data) -> Request:
    spec = {"containers": [*containers], "resources": level}
    return Request("u", "p", "n", pod=pod_of({"metadata": {"labels": {"execution-id": "x"}}, "spec": spec}))


@pytest.mark.parametrize("version", [Version(1, 30), Version(1, 36), NEWEST, Version(1, 40)], ids=str)
@pytest.mark.parametrize("scope", ["BestEffort", "NotBestEffort"])
def test_an_empty_statement_of_the_pod_makes_it_best_effort_before_1_37_and_not_since(
    scope: str, version: Version
) -> None:
    request = reviewed({}, {"name": "main", "resources": {"requests": {"cpu": "1"}}})
    quota = quota_of({**FULL, "spec": {"scopes": [scope]}})
    constraints = Constraints([quota], kubernetes=version)
    is_counted = (scope == "BestEffort") == (version < NEWEST)
    for endpoint in (mutate, validate):
        decided = endpoint(request, load("{}", "policy.yaml").policy, constraints, DAY)
        assert isinstance(decided, Denied if is_counted else Allowed)


@pytest.mark.parametrize(
    ("version", "level"), [(Version(1, 36), MEMORY_AND_A_SUM), (NEWEST, MEMORY)], ids=["1.36", "1.37"]
)
@pytest.mark.parametrize(
    ("policy", "limits"),
    [
        ("task_resources: {defaults: {cpu: 1}, limits: {cpu: 4}}", ("1", "1", None)),
        ("{task_resources: {defaults: {cpu: 1}, limits: {cpu: 4}}, secondary_defaults: {}}", ("1", None, "4")),
        ("{task_resources: {defaults: {cpu: {request: 1, limit: 2}}}, secondary_defaults: {}}", ("2", None, None)),
    ],
)
def test_a_pod_that_states_its_memory_gets_the_default_cpu_whatever_was_summed_up(
    policy: str, limits: tuple[str | None, ...], version: Version, level: Data
) -> None:
    """Before 1.37 the 10m of the proxy are handed over as all that the Pod requests."""
    request, loaded = reviewed(level, {"name": "main"}, PROXY), load(policy, "policy.yaml").policy
    decided = mutate(request, loaded, Constraints(kubernetes=version), DAY)
    assert isinstance(decided, Allowed)
    after = {change.path: change.after for change in decided.changes}
    paths = "/spec/containers/0/resources", "/spec/containers/1/resources", "/spec/resources"
    assert tuple(after.get(f"{path}/limits/cpu") for path in paths) == limits
    assert after["/spec/containers/0/resources/requests/cpu"] == "1"
    assert after.get("/spec/resources/requests/cpu") == ("1010m" if version < NEWEST else None)


def test_a_zero_that_may_be_a_sum_stays_where_the_limit_beside_it_may_be_ours() -> None:
    """A second review cannot know that the author stated no limit, which the first one has filled in."""
    policy = load("{task_resources: {}, cpu_limits: remove}", "policy.yaml").policy
    init = {"name": "main", "resources": {"requests": {"cpu": "0"}, "limits": {"cpu": "1m"}}}
    for beside in ({}, {"limits": {"memory": "1Gi"}}):
        request = reviewed({"requests": {"cpu": "0", "memory": "1Gi"}, **beside}, init)
        decided = mutate(request, policy, Constraints(kubernetes=Version(1, 36)), DAY)
        assert isinstance(decided, Allowed)
        assert [change.path for change in decided.changes if "cpu" in change.path] == []


def test_an_exemption_from_filling_leaves_sums_alone() -> None:
    exempt = "exemptions: [{match: {namespace: n}, skip: [fill], reason: r, until: 2030-01-01}]"
    request = reviewed(MEMORY_AND_A_SUM, {"name": "main"}, PROXY)
    decided = mutate(request, load(exempt, "policy.yaml").policy, Constraints(kubernetes=Version(1, 36)), DAY)
    assert isinstance(decided, Allowed)
    assert decided.changes == ()


@pytest.mark.parametrize(("text", "version"), [("1.36", (1, 36)), ("1.37+", (1, 37)), ("v1.37.2", (1, 37))])
def test_a_version_is_the_minor_one(text: str, version: tuple[int, int]) -> None:
    assert parse(text) == version
    assert str(parse(text)) == ".".join(map(str, version))


@pytest.mark.parametrize("text", ["", "1", "v1", "vv1.37", "1.", "one.two", "1.99999"])
def test_what_is_no_version_is_said_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a version of Kubernetes; write one such as 1\.37"):
        parse(text)
