"""No Pod slips past the rules for what it holds, and none costs more than the bytes that it is made of."""

import base64
import cProfile
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import hostile
from tests.vectors import Data
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate, validate
from webhook.admission.decision import Decision
from webhook.policy.file import load
from webhook.policy.model import Policy

TODAY = "2026-11-25"
TEXT = "task_resources: {defaults: {cpu: 500m, memory: 500Mi}, limits: {cpu: 4, memory: 8Gi, gpu: 2}}"
POLICY = load(TEXT, "policy.yaml").policy
MIB = 2**20
Decide = Callable[[wire.Request, Policy, Constraints, str], Decision]


def answer(body: bytes, policy: Policy = POLICY, decide: Decide = mutate) -> bytes:
    request = wire.decode(body)
    return encode(request, decide(request, policy, Constraints(), TODAY))


def response(body: bytes, policy: Policy = POLICY, decide: Decide = mutate) -> Data:
    found: Data = json.loads(answer(body, policy, decide))["response"]
    assert found["uid"] == hostile.UID
    return found


endpoints = pytest.mark.parametrize("decide", [mutate, validate])


@endpoints
@pytest.mark.parametrize(("make", "what"), hostile.OVERSIZED.values(), ids=hostile.OVERSIZED.keys())
def test_what_is_larger_than_a_pod_can_be_is_refused_for_good_and_the_message_says_for_what(
    make: Callable[[], Data], what: str, decide: Decide
) -> None:
    found = response(hostile.review(make()), decide=decide)
    assert (found["allowed"], found["status"]["code"], found["status"]["reason"]) == (
        False,
        413,
        "RequestEntityTooLarge",
    )
    assert what in found["status"]["message"]
    assert len(found["status"]["message"]) < 1000


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: hostile.tolerations(256), "spec.tolerations: more than 256 items, with those of the policy"),
        (
            lambda: hostile.limits(32, "1", of=10),
            "spec.containers.0.resources.requests: more than 32 names, with those of the",
        ),
        (lambda: hostile.limits(25, "1"), "requests and limits: more than 1024 in all containers, with those of the"),
    ],
    ids=["of tolerations", "of names", "of amounts"],
)
def test_a_pod_that_has_no_room_for_what_the_rules_add_is_refused_for_good(make: Callable[[], Data], what: str) -> None:
    found = response(hostile.review(make()))
    assert (found["allowed"], found["status"]["code"]) == (False, 413)
    assert what in found["status"]["message"]


def lowered(pod: Data, body: bytes) -> Data:
    """The Pod as it is stored."""
    found = response(body)
    assert found["allowed"]
    patched: Data = jsonpatch.apply_patch(json.loads(json.dumps(pod)), json.loads(base64.b64decode(found["patch"])))
    return patched


@pytest.mark.parametrize("make", hostile.ORDINARY.values(), ids=hostile.ORDINARY.keys())
def test_whatever_else_a_pod_holds_its_limits_are_lowered_to_the_maxima(make: Callable[[], Data]) -> None:
    stored = lowered(make(), hostile.review(make()))
    for container in [*(stored["spec"]["containers"] or ()), *stored["spec"].get("initContainers", ())]:
        found = container["resources"]["limits"]
        assert found["cpu"] in ("4", "500m")
        assert found.get("nvidia.com/gpu", "2") == "2"
    over = response(hostile.review(make()), decide=validate)
    assert not over["allowed"]
    assert response(hostile.review(stored), decide=validate)["allowed"]


def test_a_resize_of_what_is_larger_than_a_pod_can_be_is_refused() -> None:
    old, new = hostile.with_limit("cpu", "1"), hostile.with_limit("cpu", "64")
    request = {"operation": "UPDATE", "subResource": "resize"}
    assert response(hostile.review(new, oldObject=old, **request))["allowed"]
    found = response(hostile.review(new, oldObject=hostile.containers(101), **request))
    assert "of the oldObject, spec.containers: more than 100 items" in found["status"]["message"]


def test_a_namespace_longer_than_any_is_refused() -> None:
    found = response(hostile.review(hostile.containers(1), namespace="n" * 1000))
    assert "metadata.namespace: more than 512 characters" in found["status"]["message"]


@pytest.mark.parametrize(
    ("policy", "allowed", "notes"),
    [
        ("mode: audit", True, {"mode", "refusal"}),
        ("overrides: [{domain: development, mode: warn}]", True, {"mode", "refusal"}),
        ("overrides: [{domain: production, mode: warn}]", False, set()),
    ],
)
def test_how_strictly_goes_by_the_namespace(policy: str, allowed: bool, notes: set[str]) -> None:  # noqa: FBT001
    found = response(hostile.review(hostile.containers(101)), load(f"{TEXT}\n{policy}", "policy.yaml").policy)
    assert (found["allowed"], set(found.get("auditAnnotations", {}))) == (allowed, notes)


