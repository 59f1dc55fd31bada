"""A patch always applies, and makes exactly the changes; `jsonpatch`, which shares no code with us, applies it."""

import json
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import context, numbers
from tests.vectors import Data, pod_of
from tests.workloads import RULES, workload
from webhook.api import patch
from webhook.rules.findings import Change


def change(path: str, after: Any) -> Change:
    return Change(path, None, after, "fill", "")


def operations(changes: list[Change], missing: set[str]) -> list[Data]:
    built: list[Data] = msgspec.to_builtins(patch.build(changes, missing))
    return built


@pytest.mark.parametrize(
    ("changes", "missing", "expect"),
    [
        ([], {"/a"}, []),
        ([("/a", 1)], set(), [("/a", 1)]),
        ([("/a/b", 1), ("/a/c", 2)], set(), [("/a/b", 1), ("/a/c", 2)]),
        # a parent that lacks is added once, with all that goes into it
        ([("/a/b", 1), ("/a/c", 2)], {"/a"}, [("/a", {"b": 1, "c": 2})]),
        ([("/a/b/c", 1), ("/a/d", 2)], {"/a", "/a/b"}, [("/a", {"b": {"c": 1}, "d": 2})]),
        ([("/a/b/c", 1), ("/x", 2), ("/a/d/e", 3)], {"/a/b"}, [("/a/b", {"c": 1}), ("/x", 2), ("/a/d/e", 3)]),
        ([("/a/-", 1), ("/a/-", 2)], set(), [("/a/-", 1), ("/a/-", 2)]),
        ([("/a/-", 1), ("/a/-", 2)], {"/a"}, [("/a", [1, 2])]),
        # names with / and ~ are escaped in paths, not in values
        ([("/a/nvidia.com~1gpu", "1")], set(), [("/a/nvidia.com~1gpu", "1")]),
        ([("/a/nvidia.com~1gpu", "1"), ("/a/~01", "2")], {"/a"}, [("/a", {"nvidia.com/gpu": "1", "~1": "2"})]),
        ([("/a/b", 1), ("/a/b", 2)], {"/a"}, [("/a", {"b": 2})]),
    ],
)
def test_changes_become_operations_that_apply(
    changes: list[tuple[str, Any]], missing: set[str], expect: list[tuple[str, Any]]
) -> None:
    built = operations([change(*made) for made in changes], missing)
    assert built == [{"op": "add", "path": path, "value": value} for path, value in expect]


def test_what_is_removed_is_an_operation_of_its_own() -> None:
    built = operations([change("/a/b", None), change("/c/d", 1)], {"/c"})
    assert built == [{"op": "remove", "path": "/a/b"}, {"op": "add", "path": "/c", "value": {"d": 1}}]


def test_building_a_patch_leaves_the_changes_as_they_were() -> None:
    made = [change("/a/-", {"key": "x"}), change("/a/-", {"key": "y"})]
    assert patch.build(made, {"/a"}) == patch.build(made, {"/a"})


@pytest.mark.parametrize(
    ("name", "step"),
    [("cpu", "cpu"), ("nvidia.com/gpu", "nvidia.com~1gpu"), ("~1", "~01"), ("a~/b", "a~0~1b"), ("", "")],
)
def test_a_name_is_one_step_of_a_pointer(name: str, step: str) -> None:
    assert (patch.escape(name), patch.unescape(step)) == (step, name)


@given(st.text())
def test_unescaping_is_the_inverse_of_escaping(name: str) -> None:
    assert patch.unescape(patch.escape(name)) == name


NULL = st.none()
AMOUNTS = st.sampled_from(["0", "1", "100m", "2Gi", "9Gi", "6"])
NAMES = st.sampled_from(
    ["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu", "vendor.example/a_b", "google.com/tpu"]
)
MAPS = NULL | st.dictionaries(NAMES, AMOUNTS, max_size=3)
BLOCKS = NULL | st.fixed_dictionaries({}, optional={"requests": MAPS, "limits": MAPS, "claims": NULL})
CONTAINERS = st.lists(st.fixed_dictionaries({"name": st.just("c")}, optional={"resources": BLOCKS}), max_size=3)
TOLERATION = {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule", "unknown": 1}
SPECS = st.fixed_dictionaries(
    {"containers": CONTAINERS, "nodeName": st.just("kept")},
    optional={
        "initContainers": NULL | CONTAINERS,
        "resources": BLOCKS,
        "tolerations": NULL | st.lists(st.just(TOLERATION), max_size=2),
    },
)
POLICY = """
task_resources:
  defaults: {cpu: 1, memory: 1Gi, vendor.example/a_b: 1}
  limits: {cpu: 2, memory: 4Gi, gpu: 1}
"""


@given(SPECS)
def test_the_patched_object_is_the_pod_that_the_rules_decided_on(spec: Data) -> None:
    review = {"metadata": {"labels": {"execution-id": "x"}}, "spec": spec, "status": {"phase": "kept"}}
    pod = original = pod_of(review)
    changes: list[Change] = []
    for rule in RULES.values():
        pod, made = rule(pod, context(POLICY, original))
        changes += made
    built = json.loads(json.dumps(operations(changes, workload(original).absent)))
    patched = jsonpatch.apply_patch(review, built)
    assert numbers(pod_of(patched)) == numbers(pod)
    assert (patched["metadata"], patched["status"]) == (review["metadata"], review["status"])
    assert patched["spec"]["nodeName"] == "kept"
    own = spec.get("tolerations") or []
    assert (patched["spec"].get("tolerations") or [])[: len(own)] == own
