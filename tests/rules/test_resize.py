"""A resize is bounded in all that it can make larger, and takes nothing from what runs."""

import pytest

from tests.rules import PLATFORM, container, context, spec, task_pod
from tests.vectors import Data
from webhook.rules import clamp, fill, unclampable


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
        # nothing is filled
        (spec({}, container({"cpu": "1"})), spec({}, container({"cpu": "1"})), []),
    ],
    ids=["below", "over", "as before", "sidecar", "nothing filled"],
)
def test_a_resize_is_clamped_where_it_grows(new: Data, old: Data, changes: list[str]) -> None:
    pod, before = task_pod(new), task_pod(old)
    rules = context(PLATFORM, pod, before)
    assert fill(pod, rules) == (pod, [])
    assert [str(change) for change in clamp(pod, rules)[1]] == changes


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
    ],
    ids=["nothing", "as before", "within", "over"],
)
def test_a_resize_of_the_pod_as_a_whole_is_told_where_it_grows_over_a_maximum(
    new: Data | None, old: Data | None, changes: list[str]
) -> None:
    pod = task_pod(spec({}, resources=new))
    over = unclampable(pod, context(PLATFORM, pod, task_pod(spec({}, resources=old))))
    assert [str(change) for change in over] == changes


def test_a_new_pod_can_be_clamped_as_a_whole() -> None:
    pod = task_pod(spec({}, resources={"limits": {"cpu": "6"}}))
    assert unclampable(pod, context(PLATFORM, pod)) == ()
