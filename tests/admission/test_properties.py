"""What holds for every Pod under every policy, and what no input does."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import jsonpatch
import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver import (
    Json,
    aggregate,
    amount,
    amounts,
    blocks,
    containers,
    defaulted,
    effective,
    flaws,
    handed_over,
    is_equal,
    is_extended,
    is_hugepages,
    stored,
    text,
)
from tests.golden import cases
from tests.rules import numbers
from tests.vectors import quota_of
from tests.workloads import Context, with_changes, workload
from webhook.admission import record as trace
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate, validate
from webhook.admission.decision import Allowed, Decision, Denied, outcome
from webhook.admission.wire import BadReviewError, Request
from webhook.api import pod as pods
from webhook.api.version import NEWEST, Version
from webhook.cluster.ledger import Ledger
from webhook.flyte.task import identify
from webhook.offline import manifests, review
from webhook.policy.file import load
from webhook.policy.model import Policy, TaskScope
from webhook.policy.show import render
from webhook.policy.yaml_text import ProblemsError
from webhook.rules import MUTATING_RULES

TODAY = "2026-11-25"
thorough = settings(max_examples=100)

GPU = "nvidia.com/gpu"
CPU = ["0", "1m", "100m", "333m", "0.5", "500m", "1", "1500m", "2", "3", "4", "7777m", "64", "2.5e0", "0.1m", 1, 0, 2.5]
BYTES = [
    "0",
    "1",
    "64Mi",
    "500M",
    "1Gi",
    "1.5Gi",
    "1e9",
    "999999999",
    "10G",
    "1Ti",
    "128974848000m",
    1024,
    0,
    2**40 - 1,
]
PAGES = ["0", "2Mi", "64Mi", "66Mi", "1Gi", 2**22]
DEVICES = ["0", "1", "2", "8", "1000m", 1, 0]
QUANTITIES: Mapping[str, st.SearchStrategy[Any]] = {
    "cpu": st.sampled_from(CPU),
    "memory": st.sampled_from(BYTES),
    "ephemeral-storage": st.sampled_from(BYTES),
    GPU: st.sampled_from(DEVICES),
    "amd.com/gpu": st.sampled_from(DEVICES),
    "example.com/fpga": st.sampled_from(DEVICES),
    "hugepages-2Mi": st.sampled_from(PAGES),
    "gpu": st.sampled_from(DEVICES),  # of Flyte
}
OTHERS = ["ephemeral-storage", GPU, "amd.com/gpu", "example.com/fpga", "hugepages-2Mi"]
KEYS = {"ephemeral-storage": "ephemeralStorage"}  # of Flyte
TOLERATIONS: st.SearchStrategy[Json] = st.sampled_from(
    [
        {"key": "gpu"},
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
        {"key": GPU, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
        {"key": "example.com/fpga", "operator": "Equal", "value": "x", "effect": "PreferNoSchedule"},
    ]
)


NAMES = ("cpu", "memory", *OTHERS)


def resource_lists(names: tuple[str, ...] = NAMES) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional={name: QUANTITIES[name] for name in names})


def some(*maps: Json) -> st.SearchStrategy[Json]:
    return st.sampled_from(maps)


def maybe(key: str, of: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """A map with the key, four times out of six, or with null there, or without it."""
    present = (of.map(lambda value: {key: value}) for _ in range(4))  # one_of would take equal ones for one
    return st.one_of(some({}, {key: None}), *present)


def merged(*strategies: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.tuples(*strategies).map(lambda maps: {name: value for part in maps for name, value in part.items()})


def resources(names: tuple[str, ...] = NAMES) -> st.SearchStrategy[Json]:
    """Of any shape, legal or not."""
    return merged(
        maybe("requests", resource_lists(names)),
        maybe("limits", resource_lists(names)),
        some({}, {}, {"claims": [{"name": "c"}]}),
    )


@st.composite
def legal_resources(draw: st.DrawFn) -> Json:
    """What validation takes: requests within limits, devices whole and equal on both sides."""
    block: Json = {"requests": {}, "limits": {}}
    for name in ["cpu", "memory", *draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=2))]:
        sides = draw(st.sampled_from(["limits", "both"] if is_equal(name) else ["", "limits", "requests", "both"]))
        low, high = sorted([draw(QUANTITIES[name]), draw(QUANTITIES[name])], key=amount)
        if sides in ("limits", "both"):
            block["limits"][name] = high
        if sides in ("requests", "both"):
            block["requests"][name] = high if is_equal(name) else low
    return {side: values for side, values in block.items() if values}


def container_lists(of: st.SearchStrategy[Json], least: int, extra: st.SearchStrategy[Json]) -> st.SearchStrategy[Any]:
    fields = merged(of, extra, some({}, {"image": "i", "env": [{"name": "A", "value": "B"}]}))
    names = [{"name": name} for name in ("a", "b")]
    return st.lists(fields, min_size=least, max_size=2).map(
        lambda found: [{**name, **own} for name, own in zip(names, found, strict=False)]
    )


LABELS = [{"execution-id": "a"}, {"flyte.org/run": "r", "x": None}, {"flyte.org/managed": "true"}]
METADATA = st.fixed_dictionaries(
    {"labels": st.sampled_from(LABELS)},
    optional={
        "name": st.sampled_from(["a", "b", "p"]),
        "annotations": st.sampled_from([None, {}, {"primary_container_name": "b"}]),
        "uid": st.just("u"),
    },
)
SIDECARS = some({}, {"restartPolicy": "Always"}, {"restartPolicy": None})
BESIDE = merged(
    maybe("tolerations", st.lists(TOLERATIONS | TOLERATIONS.map(lambda t: {**t, "value": None, "own": 1}), max_size=2)),
    some({}, {"nodeSelector": {"a": "b"}, "volumes": [{"name": "v", "emptyDir": {}}]}),
)


def pods_of(spec: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries(
        {"apiVersion": st.just("v1"), "kind": st.just("Pod"), "metadata": METADATA, "spec": spec}
    )


ANY_PODS = pods_of(
    merged(
        container_lists(maybe("resources", resources()), 0, some({})).map(lambda found: {"containers": found}),
        maybe("initContainers", container_lists(maybe("resources", resources()), 0, SIDECARS)),
        maybe("resources", resources(("cpu", "memory"))),
        BESIDE,
    )
)


@st.composite
def legal_specs(draw: st.DrawFn) -> Json:
    """A spec that validation takes, with resources for the Pod as a whole half of the time."""
    own = maybe("resources", legal_resources())
    spec: Json = {"containers": draw(container_lists(own, 1, some({}))), **draw(BESIDE)}
    spec |= draw(maybe("initContainers", container_lists(own, 0, SIDECARS)))
    if draw(st.booleans()):
        spec["resources"] = draw(pod_level({"spec": spec}))
    return spec


@st.composite
def pod_level(draw: st.DrawFn, pod: Json) -> Json:
    """Requests that the containers' fit into, and limits that each of theirs, and those requests, fit into."""
    pod = defaulted(pod)
    total, level = aggregate(pod, "requests"), dict[str, Json]()
    for name in draw(st.sampled_from([["cpu"], ["memory"], ["cpu", "memory"]])):
        each = [amounts(container.get("resources"), "limits") for container in containers(pod)]
        room = st.just("0") | QUANTITIES[name]
        request = total.get(name, Fraction(0)) + amount(draw(room))
        limit = max([request, *(limits.get(name, Fraction(0)) for limits in each)]) + amount(draw(room))
        sides = draw(st.sampled_from([["requests"], ["limits"], ["requests", "limits"]]))
        for side in sides:
            level.setdefault(side, {})[name] = text(request if side == "requests" else limit)
    return level


