"""A resize is bounded in all that it can make larger, and takes nothing from what runs."""

from typing import Any

import pytest

from tests.rules import PLATFORM, container, context, spec, task_pod, text
from tests.vectors import Data
from tests.workloads import clamp, fill, unclampable
from webhook.api import pod as pods


@pytest.mark.parametrize(
    ("new", "old", "changes"),
    [
        (spec(container({"cpu": "3"})), spec(container({"cpu": "2"})), []),
        (
            spec(container({"cpu": "6", "nvidia.com/gpu": "9"}, {"cpu": "7", "memory": "9Gi"})),
            spec(container({"cpu": "2", "nvidia.com/gpu": "9"}, {"cpu": "2", "memory": "1Gi"})),
            [
                "/spec/containers/0/resources/limits/cpu: 7 -> 4 (over the maximum 4)",
                "/spec/containers/0/resources/requests/cpu: 6 -> 4 (over the maximum 4)",
                "/spec/containers/0/resources/limits/memory: 9Gi -> 8Gi (over the maximum 8Gi)",
            ],
        ),
        (  # a running container never loses what it has
            spec(container({"cpu": "6"}, {"cpu": "6"})),
            spec(container({"cpu": "6"}, {"cpu": "6"})),
            [],
        ),
        (
            spec(
                container({"cpu": "1"}),
                initContainers=[container({"cpu": "9"}), {**container({"cpu": "9"}), "restartPolicy": "Always"}],
                resources={"limits": {"cpu": "99"}},
            ),
            spec(
                container({"cpu": "1"}),
                initContainers=[container({"cpu": "9"}), {**container({"cpu": "1"}), "restartPolicy": "Always"}],
                resources={"limits": {"cpu": "99"}},
            ),
            ["/spec/initContainers/1/resources/requests/cpu: 9 -> 4 (over the maximum 4)"],
        ),
        (  # an ordinary init container, which can be resized until it has ended
            spec({}, initContainers=[container({"cpu": "64"}, {"cpu": "64", "memory": "8Gi"})]),
            spec({}, initContainers=[container({"cpu": "2"}, {"cpu": "2", "memory": "1Gi"})]),
            [
                "/spec/initContainers/0/resources/limits/cpu: 64 -> 4 (over the maximum 4)",
                "/spec/initContainers/0/resources/requests/cpu: 64 -> 4 (over the maximum 4)",
            ],
        ),
        (  # to no limit at all
            spec(container({"cpu": "1"}, {"cpu": "0"}), container({"memory": "9Gi"}, {"memory": None, "cpu": "1"})),
            spec(container({"cpu": "1"}, {"cpu": "2"}), container({"memory": "1Gi"}, {"memory": "9Gi", "cpu": "1"})),
            [
                "/spec/containers/0/resources/limits/cpu: 0 -> 4 (unlimited; the maximum is 4)",
                "/spec/containers/1/resources/limits/memory: 0 -> 9Gi (unlimited; the maximum is 8Gi)",
                "/spec/containers/1/resources/requests/memory: 9Gi -> 8Gi (over the maximum 8Gi)",
            ],
        ),
        (
            spec(container({"cpu": "1"}), container()),
            spec(container({"cpu": "1"}, {"cpu": "2"}), container(None, {"memory": "1Gi"})),
            [
                "/spec/containers/0/resources/limits/cpu: unset -> 4 (unlimited; the maximum is 4)",
                "/spec/containers/1/resources/limits/memory: unset -> 8Gi (unlimited; the maximum is 8Gi)",
            ],
        ),
        (  # what had no limit loses by any
            spec(container({"cpu": "1"}, {"cpu": "0"}), container({"cpu": "9"}, {"cpu": "9"})),
            spec(container({"cpu": "1"}, {"cpu": "0"}), container({"cpu": "6"})),
            ["/spec/containers/1/resources/requests/cpu: 9 -> 6 (over the maximum 4)"],
        ),
        (  # the API server refuses it
            spec(container({"cpu": "-1"}, {"cpu": "9"}), container({"cpu": "9"})),
            spec(container({"cpu": "1"}, {"cpu": "1"}), container({"cpu": "1"})),
            ["/spec/containers/1/resources/requests/cpu: 9 -> 4 (over the maximum 4)"],
        ),
        # nothing is filled
        (spec({}, container({"cpu": "1"})), spec({}, container({"cpu": "1"})), []),
    ],
    ids=[
        *("below", "over", "as before", "sidecar", "init container", "zero limit", "no limit", "had no limit"),
        *("negative", "nothing filled"),
    ],
)
def test_a_resize_is_clamped_where_it_grows(new: Data, old: Data, changes: list[str]) -> None:
    pod, before = task_pod(new), task_pod(old)
    rules = context(PLATFORM, pod, before)
    assert fill(pod, rules) == (pod, [])
    assert [text(change) for change in clamp(pod, rules)[1]] == changes


