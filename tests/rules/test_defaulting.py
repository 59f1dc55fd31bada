"""Defaulting is that of the API server, by its vectors, and every Change is reported."""

import pytest

from tests import workloads as effective
from tests.rules import text
from tests.vectors import Data, cases, params, pod_of, texts
from tests.workloads import BEFORE_FIX, default, workload
from webhook.api import pod as pods
from webhook.api.resources import Resources
from webhook.api.version import NEWEST
from webhook.rules import defaulting

CASES = cases("quota.json", "defaultingAndValidation")


def on_update(case: Data) -> bool:
    """Validation of updates and resizes, which is the API server's: nothing is defaulted there."""
    return bool(case["input"]["kind"] != "create")


def block(resources: Resources | None) -> dict[str, dict[str, str]]:
    sides = {"limits": resources and resources.limits, "requests": resources and resources.requests}
    return {side: texts(values) for side, values in sides.items() if values}


@pytest.mark.parametrize(("given", "expect"), params(case for case in CASES if not on_update(case)))
def test_defaults_are_those_of_kubernetes(given: Data, expect: Data) -> None:
    pod, _ = default(pod_of(given["pod"]))
    found = {
        "containerResources": [block(container.resources) for _, container in pods.containers(pod)],
        "podResources": None if pod.spec.resources is None else block(pod.spec.resources),
        "qos": effective.qos(pod),
    }
    assert found == {key: expect[key] for key in found}


def test_no_more_vectors_than_these_are_left_out() -> None:
    assert (len(CASES), len([case for case in CASES if on_update(case)])) == (39, 10)


COPIED = "(the API server copies a limit into a missing request)"


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        ({}, []),
        ({"containers": [{}], "resources": {}}, []),
        ({"containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]}, []),
        (
            {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}], "initContainers": [{}]},
            [f"/spec/containers/0/resources/requests/nvidia.com~1gpu: unset -> 1 {COPIED}"],
        ),
        (
            {"containers": [{}], "initContainers": [{"resources": {"limits": {"cpu": "100u"}}}]},
            [
                "/spec/initContainers/0/resources/limits/cpu: 100u -> 1m (the API server rounds up to thousandths)",
                f"/spec/initContainers/0/resources/requests/cpu: unset -> 1m {COPIED}",
            ],
        ),
        (
            {
                "resources": {"limits": {"cpu": "4"}},
                "containers": [
                    {"resources": {"requests": {"memory": "1Gi"}}},
                    {"resources": {"requests": {"memory": "1Gi"}, "limits": {"hugepages-2Mi": "4Mi"}}},
                ],
            },
            [
                f"/spec/containers/1/resources/requests/hugepages-2Mi: unset -> 4Mi {COPIED}",
                "/spec/resources/limits/hugepages-2Mi: unset -> 4Mi (the API server sums up the containers' hugepages)",
                "/spec/resources/requests/memory: unset -> 2Gi (the API server sums up the containers' requests)",
                f"/spec/resources/requests/cpu: unset -> 4 {COPIED}",
                f"/spec/resources/requests/hugepages-2Mi: unset -> 4Mi {COPIED}",
            ],
        ),
    ],
    ids=["nothing", "nothing stated", "all stated", "limit", "rounded", "pod level"],
)
def test_each_default_is_told(spec: Data, changes: list[str]) -> None:
    _, made = default(pod_of({"spec": spec}))
    assert [text(change) for change in made] == changes
    assert {change.rule for change in made} <= {"api-default"}


@pytest.mark.parametrize(("given", "expect"), params(case for case in CASES if not on_update(case)))
def test_a_pod_with_defaults_gets_no_more(given: Data, expect: Data) -> None:
    pod, _ = default(pod_of(given["pod"]))
    assert default(pod) == (pod, []), expect


def test_what_the_api_server_may_have_summed_up_is_left_out_in_each_combination() -> None:
    containers = [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]
    sums = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}}
    before = workload(pod_of({"spec": {"containers": containers, "resources": sums}}))
    kept = [
        sorted((each.pod_level.requests or {}) if each.pod_level else {})
        for each in defaulting.without_sums(before, after=before)
    ]
    assert kept == [["cpu", "memory"], ["memory"], ["cpu"], []]


ONE_CPU, TWO_CPU = {"requests": {"cpu": "1"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("level", "containers", "before", "since"),
    [
        ({}, [{"requests": BOTH, "limits": BOTH}], ({}, "BestEffort"), ({}, "Guaranteed")),
        ({"limits": {}}, [ONE_CPU], ({}, "BestEffort"), ({}, "Burstable")),
        ({}, [{}], ({}, "BestEffort"), ({}, "BestEffort")),
        (
            {"requests": {"cpu": "0"}},
            [{"requests": {"memory": "1Gi"}}],
            ({"requests": {"cpu": "0"}}, "BestEffort"),
            ({"requests": {"cpu": "0", "memory": "1Gi"}}, "Burstable"),
        ),
        (
            {"requests": {"memory": "1Gi"}},
            [TWO_CPU, ONE_CPU],
            ({"requests": {"memory": "1Gi"}}, "Burstable"),
            ({"requests": {"cpu": "2", "memory": "1Gi"}}, "Burstable"),
        ),
        (
            {"requests": {"memory": "1Gi", "cpu": "8"}, "limits": {"memory": "1Gi"}},
            [TWO_CPU, TWO_CPU],
            ({"requests": {"memory": "1Gi", "cpu": "8"}, "limits": {"memory": "1Gi"}}, "Burstable"),
            ({"requests": {"memory": "1Gi", "cpu": "8"}, "limits": {"memory": "1Gi", "cpu": "8"}}, "Guaranteed"),
        ),
    ],
    ids=["empty", "empty limits", "nothing at all", "zero", "one container without a limit", "all have limits"],
)
def test_resources_of_the_pod_are_completed_as_by_the_version_of_kubernetes(
    level: Data, containers: list[Data], before: tuple[Data, str], since: tuple[Data, str]
) -> None:
    pod = pod_of({"spec": {"resources": level, "containers": [{"resources": each} for each in containers]}})
    for version, expected in ((BEFORE_FIX, before), (NEWEST, since)):
        after = default(pod, version)[0]
        assert (block(after.spec.resources), effective.qos(after, version)) == expected, version
        assert default(after, version) == (after, [])