LEGAL_PODS = pods_of(legal_specs()).flatmap(lambda pod: st.sampled_from([defaulted(pod), handed_over(pod)]))


def flyte_amounts(*names: str) -> st.SearchStrategy[Json]:
    """Most resources, each with its amount, under the keys that Flyte has for them."""
    return st.fixed_dictionaries({}, optional={KEYS.get(name, name): QUANTITIES[name] for name in names})


def flyte_defaults(*names: str) -> st.SearchStrategy[Json]:
    """The same, half of those that may differ with a request and a limit."""
    return flyte_amounts(*names).flatmap(
        lambda plain: st.fixed_dictionaries({key: defaults_of(key, value) for key, value in plain.items()})
    )


def defaults_of(key: str, value: Any) -> st.SearchStrategy[Any]:
    if key == "gpu" or not amount(value):
        return st.just(value)
    limits = QUANTITIES["cpu" if key == "cpu" else "memory"]
    return st.just(value) | limits.filter(lambda limit: amount(limit) >= amount(value)).map(
        lambda limit: {"request": value, "limit": limit}
    )


def room_for_each(maxima: Json) -> Json:
    """The maxima of a Pod, but none that has no room for one thousandth, or one byte, of each container."""
    least = {"cpu": "10m", "memory": "10", "ephemeralStorage": "10"}
    return {name: least[name] for name in least if 0 < amount(maxima.get(name)) < amount(least[name])}