@pytest.mark.parametrize(
    ("new", "old", "changes"),
    [
        (None, None, []),
        ({"limits": {"cpu": "9"}}, {"limits": {"cpu": "9"}}, []),
        ({"limits": {"cpu": "4"}, "requests": {"hugepages-2Mi": "9Gi"}}, {"limits": {"cpu": "2"}}, []),
        (
            {"limits": {"cpu": "6"}, "requests": {"memory": "9Gi"}},
            {"limits": {"cpu": "2"}, "requests": {"memory": "1Gi"}},
            [
                "/spec/resources/limits/cpu: 6 -> 4 (over the maximum 4)",
                "/spec/resources/requests/memory: 9Gi -> 8Gi (over the maximum 8Gi)",
            ],
        ),
        (
            {"limits": {"cpu": "0"}},
            {"limits": {"cpu": "6", "memory": "1Gi"}},
            [
                "/spec/resources/limits/cpu: 0 -> 6 (unlimited; the maximum is 4)",
                "/spec/resources/limits/memory: unset -> 8Gi (unlimited; the maximum is 8Gi)",
            ],
        ),
        ({"limits": {"cpu": "9"}}, None, ["/spec/resources/limits/cpu: 9 -> 4 (over the maximum 4)"]),
        ({"requests": {"cpu": "3"}}, None, []),
        ({"limits": {"cpu": "4"}, "requests": {"cpu": "3"}}, None, []),
        (None, {"limits": {"cpu": "2"}}, []),  # the API server keeps it, or refuses
        ({"limits": {"cpu": "9", "memory": "-1"}}, {"limits": {"cpu": "2", "memory": "1Gi"}}, []),
    ],
    ids=[
        *("nothing", "as before", "within", "over", "zero and missing", "new and over", "new requests", "new"),
        *("removed", "negative"),
    ],
)
def test_a_resize_of_the_pod_as_a_whole_is_told_where_it_grows_over_a_maximum(
    new: Data | None, old: Data | None, changes: list[str]
) -> None:
    pod = task_pod(spec(container(None, {"cpu": "2", "memory": "1Gi"}), resources=new))
    before = task_pod(spec(container(None, {"cpu": "2", "memory": "1Gi"}), resources=old))
    over = unclampable(pod, context(PLATFORM, pod, before))
    assert [text(change) for change in over] == changes


def test_a_new_pod_can_be_clamped_as_a_whole() -> None:
    pod = task_pod(spec({}, resources={"limits": {"cpu": "6"}}))
    assert unclampable(pod, context(PLATFORM, pod)) == ()


WHOLE = "task_resources: {limits: {cpu: 6}}\npod_limits: {cpu: 8, memory: 8Gi}"


def cpus(*amounts: str, init: str | None = None, sidecar: str | None = None, **fields: Any) -> Data:
    def of(amount: str) -> Data:
        return container({"cpu": amount}, {"cpu": amount})

    started = [{**of(sidecar), "restartPolicy": "Always"}] if sidecar else []
    return spec(*map(of, amounts), initContainers=[*started, *([of(init)] if init else [])], **fields)


