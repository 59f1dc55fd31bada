"""What a Pod asks for as a whole is what Kubernetes says it asks for: its vectors, and their edges."""

import pytest

from tests import workloads as effective
from tests.vectors import Data, amounts, cases, params, pod_of, texts
from webhook.rules.effective import BEST_EFFORT, BURSTABLE, GUARANTEED

AGGREGATES = cases("quota.json", "aggregateRequestsLimits")


def without_status(case: Data) -> bool:
    """Others than ResourceQuota may leave out what the kubelet has actuated and allocated during a resize."""
    given = case["input"]
    return "ontainerStatuses" in str(given["pod"]) and not given["options"].get("UseStatusResources")


def with_another_formula(case: Data) -> bool:
    """The scheduler's variants of the formula, which ResourceQuota does not use."""
    return not {"ExcludeOverhead", "SkipPodLevelResources"}.isdisjoint(case["input"]["options"])


@pytest.mark.parametrize(
    ("given", "expect"), params(c for c in AGGREGATES if not without_status(c) and not with_another_formula(c))
)
def test_effective_requests_and_limits_are_those_of_kubernetes(given: Data, expect: Data) -> None:
    pod = pod_of(given["pod"])
    found = {"requests": effective.effective_requests(pod), "limits": effective.effective_limits(pod)}
    wanted = {side: amounts(expect[side]) for side in found if side in expect}
    assert {side: found[side] for side in wanted} == wanted


def test_no_more_aggregates_than_these_are_left_out() -> None:
    assert len(AGGREGATES) == 41
    assert [case["id"] for case in AGGREGATES if with_another_formula(case)] == [
        "4b66bab48c", "70fd1e063a", "ddd8db2ea7", "ee042d26e6",
    ]  # fmt: skip
    assert [case["id"] for case in AGGREGATES if without_status(case)] == [
        "8fb614a4b1", "0962f30d38", "77d6be1f98",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "requests", "limits"),
    [
        ({}, {}, {}),
        ({"containers": []}, {}, {}),
        (
            {"containers": [{"resources": {"requests": {"nvidia.com/gpu": "1"}}}] * 3},
            {"nvidia.com/gpu": "3"},
            {},
        ),
        (  # a sidecar runs beside the init containers after it, not beside those before it
            {
                "initContainers": [
                    {"resources": {"requests": {"cpu": "5"}}},
                    {"resources": {"requests": {"cpu": "1"}}, "restartPolicy": "Always"},
                    {"resources": {"requests": {"cpu": "4500m"}}},
                ],
                "containers": [{"resources": {"requests": {"cpu": "2"}}}],
            },
            {"cpu": "5500m"},
            {},
        ),
        (  # overhead adds to every request, and to those limits that are there
            {
                "overhead": {"cpu": "250m", "memory": "120Mi"},
                "containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "0"}}}],
            },
            {"cpu": "1250m", "memory": "120Mi"},
            {"cpu": "2250m", "memory": "0"},
        ),
        (  # what the Pod states as a whole replaces what its containers add up to
            {
                "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": "9"}, "limits": {"memory": "1Gi"}},
                "containers": [
                    {"resources": {"requests": {"cpu": "3", "nvidia.com/gpu": "1"}, "limits": {"memory": "2Gi"}}}
                ],
            },
            {"cpu": "1", "nvidia.com/gpu": "1"},
            {"memory": "1Gi"},
        ),
    ],
    ids=["nothing", "no container", "sum", "sidecar", "overhead", "pod level"],
)
def test_a_pod_asks_for_its_peak(spec: Data, requests: dict[str, str], limits: dict[str, str]) -> None:
    pod = pod_of({"spec": spec})
    assert (texts(effective.effective_requests(pod)), texts(effective.effective_limits(pod))) == (requests, limits)


ONE_OF_EACH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("spec", "expect"),
    [
        ({}, BEST_EFFORT),
        ({"containers": [{}]}, BEST_EFFORT),
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}, BEST_EFFORT),
        ({"containers": [{"resources": {"requests": {"cpu": "0"}, "limits": {"cpu": "0"}}}]}, BEST_EFFORT),
        ({"containers": [{"resources": {"requests": {"cpu": "1"}}}]}, BURSTABLE),
        ({"containers": [{"resources": {"limits": {"cpu": "1"}}}]}, BURSTABLE),
        ({"containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}]}, BURSTABLE),
        ({"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}]}, GUARANTEED),
        ({"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}, {}]}, BURSTABLE),
        (
            {"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": {"cpu": "1000m", "memory": "1024Mi"}}}]},
            GUARANTEED,
        ),
        (
            {"containers": [{"resources": {"requests": ONE_OF_EACH, "limits": {"cpu": "2", "memory": "1Gi"}}}]},
            BURSTABLE,
        ),
        (
            {
                "containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}],
                "initContainers": [{"resources": {"requests": {"cpu": "1"}}}],
            },
            BURSTABLE,
        ),
        (
            {"resources": {}, "containers": [{"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}}]},
            BEST_EFFORT,
        ),
        ({"resources": {"requests": ONE_OF_EACH, "limits": ONE_OF_EACH}, "containers": [{}]}, GUARANTEED),
        ({"resources": {"limits": {"cpu": "1"}}, "containers": [{}]}, BURSTABLE),
        ({"resources": {"requests": ONE_OF_EACH}, "containers": [{}]}, BURSTABLE),
    ],
)
def test_the_qos_class_is_that_of_kubernetes(spec: Data, expect: str) -> None:
    assert effective.qos(pod_of({"spec": spec})) == expect


@pytest.mark.parametrize(
    ("resources", "expect"),
    [
        (None, False),
        ({}, False),
        ({"requests": {}, "limits": None}, False),
        ({"requests": {"ephemeral-storage": "1Gi"}, "limits": {"nvidia.com/gpu": "1"}}, False),
        ({"requests": {"cpu": "0"}}, True),
        ({"limits": {"hugepages-2Mi": "2Mi"}}, True),
    ],
)
def test_pod_level_resources_are_there_once_a_supported_name_is(resources: Data | None, expect: bool) -> None:  # noqa: FBT001
    assert effective.has_pod_level_resources(pod_of({"spec": {"resources": resources}})) is expect