MAXIMA = ("cpu", "memory", "ephemeral-storage", "gpu", "example.com/fpga", "hugepages-2Mi")
POLICIES = merged(
    merged(
        maybe("defaults", flyte_defaults("cpu", "memory", "ephemeral-storage", "gpu")),
        maybe("limits", flyte_amounts(*MAXIMA)),
    ).map(lambda block: {"task_resources": block}),
    maybe("pod_limits", flyte_amounts(*MAXIMA).map(lambda maxima: {**maxima, **room_for_each(maxima)})),
    maybe("secondary_defaults", flyte_defaults("cpu", "memory")),
    st.fixed_dictionaries(
        {},
        optional={
            "gpu-resource-name": st.sampled_from([GPU, "amd.com/gpu"]),
            "resource-tolerations": st.dictionaries(
                st.sampled_from([GPU, "amd.com/gpu", "ephemeral-storage"]), st.lists(TOLERATIONS, max_size=2)
            ),
        },
    ).map(lambda k8s: {"plugins": {"k8s": k8s}}),
)


def policy_of(content: Json) -> Policy:
    return load(json.dumps(content), "policy.yaml").policy


def maxima_of(stated: Json | None) -> dict[str, Fraction]:
    """The maxima under Kubernetes' names, read independently of the policy module."""
    limits = dict(stated or {})
    every_gpu = limits.pop("gpu", None)
    stated = {"ephemeral-storage" if key == "ephemeralStorage" else key: value for key, value in limits.items()}
    if every_gpu is not None:
        stated = dict.fromkeys((GPU, "amd.com/gpu"), every_gpu) | stated
    return {key: amount(text(amount(value))) for key, value in stated.items() if amount(value)}


def review_of(pod: Json, **more: Any) -> Json:
    request = {
        "uid": "u", "operation": "CREATE", "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "n", "object": pod, **more,
    }  # fmt: skip
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def decoded(pod: Json) -> Request:
    return wire.decode(json.dumps(review_of(pod)).encode())


def mutated(pod: Json, policy: Policy, constraints: Constraints = Constraints()) -> tuple[Json, Decision]:  # noqa: B008
    """The Pod after /mutate, patched by the independent library from the bytes of the answer, and the decision."""
    request = decoded(pod)
    decision = mutate(request, policy, constraints, TODAY)
    return patched(pod, encode(request, decision)), decision


def unchanged(pod: Json, policy: Policy, constraints: Constraints = Constraints()) -> bool:  # noqa: B008
    result, decision = mutated(pod, policy, constraints)
    return result == pod and isinstance(decision, Allowed) and not decision.changes


def patched(pod: Json, answer: bytes) -> Json:
    response = json.loads(answer)["response"]
    operations = json.loads(msgspec.convert(response["patch"], bytes)) if "patch" in response else []
    result: Json = jsonpatch.apply_patch(pod, operations)
    return result


@thorough
@given(ANY_PODS | LEGAL_PODS, POLICIES.map(policy_of))
def test_the_patched_pod_is_exactly_the_pod_that_the_rules_decided(pod: Json, policy: Policy) -> None:
    decided = decoded(pod).pod
    assert decided is not None
    task = identify(decided, "n", policy.identification)
    assert task is not None
    after = workload(decided, Context(task, policy.settings(task, "n", TODAY)))
    for _, rule in MUTATING_RULES:
        after, _ = rule(after)
    result, _ = mutated(pod, policy)
    assert numbers(pods.decode(json.dumps(result).encode())) == numbers(with_changes(decided, after))


