"""The quotas follow the cluster through every fault that a watch can have, and the API server is never flooded."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import generate_latest

from tests.fake_apiserver import (
    CUT,
    RESET,
    SILENCE,
    FakeApiServer,
    Reply,
    body,
    bookmark,
    error,
    event,
    limit_range,
    page,
    quota,
    silence,
    status,
    stream,
)
from webhook.api.limit_range import ranges_of
from webhook.api.resource_quota import ResourceQuota
from webhook.cluster import client as cluster
from webhook.cluster.backoff import Backoff
from webhook.cluster.client import ClusterClient, Timeouts
from webhook.cluster.informer import Informer
from webhook.cluster.kinds import QUOTAS, Kind
from webhook.cluster.ledger import Ledger
from webhook.cluster.quota_answers import Event, Page
from webhook.cluster.reflector import Reflector, Time
from webhook.cluster.snapshot import MOST_READ
from webhook.policy.model import Policy
from webhook.server.state import State
from webhook.telemetry.metrics import Metrics

OPEN = stream(end=SILENCE)  # a watch on which nothing happens


@dataclass
class World:
    """A clock that only sleeping moves, and that stops after so many seconds."""

    seconds: float = 4.0
    now: float = 0.0
    chance: float = 0.0
    sleeps: list[float] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 3))
        self.now += seconds
        if self.now >= self.seconds:
            self.over.set()
            await asyncio.Event().wait()

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Watching:
    """An informer at work."""

    informer: Informer
    server: FakeApiServer
    world: World
    metrics: Metrics

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what is waited for is the state itself
                await asyncio.sleep(0.001)

    async def until_watching(self, number: int) -> None:
        """So many watches were asked for, and what the last one had to tell is there."""
        await self.until(lambda: len(self.server.seen("watch")) == number and self.server.seen("ranges-watch"))

    @property
    def counts(self) -> tuple[int, int]:
        """LIST and WATCH requests that the server has seen."""
        return len(self.server.seen("list")), len(self.server.seen("watch"))

    @property
    def versions(self) -> list[str]:
        return [request.query["resourceVersion"] for request in self.server.seen("watch")]

    def used(self, namespace: str = "ns") -> dict[str, str]:
        return used(self.informer.quotas(namespace))

    def exposed(self, name: str) -> dict[str, float]:
        """The samples of a metric by their labels."""
        text = generate_latest(self.metrics.registry).decode()
        lines = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
        return {labels: float(value) for labels, _, value in (line.rpartition(" ") for line in lines)}


def used(quotas: object) -> dict[str, str]:
    assert isinstance(quotas, tuple)
    return {quota.name: str(quota.used["limits.cpu"]) for quota in quotas if isinstance(quota, ResourceQuota)}


@asynccontextmanager
async def watching(
    lists: list[Reply],
    watches: list[Reply],
    world: World | None = None,
    timeouts: Timeouts = cluster.TIMEOUTS,
    ranges: Mapping[str, list[Reply]] | None = None,
) -> AsyncIterator[Watching]:
    world = world or World()
    async with FakeApiServer({"list": lists, "watch": watches, "live": [status(404)], **(ranges or {})}) as server:
        metrics = Metrics()
        api = ClusterClient(ApiClient(Configuration(host=server.url)), timeouts)
        informer = Informer(api, metrics, Time(lambda: world.now, lambda: world.chance, world.sleep))
        task = asyncio.create_task(informer.run())
        try:
            yield Watching(informer, server, world, metrics)
        finally:
            task.cancel()
            await asyncio.wait([task])
            await informer.close()
            assert task.cancelled(), task.exception()


def warnings(text: str) -> list[tuple[str, str]]:
    """What was logged as a warning, by verb and reason."""
    events = map(json.loads, text.splitlines())
    return [(event["read"], event["reason"]) for event in events if event["level"] == "warning"]


HERE = page(quota(used="1"))
NEEDED = "403 Reason: no; needed is a ClusterRole with the verb {} on resourcequotas"
BROUGHT_NOTHING = "it ended within a second and brought nothing"
NO_LIST = "the answer is not a ResourceQuotaList: it has no metadata.resourceVersion"
NO_JSON = "the answer cannot be read: JSON is malformed: invalid character (byte 0)"
NO_EVENT = "the answer cannot be read: Invalid enum value '?' - at `$.type`"
DOUBLING = [0.8, 1.6, 3.2]


def busy(code: int, retry_after: str) -> Reply:
    return status(code, "busy", f"Retry-After: {retry_after}\r\n")


FOREVER = [
    # what is wrong for four seconds; the verb that is answered so; LIST and WATCH requests in that time; the pauses
    # between them; what is told of it
    ("403 on watch", "watch", status(403, "no"), (2, 3), DOUBLING, NEEDED.format("watch")),
    ("403 on list", "list", status(403, "no"), (3, 0), DOUBLING, NEEDED.format("list")),
    ("401 on list", "list", status(401, "who?"), (3, 0), DOUBLING, "401 Reason: who?"),
    ("500 on watch", "watch", status(500), (2, 3), DOUBLING, "500 Reason: as the test has it"),
    ("HTML of a proxy", "list", body("<html>", 502), (3, 0), DOUBLING, "502 Reason: <html>"),
    ("410 on watch", "watch", status(410, "old"), (3, 3), DOUBLING, "410 Reason: old"),
    ("410 as an event", "watch", stream(error(410)), (3, 3), DOUBLING, "410 Why: so"),
    ("500 as an event", "watch", stream(error(500)), (2, 3), DOUBLING, "500 Why: so"),
    ("immediate close", "watch", stream(), (2, 3), DOUBLING, BROUGHT_NOTHING),
    ("the same bookmark for ever", "watch", stream(bookmark("10")), (2, 3), DOUBLING, BROUGHT_NOTHING),
    ("Retry-After on list", "list", busy(429, "3"), (2, 0), [3, 3], "429 Reason: busy"),
    ("Retry-After on watch", "watch", busy(503, "9"), (1, 1), [9], "503 Reason: busy"),
    ("retryAfterSeconds", "watch", stream(error(429, retryAfterSeconds=5)), (1, 1), [5], "429 Why: so"),
    ("a date in Retry-After", "list", busy(429, "Sun, 06 Nov 1994 08:49:37 GMT"), (3, 0), DOUBLING, "429 Reason: busy"),
    ("a day in Retry-After", "list", busy(429, "86400"), (1, 0), [60], "429 Reason: busy"),
    ("a day in retryAfterSeconds", "watch", stream(error(503, retryAfterSeconds=86400)), (1, 1), [60], "503 Why: so"),
    ("no number in Retry-After", "list", busy(429, "nan"), (3, 0), DOUBLING, "429 Reason: busy"),
    ("less than nothing", "watch", stream(error(410, retryAfterSeconds=-5)), (3, 3), DOUBLING, "410 Why: so"),
    ("a word for seconds", "watch", stream(error(410, retryAfterSeconds="x")), (3, 3), DOUBLING, "410 Why: so"),
    ("a fraction of seconds", "watch", stream(error(410, retryAfterSeconds=4.5)), (1, 1), [4.5], "410 Why: so"),
    ("a page that leads to itself", "list", page(more="a"), (6, 0), DOUBLING, "a page of the list leads to itself"),
    ("a long message", "list", status(500, "x" * 5000), (3, 0), DOUBLING, f"500 Reason: {'x' * 1000}"),
    ("no list", "list", body({}), (3, 0), DOUBLING, NO_LIST),
    ("no JSON", "list", body("ok"), (3, 0), DOUBLING, NO_JSON),
    ("no event", "watch", stream('{"type": "?", "object": {}}\n'), (2, 3), DOUBLING, NO_EVENT),
]


@pytest.mark.parametrize("row", FOREVER, ids=[row[0] for row in FOREVER])
async def test_what_stays_wrong_is_tried_ever_more_rarely_and_told_once(
    row: tuple[str, str, Reply, tuple[int, int], list[float], str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, verb, reply, counts, sleeps, reason = row
    async with watching([reply if verb == "list" else HERE], [reply]) as seen:
        await asyncio.wait_for(seen.world.over.wait(), 10)
        assert (seen.counts, seen.world.sleeps) == (counts, sleeps)
        assert warnings(capsys.readouterr().err) == [(verb, reason)]
        assert seen.informer.problems == {verb: reason}
        assert seen.exposed("flyte_admission_quota_read_errors_total") == {f'{{read="{verb}"}}': len(sleeps)}


async def test_of_a_list_without_an_end_only_so_many_quotas_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "MOST_OBJECTS", 1)
    async with watching([page(quota("a"), more="a"), page(quota("b"), more="b"), page(quota("c"))], [OPEN]) as seen:
        await seen.until_watching(1)
        assert warnings(capsys.readouterr().err) == [("list", "more than 1 ResourceQuotas")]


NEWS = event("MODIFIED", "11", used="2")
LATER = page(quota(used="5"), version="20")
EXPIRED = [page(quota("old"), more="a"), status(410), page(quota(used="3"), version="12", more="b"), page(quota("r"))]
ONCE = [
    # what goes wrong once; requests until all is well; where the watches begin; how much is used in the end
    ("410 on watch", [HERE, LATER], [status(410), OPEN], (2, 2), ["10", "20"], "5"),
    ("410 as an event", [HERE, LATER], [stream(NEWS, error(410)), OPEN], (2, 2), ["10", "20"], "5"),
    ("500 as an event", [HERE], [stream(NEWS, error(500)), OPEN], (1, 2), ["10", "11"], "2"),
    ("500", [HERE], [status(500), stream(NEWS, end=SILENCE)], (1, 2), ["10", "10"], "2"),
    ("reset mid stream", [HERE], [stream(NEWS, end=RESET), OPEN], (1, 2), ["10", "11"], "2"),
    ("cut mid stream", [HERE], [stream(NEWS, end=CUT), OPEN], (1, 2), ["10", "11"], "2"),
    ("a truncated line", [HERE], [stream(NEWS, '{"type": "MODIFIED", "obj'), OPEN], (1, 2), ["10", "11"], "2"),
    ("a line without end", [HERE], [stream(NEWS, "x" * 5_000_000), OPEN], (1, 2), ["10", "11"], "2"),
    ("an expired continue", EXPIRED, [OPEN], (4, 1), ["12"], "3"),
]


@pytest.mark.parametrize(
    ("lists", "watches", "counts", "versions", "taken"), [row[1:] for row in ONCE], ids=[row[0] for row in ONCE]
)
async def test_after_a_fault_it_goes_on_where_it_was_or_lists_again_where_that_is_gone(
    lists: list[Reply], watches: list[Reply], counts: tuple[int, int], versions: list[str], taken: str
) -> None:
    async with watching(lists[:], watches[:]) as seen:
        await seen.until(lambda: seen.counts >= counts and seen.used()["q"] == taken)
        assert (seen.counts, seen.versions) == (counts, versions)
        assert seen.world.sleeps == [0.8]
        assert "old" not in seen.used()


SILENT_AFTER = stream(NEWS, end=SILENCE)
SILENT = [
    # a peer that keeps the connection and says nothing; requests in two seconds; where the watches begin; what is told
    ("no answer to a list", [silence], [OPEN], (2, 0), [], "the whole took too long"),
    ("no answer to a watch", [HERE], [silence], (1, 2), ["10", "10"], "Timeout on reading data from socket"),
    ("silence after an event", [HERE], [SILENT_AFTER], (1, 2), ["10", "11"], "Timeout on reading data from socket"),
]


@pytest.mark.parametrize(
    ("lists", "watches", "counts", "versions", "told"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT]
)
async def test_a_silent_peer_is_given_up(
    lists: list[Reply], watches: list[Reply], counts: tuple[int, int], versions: list[str], told: str
) -> None:
    brief = Timeouts(idle=0.5) if versions else Timeouts(page=0.5)
    silent: Mapping[str, list[Reply]] | None = (
        {"ranges": [silence]} if versions else None
    )  # so that only the quotas are given up
    async with watching(lists[:], watches[:], World(seconds=2), brief, silent) as seen:
        await asyncio.wait_for(seen.world.over.wait(), 10)
        assert (seen.counts, seen.versions, seen.world.sleeps) == (counts, versions, [0.8, 1.6])
        assert list(seen.informer.problems.values()) == [f"nothing came in time: {told}"]


async def test_without_a_server_it_goes_on_asking_until_one_is_there() -> None:
    world = World(seconds=600)
    async with watching([HERE], [OPEN], world) as seen:
        await seen.until_watching(1)
        await seen.server.__aexit__()
        refused = "Cannot connect to host 127.0.0.1"  # after the open watch has broken off
        await seen.until(lambda: len(world.sleeps) >= 6 and refused in seen.informer.problems["watch"])
        replies = {"list": [HERE], "watch": [stream(NEWS, end=SILENCE)]}
        async with FakeApiServer(replies, port=seen.server.port):
            await seen.until(lambda: seen.used() == {"q": "2"} and seen.informer.problems == {})


async def test_the_list_comes_in_pages_and_is_taken_over_as_a_whole() -> None:
    pages = [
        page(quota("b", used="1"), quota("a", used="2"), more="two"),
        page(quota("c", "other", used="3"), more="three"),
        page(quota("c", used="4"), version="11"),
    ]
    async with watching(pages, [OPEN]) as seen:
        await seen.until_watching(1)
        assert [request.query for request in seen.server.seen("list")] == [
            {"limit": "500"},
            {"limit": "500", "continue": "two"},
            {"limit": "500", "continue": "three"},
        ]
        assert {request.path for request in seen.server.requests} == {
            "/version", "/api/v1/resourcequotas", "/api/v1/limitranges",
        }  # fmt: skip
        assert seen.used() == {"a": "2", "b": "1", "c": "4"}
        assert list(seen.used()) == ["a", "b", "c"]
        assert (seen.used("other"), seen.used("none")) == ({"c": "3"}, {})
        assert {name: used(found) for name, found in seen.informer.by_namespace().items()} == {
            "ns": seen.used(),
            "other": {"c": "3"},
        }
        assert seen.versions == ["10"]


async def test_a_second_list_forgets_what_is_gone_only_when_it_is_complete() -> None:
    hold = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        await page(quota("new"), version="21")(writer)

    lists = [page(quota("gone"), quota("gone", "other")), page(quota("q"), version="20", more="a"), late]
    async with watching(lists, [status(410), OPEN]) as seen:
        await seen.until(lambda: seen.counts == (3, 1))
        assert (seen.used(), seen.used("other")) == ({"gone": "0"}, {"gone": "0"})
        assert seen.informer.synced
        hold.set()
        await seen.until_watching(2)
        assert (seen.used(), seen.used("other")) == ({"q": "0", "new": "0"}, {})


async def test_events_change_their_namespace_and_what_was_given_out_stays_as_it_was() -> None:
    more = asyncio.Event()

    async def watch(writer: asyncio.StreamWriter) -> None:
        await stream(event("ADDED", "11", name="a", used="1"), event("MODIFIED", "12", used="2"), end=CUT)(writer)
        await more.wait()
        for line in (event("DELETED", "13"), event("DELETED", "14", name="never"), event("DELETED", "15", name="a")):
            data = json.dumps(line) + "\n"
            writer.write(f"{len(data):x}\r\n{data}\r\n".encode())
        await asyncio.Event().wait()

    async with watching([page(quota(), quota("q", "other"))], [watch]) as seen:
        await seen.until(lambda: seen.used() == {"a": "1", "q": "2"})
        before = seen.informer.quotas("ns")
        more.set()
        await seen.until(lambda: seen.used() == {})
        assert (used(before), seen.used("other")) == ({"a": "1", "q": "2"}, {"q": "0"})


async def test_a_watch_asks_for_bookmarks_and_goes_on_where_the_last_one_was() -> None:
    world = World(chance=0.5)
    quiet = stream(bookmark("500"), after=lambda: world.advance(400))
    async with watching([HERE], [quiet, OPEN], world) as seen:
        await seen.until_watching(2)
        first, second = (request.query for request in seen.server.seen("watch"))
        asked = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "450"}
        assert (first, second) == ({**asked, "resourceVersion": "10"}, {**asked, "resourceVersion": "500"})
        assert (seen.counts, world.sleeps) == ((1, 2), [])
        assert seen.used() == {"q": "1"}


@pytest.mark.parametrize("news", [bookmark("500"), event("MODIFIED", "500", used="1")], ids=["bookmark", "event"])
async def test_a_watch_that_ends_at_once_is_no_failure_if_it_brought_something_as_to_client_go(
    news: dict[str, object],
) -> None:
    async with watching([HERE], [stream(news), OPEN]) as seen:
        await seen.until_watching(2)
        assert (seen.counts, seen.versions, seen.world.sleeps) == ((1, 2), ["10", "500"], [])
        assert seen.exposed("flyte_admission_quota_read_errors_total") == {}


async def test_a_watch_that_ends_when_it_should_is_no_failure_even_if_nothing_happened() -> None:
    world = World()
    async with watching([HERE], [stream(after=lambda: world.advance(300)), OPEN], world) as seen:
        await seen.until_watching(2)
        assert (seen.counts, seen.versions, world.sleeps) == ((1, 2), ["10", "10"], [])


async def test_what_was_told_to_fail_is_told_to_work_again(capsys: pytest.CaptureFixture[str]) -> None:
    lists, watches = [status(500), status(500), HERE], [status(403), stream(NEWS, end=SILENCE)]
    async with watching(lists, watches, World(seconds=60)) as seen:
        await seen.until(lambda: seen.used() == {"q": "2"})
        assert seen.world.sleeps == [0.8, 1.6, 3.2]
    lines = map(json.loads, capsys.readouterr().err.splitlines())
    told = [(line["event"], line.get("read")) for line in lines if line["event"].startswith("quotas")]
    assert told == [
        ("quotas cannot be read", "list"),
        ("quotas can be read again", "list"),
        ("quotas synced", None),
        ("quotas cannot be read", "watch"),
        ("quotas can be read again", "watch"),
    ]


async def test_a_watch_that_stays_open_works_though_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("webhook.cluster.reflector.SHORT_WATCH", 0.01)
    async with watching([HERE], [status(403), OPEN]) as seen:
        await seen.until_watching(2)
        await seen.until(lambda: seen.informer.problems == {})
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["event"] == "quotas can be read again"


async def test_a_watch_that_fails_late_at_one_version_ends_in_a_list_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.cluster.reflector.SHORT_WATCH", 0.0)

    async def late(writer: asyncio.StreamWriter) -> None:
        await stream(end=CUT)(writer)
        await seen.until(lambda: seen.informer.problems == {})  # by its timer, it works
        writer.write(b"2\r\n{\n\r\n")

    async with watching([HERE, page(quota(used="3"), version="12")], [late, late, OPEN]) as seen:
        await seen.until_watching(3)
        assert (seen.versions, seen.used()) == (["10", "10", "12"], {"q": "3"})


async def test_the_age_of_the_cache_and_whether_it_is_synced_are_metrics() -> None:
    world = World(seconds=60)
    go = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await HERE(writer)

    def state() -> list[dict[str, float]]:
        return [seen.exposed(f"flyte_admission_quota_cache_{name}") for name in ("age_seconds", "synced")]

    async with watching([late], [stream(bookmark("11"), end=SILENCE)], world) as seen:
        await seen.until(lambda: seen.counts == (1, 0))
        world.advance(7)
        assert (state(), seen.informer.synced) == ([{"": 7.0}, {"": 0.0}], False)
        go.set()
        await seen.until_watching(1)
        assert (state(), seen.informer.synced) == ([{"": 0.0}, {"": 1.0}], True)


NOT_READABLE = [
    # parts of an object that make it one that we cannot read; the namespace and name that are told
    ({"status": {"hard": {"cpu": "1e"}}}, ("ns", "bad")),
    ({"status": {"hard": {"cpu": {}}}}, ("ns", "bad")),
    ({"status": {"hard": 5}}, ("ns", "bad")),
    ({"spec": {"scopes": [5]}}, ("ns", "bad")),
    ({"spec": {"hard": {"cpu": [[[[[[1]]]]]]}}}, ("ns", "bad")),
    ({"metadata": None}, ("", "")),
    ({"metadata": 5}, ("", "")),
    ({"metadata": {}}, ("", "")),
    ({"metadata": {"name": "bad"}}, ("", "bad")),
    ({"metadata": {"name": 5, "namespace": "ns"}}, ("ns", "")),
]


def skipped(text: str) -> list[tuple[str, str]]:
    """The quotas that were reported as left out."""
    events = [json.loads(line) for line in text.splitlines()]
    return [
        (it["namespace"], it["name"]) for it in events if it["event"] == "ResourceQuota left out, it cannot be read"
    ]


@pytest.mark.parametrize(("parts", "named"), NOT_READABLE, ids=[json.dumps(row[0]) for row in NOT_READABLE])
async def test_a_quota_that_cannot_be_read_is_left_out_of_a_list_named_once_and_hides_no_other(
    parts: dict[str, object], named: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    both = page(quota("a", used="1"), quota("bad") | parts, quota("b", used="2"))
    async with watching([both], [status(410), OPEN]) as seen:
        await seen.until_watching(2)
        assert seen.used() == {"a": "1", "b": "2"}
        assert seen.exposed("flyte_admission_quota_cache_skipped") == {"": 1}
        seen.server.replies["live"] = [both]
        assert used(await seen.informer.live("ns")) == {"a": "1", "b": "2"}
    assert skipped(capsys.readouterr().err) == [named]


@pytest.mark.parametrize("item", [None, 5, "x", []])
async def test_what_is_not_an_object_is_left_out_of_a_list(item: object) -> None:
    answer = {"metadata": {"resourceVersion": "10"}, "items": [item, quota(used="1")]}
    async with watching([body(answer)], [OPEN]) as seen:
        await seen.until_watching(1)
        assert (seen.used(), seen.exposed("flyte_admission_quota_cache_skipped")) == ({"q": "1"}, {"": 1})


async def test_a_namespace_with_more_quotas_than_a_review_reads_is_counted_and_named_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    many = page(*(quota(f"q-{number:05}") for number in range(MOST_READ)))
    events = [event("ADDED", "11", name="r"), event("MODIFIED", "12", name="r"), event("DELETED", "13", name="r"),
              event("ADDED", "14", name="s"), event("MODIFIED", "15", name="q-00000", used="9")]  # fmt: skip
    async with watching([many], [stream(*events, end=SILENCE)]) as seen:
        await seen.until(lambda: seen.used().get("q-00000") == "9")
        assert len(seen.informer.quotas("ns")) == MOST_READ
        assert seen.exposed("flyte_admission_quota_cache_crowded") == {"": 1}
    logged = map(json.loads, capsys.readouterr().err.splitlines())
    assert [it["namespace"] for it in logged if it["event"] == "too many ResourceQuotas"] == ["ns", "ns"]


async def test_what_is_nested_deeper_than_a_decoder_goes_keeps_no_quota_from_being_read() -> None:
    deep: dict[str, object] = {}
    for _ in range(900):  # as deep as the test itself can write it
        deep = {"f:a": deep}
    nested = json.dumps(quota(used="3")).replace("[{}]", f"[{'[' * 2000}{json.dumps(deep)}{']' * 2000}]")
    listed = f'{{"metadata": {{"resourceVersion": "10"}}, "items": [{nested}]}}'
    news = f'{{"type": "MODIFIED", "object": {nested.replace(chr(34) + "3" + chr(34), chr(34) + "4" + chr(34))}}}\n'
    async with watching([body(listed)], [stream(news, end=SILENCE)]) as seen:
        await seen.until(lambda: seen.used() == {"q": "4"})
        assert seen.exposed("flyte_admission_quota_cache_skipped") == {"": 0}


async def test_an_event_that_cannot_be_read_takes_its_quota_out_and_the_watch_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = {"status": {"hard": {"cpu": "1e"}}}
    more = asyncio.Event()

    async def watch(writer: asyncio.StreamWriter) -> None:
        first = event("MODIFIED", "11")
        first["object"] |= bad
        again = event("MODIFIED", "12")
        again["object"] |= bad
        await stream(first, again, event("ADDED", "13", name="a", used="1"), end=CUT)(writer)
        await more.wait()
        for line in (event("MODIFIED", "14", used="5"), bookmark("15")):
            data = json.dumps(line) + "\n"
            writer.write(f"{len(data):x}\r\n{data}\r\n".encode())
        await asyncio.Event().wait()

    async with watching([HERE], [watch]) as seen:
        await seen.until(lambda: seen.used() == {"a": "1"})
        assert seen.exposed("flyte_admission_quota_cache_skipped") == {"": 1}
        more.set()
        await seen.until(lambda: seen.used() == {"a": "1", "q": "5"})
        assert seen.exposed("flyte_admission_quota_cache_skipped") == {"": 0}
        assert (seen.counts, seen.informer.problems) == ((1, 1), {})
    assert skipped(capsys.readouterr().err) == [("ns", "q")]


async def test_an_event_about_nobody_changes_nothing_and_the_watch_goes_on() -> None:
    nobody = [{"type": kind, "object": None} for kind in ("ADDED", "DELETED", "BOOKMARK")]
    numbers = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": 12}}}
    async with watching([HERE], [stream(*nobody, numbers, event("MODIFIED", "13", used="2"), end=SILENCE)]) as seen:
        await seen.until(lambda: seen.used() == {"q": "2"})
        assert (seen.counts, seen.world.sleeps) == ((1, 1), [])


async def test_a_quota_that_cannot_be_read_and_is_deleted_is_forgotten() -> None:
    gone = {"type": "DELETED", "object": quota("bad", version="11") | {"status": 5}}
    async with watching([page(quota("bad") | {"status": 5})], [stream(gone, NEWS, end=SILENCE)]) as seen:
        await seen.until(lambda: seen.used() == {"q": "2"})
        assert seen.exposed("flyte_admission_quota_cache_skipped") == {"": 0}


async def test_a_quota_too_large_for_a_watch_is_found_by_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LARGEST_LINE", 10_000)
    large = event("MODIFIED", "11", used="3")
    large["object"]["metadata"]["annotations"] = {"x": "y" * 20_000}
    lists = [HERE, page(large["object"], version="11")]
    async with watching(lists, [stream(large), stream(large), OPEN]) as seen:
        await seen.until(lambda: seen.counts == (2, 3))
        assert (seen.versions, seen.used()) == (["10", "10", "11"], {"q": "3"})


async def test_a_large_quota_comes_by_a_watch_as_any_other() -> None:
    large = event("MODIFIED", "11", used="3")
    large["object"]["metadata"]["annotations"] = {"x": "<" * 1_500_000}
    line = json.dumps(large).replace("<", "\\u003c") + "\n"  # as Go writes it
    async with watching([HERE], [stream(line, event("ADDED", "12", name="a"), end=SILENCE)]) as seen:
        await seen.until(lambda: seen.used() == {"a": "0", "q": "3"})
        assert (seen.counts, seen.world.sleeps) == ((1, 1), [])


async def test_pages_that_are_too_large_are_asked_for_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LARGEST_PAGE", 1000)
    all_of_it = page(*(quota(str(number)) for number in range(5)))
    async with watching([all_of_it, all_of_it, page(quota())], [OPEN]) as seen:
        await seen.until_watching(1)
        assert [request.query["limit"] for request in seen.server.seen("list")] == ["500", "50", "5"]
        assert seen.used() == {"q": "0"}


async def test_a_quota_that_is_too_large_for_any_page_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LARGEST_PAGE", 100)
    async with watching([HERE], [OPEN], World(seconds=0.5)) as seen:
        await asyncio.wait_for(seen.world.over.wait(), 10)
        assert seen.informer.problems == {"list": "an object of more than 100 bytes"}
        assert [request.query["limit"] for request in seen.server.seen("list")] == ["500", "50", "5", "1"]


async def test_whatever_a_live_read_comes_to_who_waits_for_it_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    async with watching([HERE], [OPEN]) as seen:
        await seen.until_watching(1)
        await seen.informer.close()
        assert await seen.informer.live("ns") is None
    assert ("live", "RuntimeError('Session is closed')") in warnings(capsys.readouterr().err)


class Unforeseen:
    """A cluster on whose watch something fails that nobody had thought of."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def list(self, kind: Kind[ResourceQuota]) -> Page[ResourceQuota]:
        self.asked.append(f"list {kind.resource}")
        return Page([], [], "10")

    @asynccontextmanager
    async def watch(
        self, _: Kind[ResourceQuota], version: str, __: float
    ) -> AsyncIterator[AsyncIterator[Event[ResourceQuota]]]:
        self.asked.append(f"watch {version}")
        raise KeyError(version)
        yield


