"""`spec.resources` is bounded like a container, and the containers stay within it."""

import pytest

from tests.rules import PLATFORM, clamped, container, context, filled, spec, task_pod
from tests.vectors import Data
from tests.workloads import clamp
from webhook.api.resources import NO_RESOURCES

FULL = {"cpu": "1", "memory": "1Gi"}
TOGETHER = "not set; the limits of its containers are"


def share(index: int, before: str, after: str, of: str = "4", name: str = "cpu") -> str:
    why = f"over its share of the {of} that the Pod as a whole may request"
    return f"/spec/containers/{index}/resources/requests/{name}: {before} -> {after} ({why})"


LEVEL_LIMIT_8_TO_4 = "/spec/resources/limits/cpu: 8 -> 4 (over the maximum 4)"
LEVEL_REQUEST_6_TO_4 = (
    "/spec/resources/requests/cpu: unset -> 4 (not set; its containers request 6, over the maximum 4)"
)
LEVEL_REQUEST_8_TO_4 = "/spec/resources/requests/cpu: 8 -> 4 (over the maximum 4)"


@pytest.mark.parametrize(
    ("pod_spec", "changes"),
    [
        (spec({}, resources={}), []),
        (spec({}, resources={"requests": {"cpu": "4"}, "limits": {"cpu": "4"}}), []),
        (
            spec({}, resources={"requests": {"cpu": "8"}, "limits": {"cpu": "8"}}),
            [LEVEL_LIMIT_8_TO_4, LEVEL_REQUEST_8_TO_4],
        ),
        (  # what fits into the new bound stays
            spec(container({"cpu": "1"}), container({"cpu": "3"}), resources={"limits": {"cpu": "8"}}),
            [LEVEL_LIMIT_8_TO_4],
        ),
        (  # what does not is cut in proportion: the API server wants the sum within the Pod's request
            spec(
                container({"cpu": "2", "memory": "1Gi"}),
                container({"cpu": "4"}),
                {},
                resources={"requests": {"cpu": "8"}, "limits": {"cpu": "8"}},
            ),
            [
                "/spec/resources/limits/memory: unset -> 8Gi (unlimited; the maximum is 8Gi)",
                LEVEL_LIMIT_8_TO_4,
                LEVEL_REQUEST_8_TO_4,
                share(0, "2", "1333m"),
                share(1, "4", "2666m"),
            ],
        ),
        (  # the Pod's own request is the bound where it is lower than its limit
            spec(
                container({"cpu": "3"}),
                container({"cpu": "2"}),
                resources={"requests": {"cpu": "5"}, "limits": {"cpu": "8"}},
            ),
            [
                LEVEL_LIMIT_8_TO_4,
                "/spec/resources/requests/cpu: 5 -> 4 (over the maximum 4)",
                share(0, "3", "2400m"),
                share(1, "2", "1600m"),
            ],
        ),
        (
            spec(
                container({"memory": "5Gi"}),
                container({"memory": "5Gi"}),
                resources={"requests": {"cpu": "0", "memory": "10Gi"}, "limits": {"memory": "10Gi"}},
            ),
            [
                "/spec/resources/limits/cpu: unset -> 4 (unlimited; the maximum is 4)",
                "/spec/resources/limits/memory: 10Gi -> 8Gi (over the maximum 8Gi)",
                "/spec/resources/requests/memory: 10Gi -> 8Gi (over the maximum 8Gi)",
                share(0, "5Gi", "4Gi", "8Gi", "memory"),
                share(1, "5Gi", "4Gi", "8Gi", "memory"),
            ],
        ),
        (  # containers are clamped first
            spec(container({"cpu": "6"}, {"cpu": "6"}), resources={"requests": {"cpu": "8"}, "limits": {"cpu": "8"}}),
            [
                "/spec/containers/0/resources/limits/cpu: 6 -> 4 (over the maximum 4)",
                "/spec/containers/0/resources/requests/cpu: 6 -> 4 (over the maximum 4)",
                LEVEL_LIMIT_8_TO_4,
                LEVEL_REQUEST_8_TO_4,
            ],
        ),
        (  # the API server would state the sum, 6, as the Pod's request
            spec(container({"cpu": "3"}), container({"cpu": "3"}), resources={"limits": {"cpu": "0", "memory": "1Gi"}}),
            [
                "/spec/resources/limits/cpu: 0 -> 4 (unlimited; the maximum is 4)",
                LEVEL_REQUEST_6_TO_4,
                share(0, "3", "2"),
                share(1, "3", "2"),
            ],
        ),
        (
            spec(container({"cpu": "3"}), container({"cpu": "3"}), resources={"limits": {"cpu": "2"}}),
            [
                LEVEL_REQUEST_6_TO_4,
                "/spec/resources/requests/cpu: 4 -> 2 (over the limit 2)",
                share(0, "3", "1", "2"),
                share(1, "3", "1", "2"),
            ],
        ),
    ],
    ids=[
        *("empty", "equal", "no container", "fits", "shares", "request", "zero request", "containers first"),
        *("zero limit", "sum over the limit"),
    ],
)
def test_a_pod_as_a_whole_is_clamped_and_its_containers_fit_into_it(pod_spec: Data, changes: list[str]) -> None:
    assert clamped(task_pod(pod_spec), PLATFORM) == changes


