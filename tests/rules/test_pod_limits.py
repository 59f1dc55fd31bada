"""A Pod has no more in all its containers together than `pod_limits` says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import clamped, container, context, spec, task_pod
from tests.vectors import Data
from tests.workloads import aggregate, clamp, default, fill
from webhook.api import pod as pods
from webhook.api.quantity import ZERO
from webhook.api.resources import NO_RESOURCES
from webhook.rules.effective import limits_of, requests_of

GPU = "nvidia.com/gpu"
MIG = "nvidia.com/mig-1g.5gb"


def both(name: str, amount: str) -> Data:
    return container({name: amount}, {name: amount})


def task(
    name: str, apps: list[str], init: str | None = None, sidecar: str | None = None, after: str | None = None
) -> Data:
    """Containers with so much each: the apps, an init container, a native sidecar, an init container after that."""
    started = [both(name, init)] if init else []
    started += [{**both(name, sidecar), "restartPolicy": "Always"}] if sidecar else []
    return spec(*(both(name, it) for it in apps), initContainers=[*started, *([both(name, after)] if after else [])])


def limits_after(pod_spec: Data, pod_limits: Data, **annotations: str) -> list[str]:
    """The one resource of each container under the policy: limits that are requests too."""
    pod = task_pod(pod_spec, annotations=annotations)
    pod, _ = clamp(pod, context(json.dumps({"pod_limits": pod_limits}), pod))
    found = []
    for _, it in pods.containers(pod):
        assert dict(it.requests) == dict(it.limits)
        found += [str(value) for value in it.limits.values()]
    return found


@pytest.mark.parametrize(
    ("pod_spec", "gets"),
    [
        (task("cpu", ["4", "4"]), ["4", "4"]),
        (task("cpu", ["16"]), ["8"]),
        (task("cpu", ["8", "8"]), ["4", "4"]),
        (task("cpu", ["12", "4"]), ["6", "2"]),
        (task("cpu", ["8", "4", "4"]), ["4", "2", "2"]),
        (task("cpu", ["6", "6", "6"]), ["2666m", "2666m", "2666m"]),  # rounded down
        (task("cpu", ["64", "1m"]), ["7999m", "1m"]),  # nobody is without a limit: to the kernel that is none
        # an init container runs before the others, which keep what they have
        (task("cpu", ["4"], init="16"), ["4", "8"]),
        (task("cpu", ["12", "4"], init="2"), ["6", "2", "2"]),
        # a native sidecar runs beside all that starts after it
        (task("cpu", ["12"], sidecar="4"), ["6", "2"]),
        (task("cpu", ["4"], sidecar="2", after="9"), ["4", "2", "6"]),
        (task("cpu", ["4"], init="9", sidecar="2", after="6"), ["4", "8", "2", "6"]),
        (task("cpu", [], sidecar="9", after="1"), ["7999m", "1m"]),
        (task("memory", ["10Gi", "6Gi"]), ["5Gi", "3Gi"]),
        (task("memory", ["8Gi", "1"]), ["8589934591", "1"]),
        (task("ephemeral-storage", ["3G", "3G"]), ["500M", "500M"]),
        # whole pages, and none where there are too few
        (task("hugepages-2Mi", ["6Mi", "6Mi", "6Mi"]), ["2Mi", "2Mi", "2Mi"]),
        (task("hugepages-2Mi", ["64Mi", "2Mi"]), ["4Mi", "0"]),
        (task("hugepages-1Gi", ["64Gi"]), ["64Gi"]),
        # devices in order, each what is left
        (task(GPU, ["1", "1"]), ["1", "1"]),
        (task(GPU, ["2"] * 10), ["2", "1", *["0"] * 8]),
        (task(GPU, ["1", "3", "1"]), ["1", "2", "0"]),
        (task(GPU, ["1"], init="4"), ["1", "3"]),
        (task(GPU, ["2"], sidecar="2", after="4"), ["2", "1", "2"]),
        (task(MIG, ["2", "2"]), ["2", "1"]),
        (task("amd.com/gpu", ["3", "3"]), ["3", "0"]),
        (task("deviceclass.resource.kubernetes.io/gpu.intel.com", ["3", "3"]), ["3", "0"]),
        (task("example.com/fpga", ["1", "1"]), ["1", "0"]),
        (task("example.org/nic", ["9", "9"]), ["9", "9"]),
        (task("cpu", ["16", "-1"]), ["16", "-1"]),  # which the API server refuses
    ],
)
def test_what_is_over_the_maximum_of_the_pod_is_lowered_and_no_more(pod_spec: Data, gets: list[str]) -> None:
    limits = {"cpu": 8, "memory": "8Gi", "ephemeralStorage": "1G", "hugepages-2Mi": "6Mi", "gpu": 3, "example.com/*": 1}
    assert limits_after(pod_spec, limits) == gets


def test_devices_go_to_the_primary_container_first() -> None:
    pod_spec = spec(*({"name": name, **both(GPU, "2")} for name in ("log", "main", "proxy")))
    assert limits_after(pod_spec, {"gpu": 3}, primary_container_name="main") == ["1", "2", "0"]


def test_the_maximum_of_gpus_is_that_of_each_kind_of_them() -> None:
    pod_spec = spec(both(GPU, "2"), both("amd.com/gpu", "2"), both(MIG, "2"))
    assert limits_after(pod_spec, {"gpu": 2}) == ["2", "2", "2"]


LEFT = "(over what is left of the 1 that the Pod as a whole may have)"


def test_each_change_says_why() -> None:
    policy = "task_resources: {limits: {cpu: 8}}\npod_limits: {cpu: 10, gpu: 1}"
    pod = task_pod(
        spec(
            container({"cpu": "1"}, {"cpu": "32", GPU: "1"}), container({"cpu": "8", GPU: "1"}, {"cpu": "12", GPU: "1"})
        )
    )
    assert clamped(pod, policy) == [
        "/spec/containers/0/resources/limits/cpu: 32 -> 8 (over the maximum 8)",
        "/spec/containers/1/resources/limits/cpu: 12 -> 8 (over the maximum 8)",
        "/spec/containers/0/resources/limits/cpu: 8 -> 5 (over its share of the 10 that the Pod as a whole may have)",
        "/spec/containers/1/resources/limits/cpu: 8 -> 5 (over its share of the 10 that the Pod as a whole may have)",
        "/spec/containers/1/resources/requests/cpu: 8 -> 5 (over its share of the 10 that the Pod as a whole may have)",
        f"/spec/containers/1/resources/limits/nvidia.com~1gpu: 1 -> 0 {LEFT}",
        f"/spec/containers/1/resources/requests/nvidia.com~1gpu: 1 -> 0 {LEFT}",
    ]


def test_requests_without_limits_are_bounded_too() -> None:
    pod = task_pod(spec(container({"cpu": "12"}), container({"cpu": "4"}, {"cpu": "8"})))
    assert clamped(pod, "pod_limits: {cpu: 8}") == [
        "/spec/containers/0/resources/requests/cpu: 12 -> 6 (over its share of the 8 that the Pod as a whole may have)",
        "/spec/containers/1/resources/requests/cpu: 4 -> 2 (over its share of the 8 that the Pod as a whole may have)",
    ]


def test_a_container_that_states_nothing_shares_what_the_pod_may_have() -> None:
    pod = task_pod(spec({}, {}))
    rules = context("pod_limits: {cpu: 8}", pod)
    pod, _ = clamp(fill(pod, rules)[0], rules)
    assert [str(it.limits["cpu"]) for it in pod.spec.containers] == ["4", "4"]


def test_what_the_pod_states_as_a_whole_is_lowered_there() -> None:
    asked = {"cpu": "16"}
    pod = task_pod(
        spec(container({"cpu": "1"}), container({"cpu": "3"}), resources={"requests": asked, "limits": asked})
    )
    assert clamped(pod, "pod_limits: {cpu: 8}") == [
        "/spec/resources/limits/cpu: 16 -> 8 (over the maximum 8)",
        "/spec/resources/requests/cpu: 16 -> 8 (over the maximum 8)",
    ]


AMOUNTS: dict[str, list[str]] = {
    "cpu": ["0", "10m", "1", "2500m", "7", "64"],
    "memory": ["0", "64Mi", "1Gi", "1500M", "40Gi"],
    "hugepages-2Mi": ["0", "2Mi", "64Mi", "3Gi"],
    GPU: ["0", "1", "2", "8"],
}
BLOCKS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in AMOUNTS.items()})


@st.composite
def sided(draw: st.DrawFn) -> Data:
    """A block with equal requests and limits but for cpu and memory, where they may be missing or lower."""
    limits = draw(BLOCKS)
    requests = {**limits, **{name: draw(st.sampled_from(AMOUNTS[name][:3])) for name in ("cpu", "memory")}}
    return {"resources": {"requests": requests, "limits": limits}}


SPECS = st.fixed_dictionaries(
    {"containers": st.lists(sided(), min_size=1, max_size=4)},
    optional={
        "initContainers": st.lists(
            st.tuples(sided(), st.sampled_from([{}, {"restartPolicy": "Always"}])).map(
                lambda both: {**both[0], **both[1]}
            ),
            max_size=3,
        ),
        "resources": BLOCKS.map(
            lambda block: {"limits": {name: value for name, value in block.items() if name in ("cpu", "memory")}}
        ),
    },
)
POD_LIMITS: Data = {"cpu": 4, "memory": "2Gi", "hugepages-*": "65Mi", "gpu": 2}


def ruled(pod: pods.Pod, content: Data) -> pods.Pod:
    rules = context(json.dumps(content), pod)
    return default(clamp(fill(pod, rules)[0], rules)[0])[0]


CONTENTS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"pod_limits": POD_LIMITS},
        {"pod_limits": POD_LIMITS, "secondary_defaults": {}},
        {"pod_limits": POD_LIMITS, "task_resources": {"limits": {"cpu": 3, "memory": "8Gi", "gpu": 1}}},
        {
            "pod_limits": POD_LIMITS,
            "task_resources": {"defaults": {"cpu": 1, "gpu": 1}},
            "secondary_defaults": {GPU: 1},
        },
    ]
)


@given(SPECS, CONTENTS)
def test_nothing_in_all_is_over_and_a_second_time_nothing_changes(pod_spec: Data, content: Data) -> None:
    pod = ruled(default(task_pod(pod_spec))[0], content)
    level = pod.spec.resources or NO_RESOURCES
    most = context(json.dumps(content), pod).settings.pod_limits
    for of, stated in ((limits_of, level.limits or {}), (requests_of, level.requests or {})):
        for name, total in {**aggregate(pod, of), **stated}.items():
            assert total <= (most.get(name) or total)
    for _, it in pods.containers(pod):
        assert all(it.requests[name] <= limit for name, limit in it.limits.items())
        for name in ("hugepages-2Mi", GPU):
            assert it.requests.get(name, ZERO) == it.limits.get(name, ZERO)
    assert ruled(pod, content) == pod