@thorough
@given(ANY_PODS | LEGAL_PODS, POLICIES.map(policy_of))
def test_a_mutated_pod_gets_no_patch_whether_defaulted_in_between_or_not(pod: Json, policy: Policy) -> None:
    result, _ = mutated(pod, policy)
    assert unchanged(result, policy)
    for version, before in VERSIONS.items():
        on = Constraints(kubernetes=version)
        assert unchanged(before(mutated(before(pod), policy, on)[0]), policy, on)


@thorough
@given(LEGAL_PODS, POLICIES.map(policy_of))
def test_a_mutated_pod_passes_validate(pod: Json, policy: Policy) -> None:
    for version, after in {Version(1, 36): defaulted, NEWEST: stored}.items():
        on = Constraints(kubernetes=version)
        result, _ = mutated(VERSIONS[version](pod), policy, on)
        assert isinstance(validate(decoded(after(result)), policy, on, TODAY), Allowed)


@thorough
@given(ANY_PODS | LEGAL_PODS, POLICIES)
def test_nothing_is_over_a_maximum_and_no_request_over_its_limit(pod: Json, content: Json) -> None:
    result, _ = mutated(pod, policy_of(content))
    maxima = maxima_of(content["task_resources"].get("limits"))
    for block in blocks(result):
        requests, limits = amounts(block, "requests"), amounts(block, "limits")
        for name in {*requests, *limits}:
            request = requests.get(name, Fraction(0))
            assert request <= limits.get(name, request)
            if name in maxima:
                assert max(request, limits.get(name, request)) <= maxima[name]


@thorough
@given(LEGAL_PODS, POLICIES)
def test_a_pod_is_refused_where_it_asks_for_more_devices_than_may_be_lowered_and_only_there(
    pod: Json, content: Json
) -> None:
    refused = {"gpu": "refuse", "example.com/*": "refuse"}
    _, decision = mutated(pod, policy_of({**content, "over_limit": refused}))
    of_each, of_all = (
        maxima_of(maxima) for maxima in (content["task_resources"].get("limits"), content.get("pod_limits"))
    )
    asked = [amounts(block, side) for block in blocks(pod) for side in ("requests", "limits")]
    over = [each[name] > of_each.get(name, each[name]) for each in asked for name in filter(is_extended, each)]
    for side in ("requests", "limits"):
        total = aggregate(pod, side)
        over += [total[name] > of_all.get(name, total[name]) for name in filter(is_extended, total)]
    assert isinstance(decision, Denied) == any(over)
    if isinstance(decision, Denied):
        assert decision.code == 413
        assert re.search(
            r"over the maximum \d+; ask for at most \d+, the policy says over_limit: refuse", decision.message
        )


@thorough
@given(LEGAL_PODS, POLICIES)
def test_a_pod_as_a_whole_has_no_more_than_it_may(pod: Json, content: Json) -> None:
    result, _ = mutated(pod, policy_of(content))
    maxima = maxima_of(content.get("pod_limits"))
    for after in (defaulted(result), stored(result)):
        for side in ("requests", "limits"):
            for name, value in effective(after, side).items():
                assert value <= maxima.get(name, value)


@thorough
@given(LEGAL_PODS, POLICIES)
def test_a_pod_that_states_something_as_a_whole_is_without_no_limit_that_has_a_maximum(
    pod: Json, content: Json
) -> None:
    result, _ = mutated(pod, policy_of(content))
    stated = result["spec"].get("resources") or {}
    for name in {*amounts(stated, "requests"), *amounts(stated, "limits")}:
        if name in maxima_of(content["task_resources"].get("limits")) and not is_hugepages(name):
            each = [amounts(it.get("resources"), "limits").get(name) for it in containers(result)]
            assert amounts(stated, "limits").get(name) or all(each)


@thorough
@given(LEGAL_PODS, POLICIES.map(policy_of))
def test_a_legal_pod_stays_legal(pod: Json, policy: Policy) -> None:
    assert flaws(pod) == []
    for version, after in {Version(1, 36): defaulted, NEWEST: stored}.items():
        result, _ = mutated(VERSIONS[version](pod), policy, Constraints(kubernetes=version))
        assert flaws(after(result)) == []


