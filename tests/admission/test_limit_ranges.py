"""What the rules make of a Pod, the LimitRanger plugin of the API server does not refuse.

The model of the plugin is that of kubernetes `plugin/pkg/admission/limitranger`, in fractions.
"""

import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver import Json, amount, amounts, containers, defaulted, effective
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
    whole = {side: effective(pod, side) for side in ("requests", "limits")}
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


def made(spec: Json, policy: Json, *items: Json) -> Json:
    """Return the resources of each container, and under "" of the Pod, after the rules; the plugin must accept them."""
    pod = defaulted({"metadata": {"labels": {"execution-id": "x"}}, "spec": spec})
    result = defaulted(mutated(pod, policy, [*items]))
    assert [*complaints(result, [*items])] == []
    assert defaulted(mutated(result, policy, [*items])) == result
    found = {each["name"]: each.get("resources") or {} for each in containers(result)}
    return {**found, "": result["spec"].get("resources") or {}}


def cpu(name: str, request: str = "", limit: str = "") -> Json:
    sides = {"requests": {"cpu": request} if request else {}, "limits": {"cpu": limit} if limit else {}}
    return {"name": name, "resources": sides}


HALF = {"task_resources": {"defaults": {"cpu": "500m"}}, "secondary_defaults": {}}
SECONDARY = {"secondary_defaults": {"cpu": {"request": "100m", "limit": "2"}}}
POD_MIN, POD_RATIO = ({"type": "Pod", bound: {"cpu": "1"}} for bound in ("min", "maxLimitRequestRatio"))
FEW = {"task_resources": {"limits": {"cpu": "1"}}, "secondary_defaults": {}}


def test_limits_that_are_filled_are_raised_to_the_minimum_of_the_pod_which_is_of_limits_too() -> None:
    both = [cpu("main"), cpu("proxy", "900m")]
    assert made({"containers": both}, HALF, POD_MIN)["main"] == {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}


def test_what_is_raised_to_the_minimum_of_the_pod_does_not_take_it_over_its_maximum() -> None:
    sidecar = {**cpu("proxy", "10m", "2"), "restartPolicy": "Always"}
    bounds = {"type": "Pod", "min": {"cpu": "600m"}, "max": {"cpu": "2"}}
    found = made({"containers": [cpu("main")], "initContainers": [sidecar]}, HALF, bounds)
    assert found["main"] == {"requests": {"cpu": "590m"}, "limits": {"cpu": "590m"}}
    assert found["proxy"] == {"requests": {"cpu": "10m"}, "limits": {"cpu": "1410m"}}


def test_limits_are_not_raised_where_the_requests_of_the_author_are_under_the_minimum_of_the_pod() -> None:
    pod = {"metadata": {"labels": {"execution-id": "x"}}, "spec": {"containers": [cpu("main", "10m")]}}
    (main,) = containers(mutated(pod, HALF, [{"type": "Container", "maxLimitRequestRatio": {"cpu": "1"}}, POD_MIN]))
    assert main["resources"] == {"requests": {"cpu": "10m"}, "limits": {"cpu": "10m"}}


def test_a_pod_keeps_its_ratio_where_a_sidecar_would_get_a_limit() -> None:
    ratio = {"type": "Pod", "maxLimitRequestRatio": {"cpu": "1500m"}}
    lowered = made({"containers": [cpu("main", "100m", "200m"), cpu("proxy", "900m")]}, SECONDARY, ratio)
    assert lowered["proxy"]["limits"] == {"cpu": "1300m"}
    gone = made({"containers": [cpu("main", "100m", "1"), cpu("proxy", "900m")]}, SECONDARY, ratio)
    assert (gone["main"]["limits"], gone["proxy"].get("limits") or {}) == ({"cpu": "1"}, {})


def test_what_is_lowered_does_not_take_the_pod_over_its_ratio() -> None:
    ratio = {"type": "Pod", "maxLimitRequestRatio": {"cpu": "1500m"}}
    spec = {"containers": [cpu("main", "10", "10"), cpu("other", "1", "5")]}
    found = made(spec, {"task_resources": {"limits": {"cpu": "5"}}}, ratio)
    assert [found[name]["limits"]["cpu"] for name in ("main", "other")] == ["5", "4"]