def level(side: str, name: str, before: str, after: str, why: str) -> str:
    return f"/spec/resources/{side}/{name}: {before} -> {after} ({why})"


REQUEST, DEFAULT = "not set; same as the request", "not set; the default"


@pytest.mark.parametrize(
    ("pod_spec", "changes"),
    [
        (spec({}, resources=None), []),
        (spec({}, resources={}), []),
        (spec({}, resources={"requests": {"cpu": "2"}}), [level("limits", "cpu", "unset", "2", REQUEST)]),
        (
            spec({}, resources={"requests": {"cpu": "2"}, "limits": {"cpu": "0"}}),
            [level("limits", "cpu", "0", "2", REQUEST)],
        ),
        (  # the API server states the request, once all webhooks have added their containers
            spec({}, resources={"limits": {"cpu": "2"}}),
            [],
        ),
        (
            spec({}, resources={"requests": {"cpu": "0"}, "limits": {"cpu": "2"}}),
            [level("requests", "cpu", "0", "2", "not set; same as the limit")],
        ),
        (
            spec({}, resources={"requests": {"cpu": "0"}, "limits": {"cpu": "0"}}),
            [level("requests", "cpu", "0", "500m", DEFAULT), level("limits", "cpu", "0", "500m", REQUEST)],
        ),
        (
            spec({}, resources={"limits": {"cpu": "0"}}),
            [level("requests", "cpu", "unset", "500m", DEFAULT), level("limits", "cpu", "0", "500m", REQUEST)],
        ),
        (  # never less than its containers have, which the API server would refuse
            spec(
                container({"cpu": "1"}, {"cpu": "3"}),
                container({"cpu": "1"}),
                resources={"requests": {"cpu": "0"}, "limits": {"cpu": "0"}},
            ),
            [
                level("requests", "cpu", "0", "2", "not set; what its containers request together"),
                level("limits", "cpu", "0", "3", "not set; the largest limit of its containers"),
            ],
        ),
        (  # what it does not state is left alone
            spec(container({"memory": "1Gi"}, FULL), container({"memory": "1Gi"}), resources={"limits": {"cpu": "2"}}),
            [],
        ),
        (  # nor is it stated where all containers have limits
            spec(container(None, FULL), container(None, FULL), resources={"requests": {"cpu": "1"}}),
            [],
        ),
        (  # of which the Pod could not use what it requests
            spec(container(None, FULL), resources={"requests": {"cpu": "2"}}),
            [level("limits", "cpu", "unset", "2", REQUEST)],
        ),
        (spec({}, resources={"requests": {"hugepages-2Mi": "2Mi"}}), []),
        (spec({}, resources={"requests": {"cpu": "-1"}, "limits": {"memory": "0"}}), []),
        (spec(container({"cpu": "-1"}), resources={"requests": {"cpu": "0"}}), []),
    ],
    ids=[
        *("null", "empty", "request", "zero limit", "limit", "zero request", "zeros", "a zero limit alone"),
        *("containers", "not stated", "limits of all containers", "lower limits", "hugepages"),
        *("negative", "negative container"),
    ],
)
def test_what_a_pod_states_as_a_whole_is_completed(pod_spec: Data, changes: list[str]) -> None:
    policy = f"{PLATFORM}\nsecondary_defaults: {{}}"
    stated = [change for change in filled(task_pod(pod_spec), policy) if change.startswith("/spec/resources/")]
    assert stated == changes


def test_without_a_default_the_pod_as_a_whole_gets_the_maximum_and_without_either_nothing() -> None:
    pod = task_pod(spec({}, resources={"requests": {"cpu": "0", "memory": "0"}}))
    policy = "task_resources: {limits: {cpu: 4}}"
    assert [change for change in filled(pod, policy) if change.startswith("/spec/resources/")] == [
        level("requests", "cpu", "0", "4", "not set, and there is no default; the maximum"),
        level("limits", "cpu", "unset", "4", REQUEST),
    ]


def unlimited(name: str, after: str, most: str, before: str = "unset") -> str:
    return level("limits", name, before, after, f"unlimited; the maximum is {most}")


BIG = {"cpu": "3", "memory": "5Gi"}