async def test_what_nobody_had_thought_of_does_not_keep_a_watch_at_one_version() -> None:
    odd: Any = Unforeseen()
    failed: list[str] = []
    reflector = Reflector(odd, QUOTAS, Time(), failed.append)
    for _ in range(3):
        with pytest.raises(KeyError):
            await reflector.run()
    assert odd.asked == ["list resourcequotas", "watch 10", "watch 10", "list resourcequotas", "watch 10"]
    assert failed == []


def test_pauses_double_up_to_half_a_minute_and_start_anew_after_two_minutes_without_one() -> None:
    world = World()
    backoff = Backoff(lambda: world.now, lambda: 0.0)

    def pauses(number: int) -> list[float]:
        found = []
        for _ in range(number):
            found.append(backoff.pause())
            world.advance(found[-1])
        return found

    assert pauses(8) == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]
    world.advance(90)  # and the pause of 30 s itself: just not more than two minutes
    assert pauses(1) == [30]
    world.advance(90.1)
    assert pauses(2) == [0.8, 1.6]


def test_pauses_are_drawn_out_by_up_to_their_own_length() -> None:
    assert Backoff(lambda: 0.0, lambda: 0.75).pause() == pytest.approx(1.4)


FULL = page(quota(used="9"))


class Live:
    """The replies to live reads, each held until it is let go."""

    def __init__(self, seen: Watching) -> None:
        self.seen, self.gates = seen, list[asyncio.Event]()
        seen.server.replies["live"] = [self.reply]

    async def reply(self, writer: asyncio.StreamWriter) -> None:
        self.gates.append(asyncio.Event())
        number = len(self.gates)
        await self.gates[-1].wait()
        await page(quota("b"), quota("a", used=str(number)))(writer)

    async def started(self, number: int) -> None:
        await self.seen.until(lambda: len(self.gates) == number)

    def ask(self, number: int, namespace: str = "ns") -> list[asyncio.Task[object]]:
        return [asyncio.create_task(self.seen.informer.live(namespace)) for _ in range(number)]