def test_an_exemption_from_clamping_is_one_from_the_bounds() -> None:
    exempt = "exemptions: [{match: {project: flytesnacks}, skip: [clamp], reason: large, until: 2099-12-31}]"
    found = response(hostile.review(hostile.containers(101)), load(f"{TEXT}\n{exempt}", "policy.yaml").policy)
    assert found["allowed"]
    assert "patch" not in found


def test_a_message_names_no_more_than_twenty_values() -> None:
    found = response(hostile.review(hostile.ORDINARY["100 containers"]()), decide=validate)
    assert found["status"]["message"].count("over the maximum") == 20
    assert found["status"]["message"].endswith("; and 180 more")


# The cost: how many calls Python makes, and the memory that is taken at the most, for each byte of the body.


def repeated(item: Any, count: int) -> list[Any]:
    """The item so many times, or as often as it fits into what an API server takes."""
    return [item] * min(count, MIB // len(json.dumps(item)))


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, 0, "", "1e5000", "9" * 300, "x" * 2000, {"operator": "Exists"}]),
    lambda inner: st.builds(repeated, inner, st.integers(0, 120)).flatmap(
        lambda items: st.sampled_from([items, {f"x.io/{n}": item for n, item in enumerate(items)}])
    ),
    max_leaves=6,
)
FIELDS = ["containers", "initContainers", "tolerations", "resources", "overhead", "affinity", "volumes"]
BLOCKS = st.fixed_dictionaries({}, optional=dict.fromkeys(("requests", "limits", "claims"), JUNK))


@st.composite
def specs(draw: st.DrawFn) -> Data:
    """A spec of which each part is as it should be, or something made to be slow."""
    containers = st.lists(st.fixed_dictionaries({"name": st.just("c")}, optional={"resources": BLOCKS}), max_size=102)
    spec: Data = {field: draw(JUNK) for field in draw(st.sets(st.sampled_from(FIELDS)))}
    return spec | draw(st.fixed_dictionaries({}, optional={"containers": containers, "initContainers": containers}))


def calls(act: Callable[[], object]) -> int:
    """How many functions are called, of Python and of C."""
    profile = cProfile.Profile()
    profile.runcall(act)
    return sum(entry.callcount for entry in profile.getstats())


def peak(act: Callable[[], object]) -> int:
    """The bytes that are taken at the most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


CALLS_A_BYTE = 4  # of a Pod that is all resources; one of arguments and environment takes 0.1
MEMORY_A_BYTE = 3  # of a Pod of any size; beyond the fixed part, a copy or two
FIXED = 2_000_000  # calls, whatever the Pod: 100 containers are filled and recorded
FIXED_MEMORY = 24_000_000  # for 100,000 values that are decoded


@settings(max_examples=25, deadline=None, print_blob=False)
@given(specs(), st.sampled_from([mutate, validate]))
def test_any_object_is_answered_for_a_bounded_price_a_byte(spec: Data, decide: Decide) -> None:
    body = hostile.review(hostile.pod(spec))
    assert calls(lambda: response(body, decide=decide)) <= CALLS_A_BYTE * len(body) + FIXED
    assert peak(lambda: response(body, decide=decide)) <= MEMORY_A_BYTE * len(body) + FIXED_MEMORY


@endpoints
@pytest.mark.parametrize(
    "make",
    [*(make for make, _ in hostile.OVERSIZED.values()), *hostile.ORDINARY.values()],
    ids=[*hostile.OVERSIZED, *hostile.ORDINARY],
)
def test_a_hostile_pod_is_answered_for_a_bounded_price_a_byte(make: Callable[[], Data], decide: Decide) -> None:
    body = hostile.review(make())
    assert calls(lambda: answer(body, decide=decide)) <= CALLS_A_BYTE * len(body) + FIXED
    assert peak(lambda: answer(body, decide=decide)) <= MEMORY_A_BYTE * len(body) + FIXED_MEMORY


def test_pods_of_the_largest_size_leave_little_in_memory() -> None:
    def one(index: int) -> None:
        block = {"limits": {f"example.com/{index}-{n}": f"{n + 1}" for n in range(30)}}
        spec = {"containers": [{"name": f"c{n}", "image": "i", "resources": block} for n in range(100)]}
        answer(hostile.review(hostile.pod(spec)))

    one(0)
    tracemalloc.start()
    try:
        for index in range(1, 15):
            one(index)
        assert tracemalloc.get_traced_memory()[0] < 2 * MIB
    finally:
        tracemalloc.stop()
