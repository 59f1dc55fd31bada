"""Pods that come together: none that fits is refused, and those that do not are refused by the webhook.

In a model of the API server, which has a clock of its own, and charges a Pod some time after the webhook's last answer.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from tests.server.test_app import review
from tests.vectors import quota_of
from webhook.admission.decide import mutate, validate
from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import ResourceQuota
from webhook.api.version import NEWEST, Version
from webhook.cluster.ledger import Ledger
from webhook.cluster.reservations import SETTLE, Reservations
from webhook.policy.file import load
from webhook.server.reviewer import Reviewer
from webhook.server.state import State
from webhook.telemetry.metrics import Metrics

LAG = 0.03  # seconds by which the cache is behind
READ = 0.005  # seconds that a live read takes
TURNS = 10  # of the event loop, after which every review waits for something
POLICY = """
task_resources: {}
overrides:
  - {project: reported, mode: warn}
exemptions:
  - {match: {project: exempted}, skip: [quota], reason: as the test has it, until: 2999-01-01}
"""


@dataclass
class ApiServer:
    """An API server with one quota of so many cpus: as the webhook sees it, and as it is."""

    hard: int
    namespace: str = "ns"
    read: float = READ
    now: float = 0.0
    charged: list[tuple[float, int]] = field(default_factory=lambda: [(-LAG, 0)])  # since when, how much
    passed: int = 0  # of what the webhook has let through, what is not charged yet
    outcomes: Counter[str] = field(default_factory=Counter)
    live_reads: int = 0
    is_reachable: bool = True
    synced: bool = True
    kubernetes: Version = NEWEST
    problems: dict[str, str] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self.reservations = Reservations(lambda: self.now)
        self.state = State(load(POLICY, "policy.yaml").policy, Ledger([]), Metrics(), cluster=self)
        self.reviewers = {
            "/mutate": Reviewer("/mutate", mutate, self.state),
            "/validate": Reviewer("/validate", validate, self.state, is_last=True, clock=lambda: self.now),
        }

    @property
    def used(self) -> int:
        return self.charged[-1][1]

    def waits(self, result: str) -> float:
        """How many reviews have waited, and what for."""
        return (
            self.state.metrics.registry.get_sample_value("flyte_admission_quota_waits_total", {"result": result}) or 0
        )

    def quotas(self, namespace: str) -> Sequence[ResourceQuota]:  # noqa: ARG002
        return self._figures(self.now - LAG)

    async def live(self, namespace: str, wait: float = 0) -> Sequence[ResourceQuota] | None:  # noqa: ARG002
        answer = asyncio.get_running_loop().create_future()
        began = self.now + wait
        self.at(began + self.read, lambda: answer.set_result(self._figures(began) if self.is_reachable else None))
        self.live_reads += 1
        found: Sequence[ResourceQuota] | None = await answer
        return found

    async def run(self) -> None:
        """Let everything happen, each at its time."""
        while self._events:
            self.now, _, do = heappop(self._events)
            do()
            for _ in range(TURNS):
                await asyncio.sleep(0)
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Nothing to close."""

    def age(self) -> float:
        return LAG

    def limit_ranges(self, _: str) -> Sequence[LimitRange]:
        return ()

    def by_namespace(self) -> Mapping[str, Sequence[ResourceQuota]]:
        return {self.namespace: self.quotas(self.namespace)}

    def _figures(self, when: float) -> Sequence[ResourceQuota]:
        version, used = [(at, cpus) for at, (since, cpus) in enumerate(self.charged) if since <= when][-1]
        status = {"hard": {"limits.cpu": str(self.hard)}, "used": {"limits.cpu": str(used)}}
        metadata = {"namespace": self.namespace, "name": "q", "resourceVersion": str(version + 1)}
        return [quota_of({"metadata": metadata, "status": status})]

    def create(self, when: float, cpus: int, charged: float | None, name: str = "") -> None:
        """Have a Pod reviewed at that time, and charged so many seconds after that, or never."""
        self.ask(when, review(self.namespace, name or f"pod-{next(self._numbers)}", str(cpus)), cpus, charged)

    def ask(
        self, when: float, asked: dict[str, Any], cpus: int, charged: float | None, endpoint: str = "/validate"
    ) -> None:
        async def reviewed() -> None:
            known = len(self.charged) - 1
            answer = await self.reviewers[endpoint].review(json.dumps(asked).encode())
            answer.report()
            if not json.loads(answer.body)["response"]["allowed"]:
                self.outcomes["refused"] += 1
                most = max(used for _, used in self.charged[known:])  # since it was asked: others may have ended
                assert most + self.passed + cpus > self.hard
            elif charged is None:
                self.outcomes["let through"] += 1
            else:
                self.passed += cpus
                self.at(self.now + charged, charge)

        def charge() -> None:
            self.passed -= cpus
            if self.used + cpus > self.hard:
                self.outcomes["refused by the API server"] += 1
            else:
                self.outcomes["created"] += 1
                self.charge(cpus)

        self.at(when, lambda: self._tasks.append(asyncio.create_task(reviewed())))

    def charge(self, cpus: int) -> None:
        """Charge so many more, or fewer, and have the watch say so."""
        self.charged.append((self.now, self.used + cpus))
        (quota,) = self._figures(self.now)
        self.at(self.now + LAG, lambda: self.reservations.see(quota))

    def at(self, when: float, do: Callable[[], object]) -> None:
        heappush(self._events, (when, next(self._numbers), do))


