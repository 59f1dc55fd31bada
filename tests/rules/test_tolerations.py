"""The Pod tolerates the taints of what it uses: as Flyte is configured, else as Kubernetes' own plugin would."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import context, task_pod
from tests.vectors import Data, cases, params
from tests.workloads import Context, tolerate
from webhook.api.pod import Pod, Toleration
from webhook.flyte.task import Task
from webhook.policy.settings import ByResource, Settings, TolerationSettings
from webhook.rules.findings import Change

GPU = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
TPU = {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}
EXTENDED = "AddTolerationsForExtendedResources"
DEDICATED = {"key": "flyte/gpu", "operator": "Equal", "value": "dedicated", "effect": "NoSchedule"}
CONFIGURED = {
    "nvidia.com/gpu": [DEDICATED, GPU],
    "nvidia.com/mig-1g.5gb": DEDICATED,
    "amd.com/gpu": [],
    "memory": {"key": "big", "operator": "Exists"},
}
POLICY = json.dumps({"plugins": {"k8s": {"resource-tolerations": CONFIGURED}}})


def using(*names: str, amount: str = "1") -> Data:
    return {"resources": {"limits": dict.fromkeys(names, amount)}}


def tolerations(pod: Pod) -> list[Data] | None:
    found: list[Data] | None = msgspec.to_builtins(pod.spec.tolerations)
    return found


@pytest.mark.parametrize(
    ("given", "expect"),
    params([case for file in ("flyte_v1.json", "flyte_v2.json") for case in cases(file, "GetPodTolerations")]),
)
def test_the_tolerations_are_those_of_flyte(given: Data, expect: Data) -> None:
    # Not through a policy file, which refuses the value beside Exists that the vectors have, as the API server would.
    configured = TolerationSettings(
        by_resource=ByResource(msgspec.convert(given["resource_tolerations"], dict[str, tuple[Toleration, ...]])),
        always=msgspec.convert(given["default_tolerations"], tuple[Toleration, ...]),
        interruptible=msgspec.convert(given["interruptible_tolerations"], tuple[Toleration, ...]),
    )
    pod = task_pod({"containers": [{"resources": block} for block in given["resources"]]})
    task = Task(1, interruptible=given["interruptible"])
    pod, _ = tolerate(pod, Context(task, Settings(tolerations=configured)))
    found = {toleration.identity for toleration in pod.spec.tolerations or ()}
    assert found == {msgspec.convert(toleration, Toleration).identity for toleration in expect["set"]}


@pytest.mark.parametrize(
    ("given", "expect"),
    params([case for file in ("flyte_v1.json", "flyte_v2.json") for case in cases(file, EXTENDED)]),
)
def test_the_tolerations_for_extended_resources_are_those_of_flyte(given: Data, expect: Data) -> None:
    key = "add-tolerations-for-extended-resources"
    policy = json.dumps({"plugins": {"k8s": {key: given["add_tolerations_for_extended_resources"]}}})
    spec = {
        "containers": [{"resources": block} for block in given["containers"]],
        "initContainers": [{"resources": block} for block in given["init_containers"]],
        "tolerations": given["tolerations"],
    }
    pod = task_pod(spec)
    assert tolerations(tolerate(pod, context(policy, pod))[0]) == expect["list"]


@pytest.mark.parametrize(
    ("spec", "added"),
    [
        ({}, []),
        ({"containers": [{}]}, []),
        ({"containers": [using("cpu", "ephemeral-storage", "hugepages-2Mi", "foo.kubernetes.io/x")]}, []),
        ({"containers": [using("nvidia.com/gpu")]}, [DEDICATED, GPU]),
        ({"containers": [using("nvidia.com/gpu", amount="0")]}, []),
        ({"containers": [using("amd.com/gpu")]}, []),
        ({"containers": [using("memory")]}, [{"key": "big", "operator": "Exists"}]),
        ({"containers": [using("google.com/tpu")]}, [TPU]),
        ({"containers": [{"resources": {"requests": {"google.com/tpu": "1"}}}]}, [TPU]),
        ({"containers": [{}, using("google.com/tpu")]}, [TPU]),
        ({"containers": [{}], "initContainers": [using("google.com/tpu")]}, [TPU]),
        ({"containers": [{}], "initContainers": [{**using("google.com/tpu"), "restartPolicy": "Always"}]}, [TPU]),
        # in the order of the names; what two of them ask for comes once
        ({"containers": [using("nvidia.com/mig-1g.5gb", "google.com/tpu")]}, [TPU, DEDICATED]),
        ({"containers": [using("nvidia.com/mig-1g.5gb"), using("nvidia.com/gpu")]}, [DEDICATED, GPU]),
    ],
)  # fmt: skip
def test_every_extended_resource_that_is_used_is_tolerated(spec: Data, added: list[Data]) -> None:
    pod = task_pod(spec)
    after, changes = tolerate(pod, context(POLICY, pod))
    assert (tolerations(after), [change.after for change in changes]) == (added or None, added)


@pytest.mark.parametrize(
    ("own", "added"),
    [
        ([], [TPU]),
        ([{"operator": "Exists"}], [TPU]),
        ([TPU], []),
        ([{**TPU, "tolerationSeconds": 300}], []),
        ([{**TPU, "operator": None}], [TPU]),
        ([{**TPU, "value": ""}], []),
        ([{**TPU, "effect": None}], [TPU]),
        ([{**TPU, "value": "x", "operator": "Equal"}, GPU], [TPU]),
    ],
)
def test_what_is_added_goes_after_what_is_there_and_never_twice(own: list[Data], added: list[Data]) -> None:
    pod = task_pod({"containers": [using("google.com/tpu")], "tolerations": own})
    after, _ = tolerate(pod, context("", pod))
    assert after.spec.tolerations == [*(pod.spec.tolerations or ()), *msgspec.convert(added, list[Toleration])]


def test_an_equal_without_operator_is_there_already() -> None:
    policy = "plugins: {k8s: {resource-tolerations: {google.com/tpu: {key: a, value: b, effect: NoExecute}}}}"
    own = {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}
    pod = task_pod({"containers": [using("google.com/tpu")], "tolerations": [own]})
    assert tolerate(pod, context(policy, pod)) == (pod, [])


def test_each_toleration_is_told_with_the_resource_it_is_for() -> None:
    policy = (
        "plugins: {k8s: {resource-tolerations: "
        "{amd.com/gpu: {key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 60}}}}"
    )
    pod = task_pod({"containers": [using("google.com/tpu", "amd.com/gpu")]})
    timed = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    assert tolerate(pod, context(policy, pod))[1] == [
        Change("/spec/tolerations/-", None, timed, "tolerate", "the Pod uses amd.com/gpu"),
        Change("/spec/tolerations/-", None, TPU, "tolerate", "the Pod uses google.com/tpu"),
    ]


def test_a_resize_adds_none() -> None:
    pod = task_pod({"containers": [using("google.com/tpu")]})
    assert tolerate(pod, context(POLICY, pod, pod)) == (pod, [])


NAMES = st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "google.com/tpu", "amd.com/gpu"])
CONTAINERS = st.lists(st.builds(using, NAMES, NAMES, amount=st.sampled_from(["0", "1"])), max_size=3)


@given(CONTAINERS, CONTAINERS, st.none() | st.lists(st.sampled_from([GPU, TPU, DEDICATED]), max_size=3))
def test_a_second_time_nothing_is_added(containers: list[Data], init: list[Data], own: list[Data] | None) -> None:
    pod = task_pod({"containers": containers, "initContainers": init, "tolerations": own})
    rules = context(POLICY, pod)
    after, _ = tolerate(pod, rules)
    assert tolerate(after, rules) == (after, [])
    added = (after.spec.tolerations or [])[len(own or ()) :]
    assert len({toleration.identity for toleration in added}) == len(added)