@pytest.mark.parametrize(
    ("pod_spec", "changes"),
    [
        (spec({}, resources={"requests": {"cpu": "2"}}), [unlimited("cpu", "2", "4")]),
        (spec({}, resources={"requests": {"cpu": "0"}}), [unlimited("cpu", "4", "4")]),
        (spec({}, resources={"limits": {"memory": "0"}}), [unlimited("memory", "8Gi", "8Gi", "0")]),
        (
            spec({}, resources={"requests": {"cpu": "9"}}),
            [unlimited("cpu", "4", "4"), level("requests", "cpu", "9", "4", "over the maximum 4")],
        ),
        (  # its containers have limits
            spec(container(None, {"cpu": "3"}), resources={"requests": {"cpu": "2"}}),
            [],
        ),
        (  # which the API server would add up
            spec(
                container(None, BIG), container({"cpu": "1", "memory": "1Gi"}, BIG), resources={"limits": {"cpu": "4"}}
            ),
            [
                level("limits", "memory", "unset", "8Gi", f"{TOGETHER} 10Gi together, over the maximum 8Gi"),
            ],
        ),
        (
            spec({}, resources={"requests": {"ephemeral-storage": "1Gi"}}),  # which the API server refuses
            [],
        ),
        (spec({}, resources={"requests": {"cpu": "9", "memory": "-1"}}), []),
        (  # a negative request is not made a legal one
            spec(
                container({"cpu": "8"}, {"cpu": "4"}),
                container({"cpu": "-2"}),
                resources={"requests": {"cpu": "9"}, "limits": {"cpu": "9"}},
            ),
            ["/spec/containers/0/resources/requests/cpu: 8 -> 4 (over the maximum 4)"],
        ),
    ],
    ids=[
        *("request", "zero", "zero limit", "over", "limits of all containers", "their sum", "no such resource"),
        *("negative", "negative container"),
    ],
)
def test_a_pod_as_a_whole_is_never_without_a_limit_that_it_must_have(pod_spec: Data, changes: list[str]) -> None:
    assert clamped(task_pod(pod_spec), PLATFORM) == changes


def test_hugepages_of_the_containers_fit_by_whole_pages_into_what_the_pod_as_a_whole_may_have() -> None:
    def pages(amount: str) -> Data:
        return container({"hugepages-2Mi": amount, "cpu": "1"}, {"hugepages-2Mi": amount})

    for stated in ({}, {"hugepages-2Mi": "100Mi"}):
        whole = {"requests": {"cpu": "2", **stated}, "limits": {"cpu": "2", **stated}}
        pod = task_pod(spec(pages("60Mi"), pages("40Mi"), resources=whole))
        rules = context("task_resources: {limits: {hugepages-*: 63Mi}}", pod)
        pod, _ = clamp(pod, rules)
        blocks = [(pod.spec.resources or NO_RESOURCES), *(it.resources or NO_RESOURCES for it in pod.spec.containers)]
        found = [str(side["hugepages-2Mi"]) for block in blocks for side in (block.requests, block.limits) if side]
        assert found == ["62Mi", "62Mi", "36Mi", "36Mi", "24Mi", "24Mi"]
        assert clamp(pod, rules) == (pod, [])


SHARE_OF_6 = "over its share of the 6Mi that the Pod as a whole may have"


def test_a_limit_of_hugepages_without_a_request_is_cut_alone() -> None:
    whole = {"cpu": "1", "hugepages-2Mi": "8Mi"}
    pod = task_pod(spec(container(None, whole), resources={"requests": whole, "limits": whole}))
    assert clamped(pod, "pod_limits: {hugepages-2Mi: 6Mi}") == [
        "/spec/resources/limits/hugepages-2Mi: 8Mi -> 6Mi (over the maximum 6Mi)",
        "/spec/resources/requests/hugepages-2Mi: 8Mi -> 6Mi (over the maximum 6Mi)",
        f"/spec/containers/0/resources/limits/hugepages-2Mi: 8Mi -> 6Mi ({SHARE_OF_6})",
    ]


def test_the_maximum_of_the_pod_holds_for_what_it_states_as_a_whole_and_for_its_containers_limits() -> None:
    policy = "task_resources: {limits: {cpu: 8}}\npod_limits: {cpu: 4}"
    asked = {"cpu": "6"}
    assert clamped(task_pod(spec(container(asked, asked), resources={"requests": asked, "limits": asked})), policy) == [
        LEVEL_LIMIT_8_TO_4.replace("8", "6"),
        LEVEL_REQUEST_8_TO_4.replace("8", "6"),
        "/spec/containers/0/resources/limits/cpu: 6 -> 4 (over the 4 that the Pod as a whole may have)",
        share(0, "6", "4"),
    ]
