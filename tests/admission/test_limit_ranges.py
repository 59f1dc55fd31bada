"""What the rules make of a Pod, the LimitRanger plugin of the API server does not refuse.

The model of the plugin is that of kubernetes `plugin/pkg/admission/limitranger`, in fractions.
"""

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import jsonpatch
import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.apiserver import Json, aggregate, amount, amounts, containers, defaulted
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate
from webhook.api.limit_range import LimitRange
from webhook.api.resources import decode_hook
from webhook.policy.file import load

NAMES = ("cpu", "memory")
AMOUNTS = {"cpu": ["10m", "100m", "500m", "750m", "1", "2", "3", "6"], "memory": ["40Mi", "64Mi", "1Gi", "3Gi", "9Gi"]}
LEAST = {"cpu": ["0", "50m", "600m"], "memory": ["0", "50Mi", "600Mi"]}
MOST = {"cpu": ["2", "4"], "memory": ["2Gi", "4Gi"]}
RATIOS = ["1", "1500m", "2", "10"]
POLICIES = [
    {"task_resources": {"defaults": {"cpu": "500m", "memory": "500Mi"}, "limits": {"cpu": "4", "memory": "8Gi"}}},
    {
        "task_resources": {"defaults": {"cpu": {"request": "500m", "limit": "2"}, "memory": "1Gi"}},
        "secondary_defaults": {"cpu": "100m", "memory": {"request": "64Mi", "limit": "2Gi"}},
    },
    {"task_resources": {"limits": {"cpu": "3", "memory": "8Gi"}}, "cpu_limits": "remove"},
    {"secondary_defaults": {"memory": "64Mi"}, "cpu_limits": {"ratio": 2}},
]


def some(of: dict[str, list[str]]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in of.items()})


ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["Container", "Pod"])},
    optional={"min": some(LEAST), "max": some(MOST), "maxLimitRequestRatio": some(dict.fromkeys(NAMES, RATIOS))},
)


@st.composite
def blocks(draw: st.DrawFn) -> Json:
    """Requests within limits, or one of the two, or nothing."""
    block: Json = {"requests": {}, "limits": {}}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        low, high = sorted(draw(st.lists(st.sampled_from(AMOUNTS[name]), min_size=2, max_size=2)), key=amount)
        sides = draw(st.sampled_from(["requests", "limits", "both"]))
        if sides != "limits":
            block["requests"][name] = low
        if sides != "requests":
            block["limits"][name] = high
    return block


@st.composite
def pods(draw: st.DrawFn) -> Json:
    names = ["main", "proxy", "log"][: draw(st.integers(1, 3))]
    spec: Json = {"containers": [{"name": name, "resources": draw(blocks())} for name in names]}
    if draw(st.booleans()):
        spec["initContainers"] = [{"name": "init", "restartPolicy": "Always", "resources": draw(blocks())}]
    return defaulted({"metadata": {"name": "p", "labels": {"execution-id": "x"}}, "spec": spec})


def complaints(pod: Json, items: list[Json]) -> Iterator[tuple[str, str, str, Fraction]]:
    """What the plugin refuses: of which container, or Pod, which bound of which resource, and its value."""
    whole = {side: aggregate(pod, side) for side in ("requests", "limits")}
    for item in items:
        subjects = {"": whole} if item["type"] == "Pod" else {
            each["name"]: {side: amounts(each.get("resources"), side) for side in ("requests", "limits")}
            for each in containers(pod)
        }  # fmt: skip
        for who, has in subjects.items():
            for bound in ("min", "max", "maxLimitRequestRatio"):
                for name, value in item.get(bound, {}).items():
                    if not keeps(bound, amount(value), has["requests"].get(name), has["limits"].get(name)):
                        yield who, bound, name, amount(value)


def keeps(bound: str, value: Fraction, request: Fraction | None, limit: Fraction | None) -> bool:
    if bound == "min":
        return request is not None and request >= value and (limit is None or limit >= value)
    if bound == "max":
        return limit is not None and limit <= value and (request is None or request <= value)
    return bool(request and limit and limit / request <= value)


def mutated(pod: Json, policy: Json, items: list[Json]) -> Json:
    request = {
        "uid": "u", "operation": "CREATE", "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "n", "object": pod,
    }  # fmt: skip
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    decoded = wire.decode(json.dumps(review).encode())
    ranges = msgspec.convert({"metadata": {"name": "r"}, "spec": {"limits": items}}, LimitRange, dec_hook=decode_hook)
    loaded = load(json.dumps(policy), "policy.yaml").policy
    response = json.loads(encode(decoded, mutate(decoded, loaded, Constraints((), [ranges]), "2026-11-25")))["response"]
    operations = json.loads(msgspec.convert(response["patch"], bytes)) if "patch" in response else []
    result: Json = jsonpatch.apply_patch(pod, operations)
    return result


def amounts_of(pod: Json, who: str, name: str) -> list[Any]:
    found = [each for each in containers(pod) if who in ("", each["name"])]
    return [amounts(each.get("resources"), side).get(name) for each in found for side in ("requests", "limits")]


def is_its_authors(pod: Json, who: str, bound: str, name: str, value: Fraction) -> bool:
    """Whether what the author has stated cannot keep the bound, whatever is filled in beside it.

    Lowering a Pod to its maximum may take it under its minimum: docs/semantics.md says so.
    """
    found = [each for each in containers(pod) if who in ("", each["name"])]
    stated = [
        tuple(amounts(each.get("resources"), side).get(name) for side in ("requests", "limits")) for each in found
    ]
    if bound == "min" and who == "":
        return bool(stated[0][0])  # only what is filled into the task's own container is raised
    if bound == "min":
        return any(0 < (each or value) < value for pair in stated for each in pair)
    if bound == "max" and who == "":  # and no less than their minima fits into all containers
        return len(found) * max(amount(each) for each in LEAST[name]) > value
    return bound != "max" and any(request and limit and limit > request * value for request, limit in stated)


@settings(max_examples=300)
@given(pods(), st.sampled_from(POLICIES), st.lists(ITEMS, min_size=1, max_size=2))
def test_what_the_rules_change_the_plugin_does_not_refuse(pod: Json, policy: Json, items: list[Json]) -> None:
    of_pods = [bound for item in items if item["type"] == "Pod" for bound in item]
    assume(not {"min", "max"} <= {*of_pods})
    result = mutated(pod, policy, items)
    for who, bound, name, value in complaints(defaulted(result), items):
        changed = who or ("main" if bound == "min" else "")  # only what is filled into the task's container is raised
        is_left_alone = amounts_of(result, changed, name) == amounts_of(pod, changed, name)
        assert is_left_alone or is_its_authors(pod, who, bound, name, value), (who, bound, name)
    assert defaulted(mutated(defaulted(result), policy, items)) == defaulted(result)


def test_a_default_is_raised_to_the_minimum_of_the_pod_and_its_limit_stays_where_it_is_above() -> None:
    policy = {"task_resources": {"defaults": {"cpu": {"request": "100m", "limit": "2"}}}}
    pod = {"metadata": {"labels": {"execution-id": "x"}}, "spec": {"containers": [{"name": "main"}]}}
    (main,) = containers(mutated(pod, policy, [{"type": "Pod", "min": {"cpu": "500m"}}]))
    assert main["resources"] == {"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}}