@thorough
@given(LEGAL_PODS, POLICIES)
def test_devices_and_hugepages_stay_whole_with_requests_equal_to_limits(pod: Json, content: Json) -> None:
    result, _ = mutated(pod, policy_of(content))
    for block in blocks(result):
        requests, limits = amounts(block, "requests"), amounts(block, "limits")
        for name in filter(is_equal, {*requests, *limits}):
            assert requests.get(name, limits[name]) == limits[name]
            assert limits[name] % (2**21 if is_hugepages(name) else 1) == 0


@thorough
@given(LEGAL_PODS, POLICIES)
def test_only_what_is_missing_is_filled_and_nothing_grows_else(pod: Json, content: Json) -> None:
    result, _ = mutated(pod, policy_of(content))
    maxima = {**maxima_of(content["task_resources"].get("limits")), **maxima_of(content.get("pod_limits"))}
    for before, after in zip(containers(pod), containers(result), strict=True):
        for side in ("requests", "limits"):
            was, is_now = amounts(before.get("resources"), side), amounts(after.get("resources"), side)
            for name, value in was.items():
                assert is_now[name] <= value or value == 0
                if name not in maxima:
                    assert is_now[name] == value or value == 0


@thorough
@given(LEGAL_PODS, POLICIES)
def test_no_limit_that_is_filled_is_under_the_default_unless_its_author_or_a_maximum_says_so(
    pod: Json, content: Json
) -> None:
    policy, found = policy_of(content), decoded(pod).pod
    task = identify(found, "n", policy.identification) if found else None
    assert task is not None
    result, _ = mutated(pod, policy)
    stated, of_pod = pod["spec"].get("resources") or {}, maxima_of(content.get("pod_limits"))
    maxima = maxima_of(content["task_resources"].get("limits"))
    for index, (before, after) in enumerate(zip(containers(pod), containers(result), strict=True)):
        is_primary = task.primary == f"/spec/containers/{index}"
        requests, limits = (amounts(before.get("resources"), side) for side in ("requests", "limits"))
        is_now = amounts(after.get("resources"), "limits")
        for name, default in default_limits(content, is_primary).items():
            said = limits.get(name) or (is_primary and requests.get(name))
            if said or name in of_pod or name in {*amounts(stated, "requests"), *amounts(stated, "limits")}:
                continue
            assert is_now[name] >= min(default, maxima.get(name, default))


def default_limits(content: Json, is_primary: bool) -> dict[str, Fraction]:  # noqa: FBT001
    """The limits above zero that the policy gives where nothing is stated, read independently of the policy module."""
    own, platform = content.get("secondary_defaults"), content["task_resources"].get("defaults") or {}
    stated = platform if is_primary or own is None else own
    limits = {key: value["limit"] if isinstance(value, dict) else value for key, value in stated.items()}
    found = {key: amount(text(amount(limits[key]))) for key in ("cpu", "memory") if limits.get(key)}
    return {key: value for key, value in found.items() if value}


VERSIONS = {Version(1, 36): defaulted, NEWEST: handed_over}  # and what their webhooks get
COUNTING = quota_of({"metadata": {"name": "q", "namespace": "n"}, "status": {"hard": {"limits.cpu": "1M"}, "used": {}}})


@thorough
@given(LEGAL_PODS, POLICIES, st.sampled_from(["remove", {"ratio": 2}, {"ratio": 1.001}]))
def test_cpu_limits_go_or_grow_where_nothing_needs_them_and_stay_where_a_quota_counts_them(
    pod: Json, content: Json, how: Any
) -> None:
    loose, strict = (policy_of({**content, "cpu_limits": each}) for each in (how, "keep"))
    result, decision = mutated(pod, loose)
    assert flaws(defaulted(result)) == []
    for version, handed in VERSIONS.items():
        on = Constraints(kubernetes=version)
        again = handed(mutated(handed(pod), loose, on)[0])
        assert unchanged(again, loose, on)
        assert isinstance(validate(decoded(again), loose, on, TODAY), Allowed)
    assert isinstance(decision, Allowed)
    maxima, of_pod = maxima_of(content["task_resources"].get("limits")), maxima_of(content.get("pod_limits"))
    level = pod["spec"].get("resources") or {}
    held = decision.notes or any("cpu" in (level.get(side) or {}) for side in ("requests", "limits"))
    for before, after in zip(containers(mutated(pod, strict)[0]), containers(result), strict=True):
        limit, was = (amounts(each.get("resources"), "limits").get("cpu") for each in (after, before))
        asked = amounts(after.get("resources"), "requests").get("cpu", Fraction(0))
        assert asked <= maxima.get("cpu", asked)
        if held:
            assert limit == was
        elif not asked:  # in the end: the limit may have been removed or raised before
            assert limit is None or (was is not None and limit >= was)
        elif how == "remove":
            assert limit is None
        elif limit is not None and "cpu" not in of_pod:
            assert limit >= min(maxima.get("cpu", limit), asked * Fraction(str(how["ratio"])))
    review, constraints = decoded(pod), Constraints([COUNTING], may_deny=False)
    counted, expect = (outcome(mutate(review, policy, constraints, TODAY)) for policy in (loose, strict))
    assert counted.changes == expect.changes