@pytest.mark.parametrize(
    ("new", "old", "gets"),
    [
        (cpus("4", "4"), cpus("1", "1"), ["4", "4"]),
        (cpus("5", "5"), cpus("1", "3"), ["4", "4"]),
        (cpus("9", "3"), cpus("1", "3"), ["5", "3"]),
        (cpus("9", "1"), cpus("1", "3"), ["6", "1"]),
        (cpus("6", "6"), cpus("6", "6"), ["6", "6"]),  # as before
        (cpus("7", "6"), cpus("6", "6"), ["6", "6"]),
        (cpus("6", "5"), cpus("5", "6"), ["6", "5"]),  # no more in all than before
        (cpus("1", init="9"), cpus("1", init="1"), ["1", "6"]),
        (cpus("1", sidecar="5", init="6"), cpus("1", sidecar="5", init="1"), ["1", "5", "3"]),
        (cpus("1", sidecar="5", init="6"), cpus("1", sidecar="1", init="6"), ["1", "2", "6"]),
        (
            cpus("4", "4", resources={"limits": {"cpu": "9"}}),
            cpus("4", "4", resources={"limits": {"cpu": "9"}}),
            ["4", "4"],
        ),
        (
            cpus("5", "5", resources={"limits": {"cpu": "9"}}),
            cpus("4", "4", resources={"limits": {"cpu": "9"}}),
            ["5", "5"],
        ),
    ],
)
def test_what_a_resize_adds_to_the_pod_as_a_whole_is_bounded(new: Data, old: Data, gets: list[str]) -> None:
    pod = task_pod(new)
    rules = context(WHOLE, pod, task_pod(old))
    pod, _ = clamp(pod, rules)
    found = [container for _, container in pods.containers(pod)]
    assert [str(it.limits["cpu"]) for it in found] == gets
    stated = pod.spec.resources is not None  # then the requests alone are added up
    assert stated or [str(it.requests["cpu"]) for it in found] == gets
    assert clamp(pod, rules) == (pod, [])


def test_a_container_that_had_no_limit_keeps_the_one_it_gets_and_the_others_grow_no_further() -> None:
    new = task_pod(spec(container(None, {"cpu": "6"}), container(None, {"cpu": "6"})))
    old = task_pod(spec(container(None, None), container(None, {"cpu": "1"})))
    pod, _ = clamp(new, context(WHOLE, new, old))
    assert [str(it.limits["cpu"]) for it in pod.spec.containers] == ["6", "2"]


def test_a_resize_to_no_limit_is_bounded_by_what_the_pod_as_a_whole_may_have() -> None:
    new, old = (
        task_pod(spec(container({"memory": "1Gi"}, {"memory": it}), container({"memory": "9Gi"})))
        for it in ("0", "2Gi")
    )
    assert [text(change) for change in clamp(new, context(WHOLE, new, old))[1]] == [
        "/spec/containers/0/resources/limits/memory: 0 -> 8Gi (unlimited; the maximum is 8Gi)",
    ]


def test_what_no_resize_can_change_is_left_to_the_api_server() -> None:
    new, old = (task_pod(spec(container({"nvidia.com/gpu": it}, {"nvidia.com/gpu": it}))) for it in ("9", "1"))
    assert clamp(new, context("pod_limits: {gpu: 2}\ntask_resources: {limits: {gpu: 2}}", new, old)) == (new, [])


def test_what_the_pod_states_as_a_whole_grows_no_further_than_the_pod_may() -> None:
    new, old = (task_pod(spec({}, resources={"limits": {"cpu": it}})) for it in ("7", "1"))
    assert unclampable(new, context(WHOLE.replace("cpu: 8", "cpu: 5"), new, old))[0].why == "over the maximum 5"
