"""In the local mode an admitted Pod is charged once, however often it is reviewed, and stays charged."""

from typing import Any

import pytest

from tests.vectors import Data, amounts, quota_of, texts
from webhook.api.pod import ObjectMeta
from webhook.api.resource_quota import Charges, NamespacedMeta, ResourceQuota, ScopeRequirement
from webhook.cluster.ledger import MOST_PODS, Ledger
from webhook.cluster.snapshot import MOST_READ, Snapshot

NS = "flytesnacks-development"


def ledger(*quotas: Data) -> Ledger:
    return Ledger(map(quota_of, quotas))


def a_quota(name: str = "q", namespace: str | None = NS, **parts: Any) -> Data:
    return {"metadata": {"name": name, "namespace": namespace}, **(parts or {"spec": {"hard": {"cpu": 9, "pods": 9}}})}


def charges(quota: str = "q", **taken: str) -> Charges:
    return {quota: amounts(taken)}


def named(name: str, generate: str | None = None) -> ObjectMeta:
    return ObjectMeta(name=name, generate_name=generate)


def generated(prefix: str) -> ObjectMeta:
    return ObjectMeta(generate_name=prefix)


NOBODY = named("nobody-yet")


def used(quotas: Ledger, meta: ObjectMeta = NOBODY, *, resize: bool = False, namespace: str = NS) -> Data:
    """What is used of each quota in the eyes of this Pod."""
    return {quota.name: texts(quota.used) for quota in quotas.quotas(namespace, meta, resize=resize)}


@pytest.mark.parametrize(
    ("parts", "hard", "taken"),
    [
        ({}, {}, {}),
        ({"spec": {"hard": {"cpu": "4"}}}, {"cpu": "4"}, {"cpu": "0"}),
        ({"spec": {"hard": {"cpu": "4"}}, "status": {}}, {"cpu": "4"}, {"cpu": "0"}),
        ({"spec": {"hard": {"cpu": "4"}}, "status": {"used": {"cpu": "1"}}}, {"cpu": "4"}, {"cpu": "1"}),
        (
            {"spec": {"hard": {"cpu": "4"}}, "status": {"hard": {"cpu": "2", "pods": "3"}, "used": {"cpu": "1"}}},
            {"cpu": "2", "pods": "3"},
            {"cpu": "1"},
        ),
    ],
    ids=["nothing", "spec", "empty status", "used", "status"],
)
def test_a_quota_starts_from_its_status_else_from_its_spec_and_nothing_used(
    parts: Data, hard: dict[str, str], taken: dict[str, str]
) -> None:
    (quota,) = ledger({"metadata": {"name": "q"}, **parts}).quotas("default", NOBODY)
    assert (texts(quota.hard), texts(quota.used)) == (hard, taken)


def test_quotas_are_those_of_the_namespace_by_name() -> None:
    quotas = ledger(a_quota("z"), a_quota("a"), a_quota("other", "elsewhere"), a_quota("none", None))
    assert [[quota.name for quota in quotas.quotas(ns, NOBODY)] for ns in (NS, "elsewhere", "default", "")] == [
        ["a", "z"],
        ["other"],
        ["none"],
        [],
    ]


def test_scopes_and_the_selector_hold_together() -> None:
    quota = quota_of(
        a_quota(
            spec={
                "scopes": ["BestEffort"],
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                },
            }
        )
    )
    assert list(quota.scopes) == [ScopeRequirement("BestEffort"), ScopeRequirement("PriorityClass", "In", ["high"])]
    assert list(ResourceQuota().scopes) == []
    assert list(quota_of(a_quota(spec={"scopeSelector": {"matchExpressions": None}})).scopes) == []


def test_a_pod_is_charged_once_over_mutate_and_validate() -> None:
    quotas = ledger(a_quota())
    for _ in range(3):
        assert used(quotas, named("a")) == {"q": {"cpu": "0", "pods": "0"}}
        quotas.charge(NS, named("a"), charges(cpu="2", pods="1"))
        assert used(quotas) == {"q": {"cpu": "2", "pods": "1"}}