@thorough
@given(ANY_PODS | LEGAL_PODS, POLICIES.map(policy_of))
def test_what_the_rules_do_not_know_stays_as_it_was(pod: Json, policy: Policy) -> None:
    before = copy.deepcopy(pod)
    result, _ = mutated(pod, policy)
    assert pod == before
    assert without_what_rules_change(result) == without_what_rules_change(pod)
    own = pod["spec"].get("tolerations") or []
    assert (result["spec"].get("tolerations") or [])[: len(own)] == own


def without_what_rules_change(pod: Json) -> Json:
    rest = copy.deepcopy(pod)
    for owner in (*containers(rest), rest["spec"]):
        block = owner.get("resources") or {}
        owner["resources"] = {name: value for name, value in block.items() if name not in ("requests", "limits")}
    rest["spec"].pop("tolerations", None)
    annotations = rest["metadata"].pop("annotations", None) or {}
    return rest | {"annotations": {name: text for name, text in annotations.items() if name != trace.CHANGES}}


@thorough
@given(ANY_PODS | LEGAL_PODS, POLICIES.map(policy_of))
def test_each_change_tells_what_was_there_and_what_is_there_now(pod: Json, policy: Policy) -> None:
    result, decision = mutated(pod, policy)
    assert len({change.path for change in outcome(decision).changes if not change.path.endswith("/-")}) == sum(
        not change.path.endswith("/-") for change in outcome(decision).changes
    )
    appended = [change.after for change in outcome(decision).changes if change.path.endswith("/-")]
    assert (result["spec"].get("tolerations") or [])[len(pod["spec"].get("tolerations") or []) :] == appended
    for change in outcome(decision).changes:
        if not change.path.endswith("/-"):
            before, after = at(pod, change.path), at(result, change.path)
            assert (change.before is None) == (before is None)
            assert amount(change.before) == amount(before)
            assert amount(change.after) == amount(after)
            assert before is None or amount(after) != amount(before)
            assert change.after == after


def at(pod: Json, pointer: str) -> Any:
    """The value at a JSON Pointer; None where there is none."""
    value: Any = pod
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else (value or {}).get(key)
    return value


@thorough
@given(LEGAL_PODS, POLICIES)
def test_every_device_in_use_is_tolerated_and_nothing_twice(pod: Json, content: Json) -> None:
    result, _ = mutated(pod, policy_of(content))
    own, found = pod["spec"].get("tolerations") or [], result["spec"].get("tolerations") or []
    configured = content["plugins"]["k8s"].get("resource-tolerations", {})
    for container in containers(result):
        for name, value in amounts(container.get("resources"), "limits").items():
            wanted = configured.get(name, [{"key": name, "operator": "Exists", "effect": "NoSchedule"}])
            if is_extended(name) and value:
                assert {*map(identity, wanted)} <= {*map(identity, found)}
    added = [identity(toleration) for toleration in found[len(own) :]]
    assert len(added) == len({*added} - {*map(identity, own)})


def identity(toleration: Json) -> tuple[str, ...]:
    defaults = {"key": "", "operator": "Equal", "value": "", "effect": ""}
    return tuple(toleration.get(name) or default for name, default in defaults.items())


