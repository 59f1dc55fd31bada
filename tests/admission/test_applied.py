"""What is remembered of a Pod's shape is what the rules make of each Pod that has it."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import NAMESPACE, TODAY
from tests.vectors import Data, pod_of
from tests.workloads import workload
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.flyte.namespace import NamespacePattern
from webhook.flyte.task import Task
from webhook.offline.cases import readable
from webhook.policy.file import load

POLICY = load(
    """
task_resources:
  defaults: {cpu: 500m, memory: 500Mi}
  limits: {cpu: 4, memory: 8Gi, gpu: 2, x.io/*: 1}
secondary_defaults: {cpu: 100m}
""",
    "policy.yaml",
).policy
BLOCKS: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, {}, {"requests": None}, {"requests": {}, "limits": None}, {"limits": {"cpu": "6"}},
        {"requests": {"cpu": "6"}, "limits": {}}, {"requests": {"cpu": "0", "nvidia.com/gpu": "4"}},
        {"requests": {"memory": "1e9"}, "limits": {"memory": "9Gi"}},
    ]
)  # fmt: skip
CONTAINERS = st.lists(st.fixed_dictionaries({"resources": BLOCKS}), min_size=1, max_size=3)
SIDECARS = st.lists(
    st.fixed_dictionaries({"resources": BLOCKS, "restartPolicy": st.sampled_from([None, "Always"])}), max_size=2
)
TOLERATIONS = st.sampled_from([None, [], [{"operator": "Exists"}], [{"key": "nvidia.com/gpu", "operator": "Exists"}]])
SPECS = st.fixed_dictionaries(
    {"containers": CONTAINERS, "initContainers": SIDECARS, "tolerations": TOLERATIONS, "resources": BLOCKS}
)


def answered(spec: Data, name: str = "a", **metadata: Any) -> tuple[Data, Data]:
    """The Pod after /mutate, and its changes as the audit log has them."""
    spec = json.loads(json.dumps(spec))  # hypothesis shares what it draws
    for index, container in enumerate([*spec["containers"], *spec.get("initContainers", ())]):
        container["name"] = f"{name}-{index}"
    pod = {"metadata": {"name": name, "labels": {"execution-id": name}, **metadata}, "spec": spec}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    request = {"uid": "u", "operation": "CREATE", "resource": resource, "namespace": NAMESPACE, "object": pod}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    decoded = wire.decode(json.dumps(review).encode())
    decision = mutate(decoded, POLICY, Constraints(), TODAY)
    response = readable(encode(decoded, decision))["response"]
    changed: Data = jsonpatch.apply_patch(pod, response.get("patch", []))
    told = response.get("auditAnnotations", {}).get("changes", {})
    return changed, told


@given(SPECS, st.lists(SPECS, max_size=3))
def test_a_pod_gets_the_same_whatever_came_before_it(spec: Data, others: list[Data]) -> None:
    for other in others:
        answered(other, "other")
    remembered = answered(spec)
    assert remembered == answered(spec)
    # More tolerations than are remembered, of a kind that no rule looks for: the same is worked out anew.
    crowd = [{"key": f"k{index}", "operator": "Exists"} for index in range(40)]
    pod, told = answered(spec | {"tolerations": [*(spec["tolerations"] or ()), *crowd]})
    assert told == remembered[1]
    assert pod["spec"]["containers"] == remembered[0]["spec"]["containers"]
    assert pod["spec"].get("resources") == remembered[0]["spec"].get("resources")


def test_containers_of_one_shape_are_told_by_their_own_names() -> None:
    spec = {"containers": [{"resources": {"limits": {"cpu": "6"}}}]}
    for name in ("first", "second", "1", "0", "100%b", 'a"b\\', "ä\n"):
        pod, told = answered(spec, name)
        paths = {change["path"].split("/")[3] for change in told["changes"]}
        assert paths == {f"{name}-0"}
        assert json.loads(pod["metadata"]["annotations"]["flyte-admission.io/changes"]) == told


def test_signs_of_a_template_in_a_name_are_told_as_they_are() -> None:
    _, told = answered({"containers": [{"resources": {"limits": {"x.io/100%b%s%%": "2"}}}]}, "%s")
    assert "/spec/containers/%s-0/resources/limits/x.io/100%b%s%%" in {change["path"] for change in told["changes"]}


@pytest.mark.parametrize("count", [31, 40])
def test_a_pod_of_many_containers_is_answered_like_any_other(count: int) -> None:
    pod, told = answered({"containers": [{"resources": {"limits": {"cpu": "6"}}} for _ in range(count)]})
    limits = [container["resources"]["limits"]["cpu"] for container in pod["spec"]["containers"]]
    assert limits == ["4"] * count
    assert len({change["path"] for change in told["changes"]}) == len(told["changes"])


def many_names(index: int) -> Data:
    """A Pod of 18 KB that is like none before."""
    containers = [
        {"resources": {"requests": {f"x.io/n{index}-{container}-{name}": "1" for name in range(30)}}}
        for container in range(25)
    ]
    return {"containers": containers}


def a_long_name(index: int) -> Data:
    return {"containers": [{"resources": {"limits": {f"x.io/{index}-{'a' * MIB}": "1"}}}]}


def a_long_toleration(index: int) -> Data:
    return {"containers": [{"resources": {}}], "tolerations": [{"key": f"{index}-{'a' * MIB}"}]}


def a_long_effect(index: int) -> Data:
    return {"containers": [{"resources": {}}], "tolerations": [{"key": "a", "effect": f"{index}-{'a' * MIB}"}]}


def many_names_of_the_pod(index: int) -> Data:
    names = {f"x.io/n{index}-{name}": "1" for name in range(3000)}
    return {"containers": [{"resources": {}}], "resources": {"requests": names}}


def long_numbers(index: int) -> Data:
    """Short as they are written."""
    return {"containers": [{"resources": {"requests": {f"x.io/{n}": f"{index}{n:02}e3970" for n in range(90)}}}]}


MIB = 1024 * 1024


def kept(act: Callable[[int], object]) -> int:
    """The bytes that stay in memory after it has been done with several numbers."""
    act(0)
    tracemalloc.start()
    try:
        for index in range(1, 15):
            act(index)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "spec", [many_names, a_long_name, a_long_toleration, a_long_effect, many_names_of_the_pod, long_numbers]
)
def test_large_shapes_are_not_kept_in_memory(spec: Callable[[int], Data]) -> None:
    assert kept(lambda index: answered(spec(index))) < (6 if spec is many_names else 1) * MIB, "1,024 blocks are shared"


def test_long_labels_are_not_kept_in_memory() -> None:
    policy = load("overrides: [{project: p, limits: {cpu: 1}}]", "policy.yaml").policy
    assert kept(lambda index: policy.settings(Task(1, workflow=f"{index}-{'a' * MIB}"), NAMESPACE, TODAY)) < MIB


def test_long_namespaces_are_not_kept_in_memory() -> None:
    assert kept(lambda index: NamespacePattern().read(f"{index}-{'a' * MIB}-development")) < MIB


@pytest.mark.parametrize(
    ("spec", "expect"),
    [
        (
            {"containers": [{}], "tolerations": None},
            {
                "/spec/tolerations",
                "/spec/resources", "/spec/resources/requests", "/spec/resources/limits",
                "/spec/containers/0/resources", "/spec/containers/0/resources/requests",
                "/spec/containers/0/resources/limits",
            },
        ),
        (
            {
                "tolerations": [],
                "resources": {"requests": {}, "limits": None},
                "containers": [{"resources": {"limits": {"cpu": "1"}}}],
                "initContainers": [{"resources": {"requests": {}, "limits": {}}}],
            },
            {"/spec/resources/limits", "/spec/containers/0/resources/requests"},
        ),
    ],
)  # fmt: skip
def test_parents_that_are_absent_or_null_are_named(spec: Data, expect: set[str]) -> None:
    assert workload(pod_of({"spec": spec})).absent == expect