@pytest.mark.parametrize("every", [0.0, 0.001, 0.01])
async def test_of_many_pods_as_many_get_in_as_there_is_room_for_and_we_refuse_the_others(every: float) -> None:
    server = ApiServer(hard=50)
    for number in range(150):
        server.create(number * every, 1, 0.01 + number % 7 * 0.02)
    await server.run()
    assert server.outcomes == {"created": 50, "refused": 100}


async def test_pods_that_together_ask_for_exactly_what_is_free_do_not_wait_for_each_other() -> None:
    server = ApiServer(hard=6)
    for number in range(3):
        server.create(number * 0.05, 2, 0.02)
    await server.run()
    assert server.outcomes == {"created": 3}
    assert (server.waits("settled"), server.waits("unsettled")) == (0, 0)


async def test_in_a_full_quota_where_tasks_end_while_others_begin_we_refuse_what_does_not_fit() -> None:
    server = ApiServer(hard=20)
    server.charged.append((-LAG, 20))
    for number in range(60):
        server.at(0.2 + number * 0.12, lambda: server.charge(-1))
    for number in range(300):
        server.create(number * 0.025, 1, 0.01 + number % 7 * 0.015)
    await server.run()
    assert server.outcomes == {"created": 60, "refused": 240}
    assert server.waits("unsettled") == 0


async def test_far_from_full_nothing_is_read() -> None:
    server = ApiServer(hard=1000)
    for number in range(100):
        server.create(number * 0.001, 1, 0.02)
    await server.run()
    assert (server.outcomes, server.live_reads) == ({"created": 100}, 0)


async def test_a_pod_that_another_webhook_refuses_after_us_is_in_nobodys_way_for_long() -> None:
    server = ApiServer(hard=4)
    server.create(0, 4, None)
    server.create(0.1, 4, 0.01)
    await server.run()
    assert server.outcomes == {"let through": 1, "created": 1}
    assert server.charged[-1][0] > SETTLE
    assert (server.waits("settled"), server.waits("unsettled")) == (1, 0)


async def test_a_pod_before_which_others_are_let_through_again_and_again_is_left_to_the_api_server() -> None:
    server = ApiServer(hard=20)
    for number in range(40):
        server.create(number * 0.05, 1, None)
    server.create(0.55, 12, 0.01)
    await server.run()
    assert server.outcomes == {"let through": 40, "created": 1}
    assert server.waits("unsettled") >= 1


async def test_where_live_reads_are_slow_there_are_fewer_so_that_the_api_server_gets_its_answer() -> None:
    server = ApiServer(hard=4, read=0.4)
    server.create(0, 3, None)
    server.create(0.001, 3, 0.01)
    await server.run()
    assert (server.live_reads, server.outcomes) == (2, {"let through": 1, "created": 1})