@thorough
@given(LEGAL_PODS | ANY_PODS, POLICIES.map(policy_of))
def test_review_and_the_core_agree(pod: Json, policy: Policy) -> None:
    result, decision = mutated(pod, policy)
    (report,) = review.reports(json.dumps(review_of(pod)), "review.json", policy, Ledger([]), TODAY)
    assert (report.decision, report.stored) == (decision, result)
    for version, before in VERSIONS.items():
        (report,) = review.reports(yaml.safe_dump(pod), "pod.yaml", policy, Ledger([], kubernetes=version), TODAY)
        result, decision = mutated(before(pod), policy, Constraints(kubernetes=version))
        assert sorted(change.path for change in outcome(report.decision).changes) == sorted(
            change.path for change in outcome(decision).changes
        )
        assert worth(report.stored) == worth(result)


def worth(value: Any) -> Any:
    """A Pod with its quantities as numbers, null and empty maps left out, and our own words."""
    if not isinstance(value, dict):
        return [worth(item) for item in value] if isinstance(value, list) else value
    found = {
        name: {key: amount(quantity) for key, quantity in (item or {}).items()}
        if name in ("requests", "limits")
        else worth(item)
        for name, item in value.items()
        if name != "annotations"
    }
    return {name: item for name, item in found.items() if item not in (None, {})}


QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "n"}}
TRACKED = ("requests.cpu", "limits.cpu", "requests.memory", f"requests.{GPU}")
HARD = st.dictionaries(st.sampled_from(TRACKED), st.integers(0, 20).map(str), min_size=1)


@thorough
@given(st.lists(LEGAL_PODS, min_size=2, max_size=3), POLICIES.map(policy_of), HARD)
def test_pods_are_admitted_as_long_as_they_fit_into_the_quota(found: list[Json], policy: Policy, hard: Json) -> None:
    hard = {name: f"{value}Gi" if "memory" in name else value for name, value in hard.items()}
    ledger = Ledger(manifests.quotas(json.dumps({**QUOTA, "spec": {"hard": hard}}), "quotas.yaml"))
    used = dict.fromkeys(hard, Fraction(0))
    for index, pod in enumerate(found):
        pod["metadata"]["name"] = f"pod-{index}"
        request = decoded(pod)
        quotas = ledger.quotas("n", request.meta)
        decision = mutate(request, policy, Constraints(quotas), TODAY)
        if isinstance(decision, Denied) and "must specify" in decision.message:
            continue
        stored = defaulted(mutated(pod, policy, Constraints(quotas, may_deny=False))[0])
        asked = {name: charged(stored, name) for name in hard}
        fits = all(used[name] + value <= amount(hard[name]) for name, value in asked.items() if value)
        assert isinstance(decision, Allowed) == fits
        if isinstance(decision, Allowed):
            ledger.charge("n", request.meta, decision.charges)
            used = {name: value + asked[name] for name, value in used.items()}


def charged(pod: Json, name: str) -> Fraction:
    side, _, resource = name.partition(".")
    return effective(pod, side).get(resource, Fraction(0))