def test_shares_of_a_maximum_of_the_pod_that_is_its_minimum_too_add_up_to_it() -> None:
    thirds = {"containers": [cpu(name, "1", "1") for name in ("main", "two", "three")]}
    found = made(thirds, {"pod_limits": {"cpu": "1"}}, POD_MIN)
    assert [found[name]["limits"]["cpu"] for name in ("main", "two", "three")] == ["334m", "333m", "333m"]


@pytest.mark.parametrize(
    "bounds", [{"max": {"memory": "1500Mi"}}, {"min": {"memory": "500Mi"}, "max": {"memory": "1500Mi"}}]
)
def test_limits_that_are_filled_give_way_before_what_the_author_of_the_pod_asked_for(bounds: Json) -> None:
    whole = {"memory": "500Mi"}
    main = {"name": "main", "resources": {"requests": whole, "limits": whole}}
    policy = {"task_resources": {"defaults": {"memory": {"request": "32Mi", "limit": "2Gi"}}}}
    found = made({"containers": [main, {"name": "a"}, {"name": "b"}]}, policy, {"type": "Pod", **bounds})
    assert found["main"] == main["resources"]
    assert found["a"] == found["b"] == {"requests": {"memory": "32Mi"}, "limits": whole}


def test_containers_keep_their_minimum_where_the_pod_as_a_whole_is_lowered() -> None:
    spec = {"containers": [cpu("main", "6"), cpu("other", "500m")], "resources": {"requests": {"cpu": "8"}}}
    found = made(spec, FEW, {"type": "Container", "min": {"cpu": "400m"}})
    assert [found[name]["requests"]["cpu"] for name in ("main", "other")] == ["571m", "428m"]


def test_where_the_minima_do_not_fit_into_what_the_pod_may_have_containers_are_lowered_in_proportion() -> None:
    spec = {"containers": [cpu("main", "6"), cpu("other", "500m")], "resources": {"requests": {"cpu": "8"}}}
    pod = {"metadata": {"labels": {"execution-id": "x"}}, "spec": spec}
    found = containers(mutated(pod, FEW, [{"type": "Container", "min": {"cpu": "600m"}}]))
    assert [each["resources"]["requests"]["cpu"] for each in found] == ["666m", "333m"]


@pytest.mark.parametrize(
    ("item", "policy", "note"),
    [
        (POD_MIN, {"pod_limits": {"cpu": "500m"}}, "at least cpu=1 in a Pod, the maximum is 500m"),
        (
            {"type": "Container", "min": {"cpu": "400m"}},
            {"pod_limits": {"cpu": "500m"}},
            "at least cpu=400m in each container, the maximum of the Pod is 500m",
        ),
        (
            {"type": "Container", "min": {"cpu": "2"}},
            {"task_resources": {"limits": {"cpu": "1"}}},
            "at least cpu=2 in a container, the maximum is 1",
        ),
    ],
)
def test_what_policy_and_limit_range_want_against_each_other_is_noted(item: Json, policy: Json, note: str) -> None:
    pod = {"metadata": {"labels": {"execution-id": "x"}}, "spec": {"containers": [cpu("a", "2"), cpu("b", "2")]}}
    record = json.loads(mutated(pod, policy, [item])["metadata"]["annotations"]["flyte-admission.io/changes"])
    assert record["notes"] == [f"a LimitRange wants {note}"]


def test_what_is_negative_is_left_to_the_api_server() -> None:
    pod = {"metadata": {"labels": {"execution-id": "x"}}, "spec": {"containers": [cpu("main", "-1")]}}
    assert mutated(pod, HALF, [POD_MIN, POD_RATIO])["spec"] == pod["spec"]


def test_the_pod_as_a_whole_gets_a_limit_within_the_ratio() -> None:
    policy = {"task_resources": {"defaults": {"cpu": {"request": "500m", "limit": "2"}}}}
    spec = {"containers": [{"name": "main"}], "resources": {"requests": {"cpu": "0"}}}
    whole = made(spec, policy, {"type": "Pod", "maxLimitRequestRatio": {"cpu": "2"}})[""]
    assert whole == {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}