async def test_where_live_quotas_cannot_be_read_a_pod_that_fits_the_cached_ones_is_let_through() -> None:
    server = ApiServer(hard=4, is_reachable=False)
    server.create(0, 3, 0.01)
    server.create(0.001, 3, 0.01)
    await server.run()
    assert server.outcomes == {"created": 1, "refused by the API server": 1}
    assert server.live_reads == 1


async def test_where_live_quotas_cannot_be_read_a_second_time_what_was_decided_by_the_first_holds() -> None:
    server = ApiServer(hard=4)
    server.create(0, 3, None)
    server.create(0.001, 3, 0.01)
    server.at(0.01, lambda: setattr(server, "is_reachable", False))
    await server.run()
    assert server.outcomes == {"let through": 1, "created": 1}
    assert (server.live_reads, server.waits("unsettled")) == (2, 1)


@pytest.mark.parametrize(
    ("endpoint", "dry_run"), [("/mutate", False), ("/validate", True)], ids=["not the last review", "a dry run"]
)
async def test_what_is_not_about_to_be_stored_is_in_nobodys_way(endpoint: str, dry_run: bool) -> None:  # noqa: FBT001
    server = ApiServer(hard=4)
    for number in range(3):
        asked = review("ns", f"pod-{number}", "3")
        asked["request"]["dryRun"] = dry_run
        server.ask(0, asked, 3, None, endpoint)
    server.create(0.001, 4, 0.01)
    await server.run()
    assert server.outcomes == {"let through": 3, "created": 1}
    assert server.waits("settled") == 0


async def test_a_pod_that_is_reviewed_again_is_reserved_once_and_not_in_its_own_way() -> None:
    server = ApiServer(hard=4)
    for number in range(3):
        server.create(number * 0.001, 3, None, "again")
    server.create(0.01, 1, 0.01)
    await server.run()
    assert server.outcomes == {"let through": 3, "created": 1}
    assert (server.waits("settled"), server.waits("unsettled")) == (0, 0)


@pytest.mark.parametrize("project", ["reported", "exempted"])
async def test_who_is_let_through_in_any_case_does_not_wait(project: str) -> None:
    server = ApiServer(hard=4, namespace=f"{project}-development")
    for number in range(3):
        server.create(number * 0.001, 3, None)
    await server.run()
    assert (server.outcomes, server.live_reads) == ({"let through": 3}, 0)


async def test_a_refusal_that_is_only_reported_takes_no_live_read_and_is_counted_as_that() -> None:
    server = ApiServer(hard=4, namespace="reported-development")
    server.charged.append((-LAG, 4))
    server.create(0, 1, None)
    await server.run()
    assert (server.outcomes, server.live_reads) == ({"let through": 1}, 0)
    assert b'decision="would_be_denied"' in generate_latest(server.state.metrics.registry)


async def test_a_resize_reserves_what_it_adds() -> None:
    server = ApiServer(hard=4)
    server.charged.append((-LAG, 2))
    for number, cpus in enumerate(["2", "2", "1500m"]):
        asked = review("ns", f"pod-{number}", cpus)
        old = review("ns", f"pod-{number}", "1")["request"]["object"]
        old["metadata"]["resourceVersion"] = "1"
        asked["request"] |= {"operation": "UPDATE", "subResource": "resize", "oldObject": old}
        server.ask(number * 0.001, asked, 1, None)
    await server.run()
    assert (server.outcomes, server.waits("settled")) == ({"let through": 3}, 1)


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 4), st.floats(0, SETTLE, exclude_max=True)), max_size=20),
)
def test_none_that_fits_is_refused_and_few_are_left_to_the_api_server(
    hard: int, pods: list[tuple[float, int, float]]
) -> None:
    async def run() -> None:
        server = ApiServer(hard)
        for when, cpus, seconds in pods:
            server.create(when, cpus, seconds)
        await server.run()
        assert server.outcomes["refused by the API server"] <= server.waits("unsettled")

    asyncio.run(run())