async def answers(tasks: list[asyncio.Task[object]]) -> list[dict[str, str]]:
    return [used(quotas) for quotas in await asyncio.gather(*tasks)]


async def test_who_asks_while_a_live_read_is_under_way_gets_one_that_begins_later() -> None:
    async with watching([HERE], [OPEN]) as seen:
        live = Live(seen)
        first = live.ask(3)
        await live.started(1)
        second = live.ask(3)
        other = live.ask(1, "other")
        await live.started(2)
        assert [request.path.split("/")[4] for request in seen.server.seen("live")] == ["ns", "other"]
        live.gates[1].set()
        live.gates[0].set()
        assert await answers(first) == [{"a": "1", "b": "0"}] * 3
        assert await answers(other) == [{}]  # for these quotas are of another namespace
        await live.started(3)
        live.gates[2].set()
        assert await answers(second) == [{"a": "3", "b": "0"}] * 3
        assert seen.used() == {"q": "1"}


async def test_a_live_read_may_begin_later() -> None:
    async with watching([HERE], [OPEN]) as seen:
        seen.server.replies["live"] = [FULL]
        assert used(await seen.informer.live("ns", 0.25)) == {"q": "9"}
        assert seen.world.sleeps == [0.25]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (status(403, "no"), "403 Reason: no; needed is a ClusterRole with the verb list on resourcequotas"),
        (silence, "no answer within 0.05 s"),
    ],
)
async def test_a_live_read_that_fails_gives_nothing_and_the_next_one_is_a_new_one(
    reply: Reply, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with watching([HERE], [OPEN]) as seen:
        await seen.until_watching(1)
        if reply is silence:
            monkeypatch.setattr("webhook.cluster.informer.LIVE_SECONDS", 0.05)
        seen.server.replies["live"] = [reply]
        assert [await seen.informer.live("ns") for _ in range(2)] == [None, None]
        assert seen.informer.problems == {}  # the cache is no worse for it
        monkeypatch.undo()
        seen.server.replies["live"] = [FULL]
        assert used(await seen.informer.live("ns")) == {"q": "9"}
        assert seen.exposed("flyte_admission_quota_read_errors_total") == {'{read="live"}': 2}
    assert warnings(capsys.readouterr().err) == [("live", reason)]


async def test_with_quotas_that_were_read_before_it_stays_ready_and_says_that_they_are_old() -> None:
    async with watching([HERE], [status(403, "no")]) as seen:
        server = State(Policy(), Ledger([]), seen.metrics, cluster=seen.informer)
        assert server.readiness() == ("quotas: not known yet\n", 503)
        await asyncio.wait_for(seen.world.over.wait(), 10)
        assert server.readiness() == ("ok\nquotas: cannot be read, see the log\n", 200)
        server.draining = True
        assert server.readiness() == ("draining\n", 503)


def ranges(seen: Watching, namespace: str = "ns") -> dict[str, str]:
    """The maximum of cpu of each LimitRange."""
    found = seen.informer.limit_ranges(namespace)
    return {each.name: str(ranges_of([each]).container.most["cpu"]) for each in found}


async def test_limit_ranges_are_followed_as_quotas_are() -> None:
    changed = {"type": "MODIFIED", "object": limit_range(version="12", most="4")}
    gone = {"type": "DELETED", "object": limit_range("gone", version="13")}
    replies = {
        "ranges": [page(limit_range(), limit_range("gone"), limit_range("r", "other", most="8"))],
        "ranges-watch": [stream(changed, gone, end=SILENCE)],
    }
    async with watching([HERE], [OPEN], ranges=replies) as seen:
        await seen.until(lambda: ranges(seen) == {"r": "4"} and seen.used() == {"q": "1"})
        assert (ranges(seen, "other"), ranges(seen, "none")) == ({"r": "8"}, {})


async def test_without_the_right_to_limit_ranges_the_quotas_are_followed_and_that_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with watching([HERE], [OPEN], ranges={"ranges": [status(403, "no")]}) as seen:
        await asyncio.wait_for(seen.world.over.wait(), 10)
        assert seen.informer.synced
        assert [*seen.informer.problems] == ["list of LimitRanges"]
        assert (seen.used(), ranges(seen)) == ({"q": "1"}, {})
        assert seen.exposed("flyte_admission_limit_range_read_errors_total") == {'{read="list"}': 3}
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    reasons = [line["reason"] for line in lines if line["event"] == "limit ranges cannot be read"]
    assert reasons == ["403 Reason: no; needed is a ClusterRole with the verb list on limitranges"]


def says(minor: str, **more: str) -> Reply:
    return body({"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.1", **more})


async def test_the_version_is_read_again_before_each_watch_for_an_upgrade_ends_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watches = [stream(event("ADDED", "11")), OPEN]
    async with watching([HERE], watches, ranges={"version": [says("36"), says("36"), says("37+")]}) as seen:
        await seen.until(lambda: seen.informer.kubernetes == (1, 36))
        await seen.until(lambda: seen.informer.kubernetes == (1, 37))
        assert len(seen.server.seen("version")) == 3  # before the list and the two watches
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["kubernetes"] for line in lines if line["event"] == "version read"] == ["1.36", "1.37"]


async def test_a_server_that_behaves_like_an_older_version_is_taken_for_that() -> None:
    older = says("37", emulationMajor="1", emulationMinor="36")
    async with watching([HERE], [OPEN], ranges={"version": [older]}) as seen:
        await seen.until_watching(1)
        assert seen.informer.kubernetes == (1, 36)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (status(403, "no"), "403 Reason: no; needed is a ClusterRole with the verb get on version"),
        (says("x"), "the answer cannot be read: '1.x' is not a version of Kubernetes; write one such as 1.37"),
        (body("<html>"), NO_JSON),
    ],
    ids=["not allowed", "no number", "HTML of a proxy"],
)
async def test_without_its_version_the_server_is_taken_for_the_newest_and_that_is_told_once(
    reply: Reply, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    watches = [stream(event("ADDED", "11")), OPEN]
    async with watching([HERE], watches, ranges={"version": [reply, reply, says("36")]}) as seen:
        await seen.until_watching(1)
        assert seen.informer.kubernetes == (1, 37)
        await seen.until(lambda: seen.informer.kubernetes == (1, 36))
        assert seen.informer.problems == {}
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["reason"], line["kubernetes"]) for line in lines if line["event"] == "version cannot be read"]
    assert told == [(reason, "1.37")]
