"""What was let through counts until its quota can be known to have counted it, once, and in bounded memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import Data, amounts, quota_of
from webhook.api.resource_quota import Charges, ResourceQuota
from webhook.cluster import reservations
from webhook.cluster.reservations import HELD, SETTLE, Reservation, Reservations

HARD = 20


@dataclass
class Held:
    """Reservations of Pods in a quota, its figures, and the clock that gives back."""

    now: float = 0.0
    used: int = 0
    version: int = 1
    is_watched: bool = True  # whether each change is seen; else live reads alone have them
    reservations: Reservations = field(init=False)

    def __post_init__(self) -> None:
        self.reservations = Reservations(lambda: self.now)

    @property
    def quotas(self) -> list[ResourceQuota]:
        return [quota_of(a_quota(version=str(self.version), used={"pods": str(self.used)}, pods=str(HARD)))]

    def reserve(self, name: str, pods: int, namespace: str = "ns") -> None:
        self.reservations.reserve(asked(pods, name, namespace), self.quotas)

    def grow(self, pods: int) -> None:
        """The API server has charged, or given back, so many."""
        self.used += pods
        self.version += 1
        if self.is_watched:
            self.reservations.see(*self.quotas)

    def room(self, name: str = "another", namespace: str = "ns", *, live: bool = True) -> int:
        """How many more Pods fit."""
        leave_room = self.reservations.leave_room
        fits = (
            n for n in range(-1, HARD - self.used + 1) if leave_room(asked(n, name, namespace), self.quotas, live=live)
        )
        return max(fits, default=-1)


def a_quota(name: str = "q", version: str = "1", used: Mapping[str, str] | None = None, **hard: str) -> Data:
    status = {"hard": hard, "used": dict.fromkeys(hard, "0") if used is None else used}
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": version}, "status": status}


def asked(pods: int, name: str, namespace: str = "ns") -> Reservation:
    return Reservation(namespace, name, charges(pods=str(pods)))


def charges(quota: str = "q", **taken: str) -> Charges:
    return {quota: amounts(taken)}


def test_what_is_held_leaves_as_much_less_room_until_it_has_settled() -> None:
    held = Held()
    held.reserve("a", 3)
    held.now = HELD / 2
    held.reserve("b", 4)
    assert (held.room(), held.room(live=False), held.room(namespace="other")) == (13, 6, 20)
    held.now = HELD
    assert held.room() == 16
    held.now = HELD * 2
    assert held.room() == 20


def test_what_the_figures_have_grown_by_is_no_longer_under_way() -> None:
    held = Held()
    held.reserve("a", 3)
    held.reserve("b", 4)
    held.grow(3)
    assert held.room() == 13
    held.grow(-2)  # a Pod has ended
    assert held.room() == 15
    held.grow(4)
    assert (held.room(), held.room(live=False)) == (15, 1)


def test_a_pod_that_has_ended_does_not_hide_one_that_was_charged() -> None:
    held, read_live = Held(), Held(is_watched=False)
    for each in (held, read_live):
        each.used = 10
        each.reserve("a", 3)
        each.grow(3)
        each.grow(-3)
    assert (held.room(), read_live.room()) == (10, 7)


def test_what_no_replica_has_let_through_and_what_is_not_reserved_changes_nothing() -> None:
    held = Held()
    held.grow(5)
    assert held.room() == 15


def test_older_figures_than_those_that_were_seen_change_nothing() -> None:
    held = Held()
    held.reserve("a", 5)
    held.grow(5)
    assert held.room() == 15
    held.used, held.version = 0, 1
    assert held.room() == 15


def test_where_the_figures_grow_by_more_another_replica_lets_through_as_much() -> None:
    held = Held()
    held.reserve("a", 3)
    held.grow(4)
    assert held.room() == 20 - 4 - 2
    held.reserve("b", 2)
    assert (held.room(), held.room(name="b")) == (20 - 4 - 6, 20 - 4 - 2)
    held.now = HELD
    assert held.room() == 16


def test_what_is_charged_late_is_not_taken_for_what_came_after_it() -> None:
    held = Held()
    held.reserve("a", 3)
    held.now = HELD / 2
    held.reserve("b", 4)
    held.now = HELD
    assert held.room() == 16
    held.grow(3)
    assert held.room() == 13


def test_a_pod_is_held_once_under_its_name_and_is_not_in_its_own_way() -> None:
    held = Held()
    for pods in (5, 5, 3):
        held.reserve("a", pods)
    held.reserve("a", 1, namespace="other")
    assert (held.room(), held.room(name="a"), held.room(namespace="other")) == (17, 20, 19)
    held.reservations.reserve(Reservation("ns", "a", {}), held.quotas)
    assert held.room() == 20


@pytest.mark.parametrize(
    ("quota", "taken"),
    [
        (a_quota(cpu="3", used={"cpu": "1"}), charges(cpu="1001m")),
        (a_quota(cpu="1", used={}), charges(cpu="500m", memory="2Gi")),
    ],
    ids=["beside what is used", "nothing is used"],
)
def test_one_resource_that_has_no_room_is_enough(quota: Data, taken: Charges) -> None:
    held = Held().reservations
    held.reserve(Reservation("ns", "a", charges(cpu="1")), [quota_of(quota)])
    assert not held.leave_room(Reservation("ns", "b", taken), [quota_of(quota)], live=True)


@pytest.mark.parametrize(
    ("quota", "taken"),
    [
        (a_quota(cpu="3", used={"cpu": "1"}), charges(cpu="1")),
        (a_quota(cpu="1", memory="1Gi"), charges(memory="1Gi")),
        (a_quota("other", cpu="1"), charges("other", cpu="1")),
        (a_quota(cpu="0"), charges("other", cpu="1")),
        (a_quota(cpu="0"), {}),
    ],
    ids=["room", "another resource", "another quota", "not charged to it", "no charge"],
)
def test_only_what_is_held_of_the_same_resource_of_the_same_quota_counts(quota: Data, taken: Charges) -> None:
    held = Held().reservations
    made = Reservation("ns", "a", {**charges(cpu="1"), **charges("gone", cpu="1"), "empty": {}})
    held.reserve(made, [quota_of(a_quota(cpu="3")), quota_of(a_quota("empty"))])
    assert held.leave_room(Reservation("ns", "b", taken), [quota_of(quota)], live=True)


def test_of_more_than_can_be_kept_the_oldest_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "MOST_AMOUNTS", 3)
    held = Held()
    for number in range(5):
        held.reserve(str(number), 1)
    assert held.room() == 17
    large = dict.fromkeys("abcd", "1")
    held.reservations.reserve(Reservation("ns", "large", charges(**large)), [quota_of(a_quota(used=large, **large))])
    assert held.room() == 20


@pytest.mark.parametrize("is_watched", [True, False])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["pass", "charge", "end", "wait"]), st.integers(0, 3), st.sampled_from("abc")),
        max_size=40,
    )
)
def test_no_less_counts_than_what_is_under_way(is_watched: bool, steps: list[tuple[str, int, str]]) -> None:  # noqa: FBT001
    held, passed, stored = Held(is_watched=is_watched), dict[str, tuple[float, int]](), 0
    for step, number, name in steps:
        if step == "pass" and name not in passed:
            held.reserve(name, number)
            passed[name] = held.now + SETTLE, number
        elif step == "charge" and name in passed:
            _, pods = passed.pop(name)
            stored += pods
            held.grow(pods)
        elif step == "end" and stored:
            stored -= 1
            held.grow(-1)
        elif step == "wait":
            held.now += SETTLE / 4
            passed = {name: (until, pods) for name, (until, pods) in passed.items() if until > held.now}
        assert held.room() <= HARD - held.used - sum(pods for _, pods in passed.values())