def test_the_last_review_says_what_a_pod_takes() -> None:
    quotas = ledger(a_quota())
    quotas.charge(NS, named("a"), charges(cpu="2", pods="1"))
    quotas.charge(NS, named("a"), charges(cpu="3"))
    assert used(quotas) == {"q": {"cpu": "3", "pods": "0"}}
    quotas.charge(NS, named("a"), {})
    assert used(quotas) == {"q": {"cpu": "0", "pods": "0"}}


def test_pods_of_several_names_add_up() -> None:
    quotas = ledger(a_quota(), a_quota("other", "elsewhere"))
    quotas.charge(NS, named("a"), charges(cpu="2"))
    quotas.charge(NS, named("b"), charges(cpu="500m"))
    quotas.charge("elsewhere", named("a"), charges("other", cpu="1"))
    assert used(quotas) == {"q": {"cpu": "2500m", "pods": "0"}}
    assert used(quotas, named("a")) == {"q": {"cpu": "500m", "pods": "0"}}
    assert used(quotas, named("a"), namespace="elsewhere") == {"other": {"cpu": "0", "pods": "0"}}


def test_each_quota_is_charged_its_own() -> None:
    quotas = ledger(a_quota("a"), a_quota("b"))
    quotas.charge(NS, named("x"), {**charges("a", cpu="1"), **charges("b", pods="1"), **charges("gone", cpu="9")})
    assert used(quotas) == {"a": {"cpu": "1", "pods": "0"}, "b": {"cpu": "0", "pods": "1"}}


def test_a_charge_adds_to_what_was_used_before() -> None:
    quotas = ledger(a_quota(status={"hard": {"cpu": "9"}, "used": {"cpu": "4", "memory": "1Gi"}}))
    quotas.charge(NS, named("a"), charges(cpu="2"))
    assert used(quotas) == {"q": {"cpu": "6", "memory": "1Gi"}}
    assert used(quotas, named("a")) == {"q": {"cpu": "4", "memory": "1Gi"}}


def test_a_namespace_without_quotas_keeps_no_books() -> None:
    quotas = ledger()
    quotas.charge(NS, named("a"), charges(cpu="2"))
    assert used(quotas) == {}


def test_the_first_named_pod_takes_the_place_of_the_one_without_a_name() -> None:
    quotas = ledger(a_quota())
    quotas.charge(NS, generated("a-"), charges(cpu="2"))
    assert used(quotas) == {"q": {"cpu": "2", "pods": "0"}}
    assert used(quotas, named("a-x1", "a-")) == {"q": {"cpu": "0", "pods": "0"}}
    quotas.charge(NS, named("a-x1", "a-"), charges(cpu="3"))
    assert used(quotas) == {"q": {"cpu": "3", "pods": "0"}}
    # and is known by its name from then on
    quotas.charge(NS, named("a-x1", "a-"), charges(cpu="4"))
    assert used(quotas) == {"q": {"cpu": "4", "pods": "0"}}


def test_pods_without_a_name_are_always_new_ones() -> None:
    quotas = ledger(a_quota())
    for cpu in ("1", "2"):
        quotas.charge(NS, generated("a-"), charges(cpu=cpu))
    assert used(quotas, generated("a-")) == {"q": {"cpu": "3", "pods": "0"}}
    # the first named one is the first of the two, whichever it was
    assert used(quotas, named("a-x", "a-")) == {"q": {"cpu": "2", "pods": "0"}}
    quotas.charge(NS, named("a-x", "a-"), charges(cpu="1"))
    quotas.charge(NS, named("a-y", "a-"), charges(cpu="2"))
    assert used(quotas) == {"q": {"cpu": "3", "pods": "0"}}
    quotas.charge(NS, named("a-z", "a-"), charges(cpu="1"))
    assert used(quotas) == {"q": {"cpu": "4", "pods": "0"}}


def test_pods_without_any_name_are_always_new_ones_too() -> None:
    quotas = ledger(a_quota())
    quotas.charge(NS, ObjectMeta(), charges(cpu="1"))
    quotas.charge(NS, ObjectMeta(), charges(cpu="1"))
    quotas.charge(NS, generated("a-"), charges(cpu="1"))
    quotas.charge(NS, named("b"), charges(cpu="1"))
    assert used(quotas) == {"q": {"cpu": "4", "pods": "0"}}