TEXTS = st.text(max_size=5) | st.sampled_from(
    ["", "-", "~", "a/b", "cpu", GPU, "1e400", "9" * 30, "-1", "1Ki", "\ud800", "Always", "pods", "resize", "UPDATE"]
)
SCALARS = (
    st.none() | st.booleans() | TEXTS | st.floats() | st.integers(-(2**70), 2**70) | st.sampled_from([10**40, -0.0])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
REVIEWS = [case.review for case in cases()]
FUZZED = policy_of(
    {
        "task_resources": {
            "defaults": {"cpu": "500m", "memory": "1Gi", "gpu": 1},
            "limits": {"cpu": 2, "memory": "2Gi", "gpu": 2},
        }
    }
)
QUOTAS = manifests.quotas(
    """
kind: ResourceQuota
metadata: {name: a}
spec: {hard: {cpu: 4, limits.memory: 8Gi, requests.nvidia.com/gpu: 3, pods: 2}}
---
kind: ResourceQuota
metadata: {name: b}
spec:
  hard: {requests.cpu: 1e400}
  scopes: [NotTerminating, NotBestEffort]
  scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: NotIn, values: [x]}]}
---
kind: ResourceQuota
metadata: {name: c}
spec: {hard: {pods: 1}, scopes: [CrossNamespacePodAffinity]}
""",
    "quotas.yaml",
)


@st.composite
def damaged(draw: st.DrawFn, originals: st.SearchStrategy[Json]) -> Json:
    """A real review, but for a few nodes that are gone, null, or something else."""
    root: Json = {"review": copy.deepcopy(draw(originals))}
    for _ in range(draw(st.integers(1, 4))):
        holder, key = draw(st.sampled_from(list(nodes(root))))
        match draw(st.sampled_from(["drop", "null", "replace", "add", "repeat"])):
            case "drop":
                del holder[key]
            case "null":
                holder[key] = None
            case "replace":
                holder[key] = draw(VALUES)
            case "add" if isinstance(holder, dict):
                holder[draw(TEXTS)] = draw(VALUES)
            case "repeat" if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
        root.setdefault("review", None)
    return root


def texts_of(originals: st.SearchStrategy[Json]) -> st.SearchStrategy[str]:
    """Any text, any JSON, and the originals with a few nodes damaged."""
    return st.text() | st.one_of(VALUES, damaged(originals).map(lambda root: root["review"])).map(json.dumps)


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from nodes(value[key])


def goes_through(body: bytes) -> None:
    """Nothing but BadReviewError is raised, each answer is an AdmissionReview, and each patch applies."""
    try:
        request = wire.decode(body)
    except BadReviewError:
        return
    ledger = Ledger(QUOTAS)
    for decide in (mutate, validate):
        quotas = ledger.quotas("default", request.meta, resize=request.resize)
        decision = decide(request, FUZZED, Constraints(quotas), TODAY)
        answer = encode(request, decision)
        assert json.loads(answer)["response"]["uid"] == request.uid
        if isinstance(decision, Allowed):
            ledger.charge("default", request.meta, decision.charges, resize=request.resize)
        if "patch" in json.loads(answer)["response"]:
            read = json.loads(body.decode(errors="replace"))  # what is skipped may be no UTF-8
            patched(read["request"]["object"], answer)


@thorough
@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    goes_through(body)


@thorough
@given(VALUES)
def test_arbitrary_json_raises_nothing_else(value: Any) -> None:
    goes_through(json.dumps(value).encode())


@thorough
@given(VALUES)
def test_an_arbitrary_object_raises_nothing_else(value: Any) -> None:
    goes_through(json.dumps(review_of(value)).encode())
    goes_through(json.dumps(review_of({"metadata": {"labels": {"execution-id": "a"}}, "spec": value})).encode())


@settings(thorough, max_examples=300)
@given(damaged(st.sampled_from(REVIEWS)))
def test_a_damaged_review_raises_nothing_else(root: Json) -> None:
    goes_through(json.dumps(root["review"]).encode())


@settings(thorough, max_examples=300)
@given(damaged(ANY_PODS.map(review_of)))
def test_a_damaged_review_of_any_pod_raises_nothing_else(root: Json) -> None:
    goes_through(json.dumps(root["review"]).encode())


@thorough
@given(damaged(st.sampled_from(REVIEWS)), st.data())
def test_the_bytes_of_a_review_cut_and_stained_raise_nothing_else(root: Json, data: st.DataObject) -> None:
    body = bytearray(json.dumps(root["review"]).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    goes_through(bytes(body[: data.draw(st.integers(0, len(body)))]))


@thorough
@given(texts_of(ANY_PODS))
def test_review_of_arbitrary_text_raises_nothing_but_problems(text: str) -> None:
    try:
        for report in review.reports(text, "file", FUZZED, Ledger(QUOTAS), TODAY):
            assert [*review.as_text(report)]
            assert yaml.safe_dump(review.as_data(report))
    except ProblemsError as error:
        placed(error)


@thorough
@given(texts_of(POLICIES))
def test_a_policy_of_arbitrary_text_raises_nothing_but_problems(text: str) -> None:
    try:
        policy = load(text, "file").policy
    except ProblemsError as error:
        placed(error)
    else:
        assert yaml.safe_load(render(policy, TaskScope(), TODAY))["mode"] in ("enforce", "warn", "audit")


def placed(error: ProblemsError) -> None:
    assert all(re.match("file:[0-9]+:[0-9]+: .", line) for line in str(error).splitlines())