def test_the_oldest_of_many_pods_is_known_no_longer_and_stays_charged() -> None:
    quotas = ledger(a_quota(spec={"hard": {"cpu": "20k"}}))
    for number in range(MOST_PODS):
        quotas.charge(NS, named(f"pod-{number}"), charges(cpu="1"))
    quotas.charge(NS, named("pod-0"), charges(cpu="1"))  # and so pod-1 is the oldest
    assert [used(quotas, named(f"pod-{number}"))["q"]["cpu"] for number in (0, 1, 2)] == ["9999", "9999", "9999"]
    quotas.charge(NS, generated("new-"), charges(cpu="1"))
    assert used(quotas)["q"]["cpu"] == "10001"
    assert [used(quotas, named(f"pod-{number}"))["q"]["cpu"] for number in (0, 1, 2)] == ["10k", "10001", "10k"]


def test_pods_without_a_name_are_forgotten_one_after_the_other() -> None:
    quotas = ledger(a_quota(spec={"hard": {"cpu": "20k"}}))
    for _ in range(MOST_PODS + 5):
        quotas.charge(NS, generated("made-"), charges(cpu="1"))
    assert used(quotas)["q"]["cpu"] == "10005"
    for number in range(MOST_PODS):
        quotas.charge(NS, named(f"made-{number}", "made-"), charges(cpu="1"))
    assert used(quotas)["q"]["cpu"] == "10005"
    quotas.charge(NS, named("made-too-late", "made-"), charges(cpu="1"))
    assert used(quotas)["q"]["cpu"] == "10006"


def test_a_resize_is_charged_on_top() -> None:
    quotas = ledger(a_quota())
    quotas.charge(NS, named("a"), charges(cpu="2", pods="1"))
    assert used(quotas, named("a"), resize=True) == {"q": {"cpu": "2", "pods": "1"}}
    quotas.charge(NS, named("a"), charges(cpu="1"), resize=True)
    assert used(quotas) == {"q": {"cpu": "3", "pods": "1"}}
    quotas.charge(NS, named("a"), {}, resize=True)
    assert used(quotas) == {"q": {"cpu": "3", "pods": "1"}}
    assert used(quotas, named("a")) == {"q": {"cpu": "0", "pods": "0"}}


def test_a_resize_of_a_pod_that_came_before_us_is_charged_for_what_it_adds() -> None:
    quotas = ledger(a_quota(status={"hard": {"cpu": "9"}, "used": {"cpu": "2"}}))
    quotas.charge(NS, named("old"), charges(cpu="1"), resize=True)
    assert used(quotas) == {"q": {"cpu": "3"}}


def test_an_event_touches_its_own_namespace_only() -> None:
    names = [f"ns-{number}" for number in range(10_000)]
    snapshot = Snapshot(quota_of(a_quota(name, namespace)) for namespace in names for name in ("b", "a"))
    before = [snapshot.of(namespace) for namespace in names]
    snapshot.put(quota_of(a_quota("c", "ns-7")))
    snapshot.remove(NamespacedMeta("a", "ns-8"))
    changed = {name: snapshot.of(name) for name, old in zip(names, before, strict=True) if snapshot.of(name) is not old}
    assert {name: [quota.name for quota in quotas] for name, quotas in changed.items()} == {
        "ns-7": ["a", "b", "c"],
        "ns-8": ["b"],
    }
    assert [quota.name for quota in before[7]] == ["a", "b"]


def test_of_the_quotas_of_one_namespace_so_many_are_read_for_a_review_and_none_is_forgotten() -> None:
    names = [f"q-{number:05}" for number in range(MOST_READ + 1)]
    cached = Snapshot(quota_of(a_quota(name)) for name in names)
    assert [quota.name for quota in cached.of(NS)] == names[:-1]
    assert cached.crowded == {NS}
    cached.remove(NamespacedMeta(name=names[0], namespace=NS))
    assert [quota.name for quota in cached.of(NS)] == names[1:]
    assert cached.crowded == set()
