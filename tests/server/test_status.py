"""The status page: what it shows is what the replica has, and nothing that others name becomes markup."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from tests.process import EXAMPLES, Server, examples, running
from webhook.api.resource_quota import ResourceQuota
from webhook.api.resources import decode_hook
from webhook.cluster.ledger import Ledger
from webhook.policy.file import load
from webhook.server import tls
from webhook.server.certificate import CertificateFiles, ServingCertificate
from webhook.server.state import State
from webhook.server.status import SHOWN_NAMESPACES, status
from webhook.server.status_page import page
from webhook.telemetry.history import MINUTES, MOST_REFUSALS, Count, History, Refusal
from webhook.telemetry.metrics import Metrics

HOSTILE = "<script>alert('x')</script>\"&"
REVIEW: dict[str, Any] = json.loads((EXAMPLES / "review.json").read_text())


class Text(HTMLParser):
    """The text and the tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.labels: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]

    def handle_data(self, data: str) -> None:
        self.text += data


def quota(namespace: str, hard: dict[str, str], used: dict[str, str], **spec: Any) -> ResourceQuota:
    found = {"metadata": {"name": "q", "namespace": namespace}, "spec": spec, "status": {"hard": hard, "used": used}}
    return msgspec.convert(found, ResourceQuota, dec_hook=decode_hook)


def state_with(*quotas: ResourceQuota) -> State:
    loaded = load("task_resources: {limits: {cpu: 4}}", "policy.yaml")
    return State(loaded.policy, Ledger(quotas), digest=loaded.policy.digest)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> ServingCertificate:
    pair = tls.make_self_signed(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])
    return ServingCertificate(CertificateFiles(*pair), Metrics())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(*examples()) as found:
        assert found.client().review("/mutate", REVIEW)["allowed"]
        yield found


def test_the_page_shows_what_the_json_has(server: Server) -> None:
    answer, shown = server.health().get("/status"), json.loads(server.health().get("/status.json").text)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    page = Text(answer.text)
    (namespace,) = shown["namespaces"]
    for each in namespace["quotas"]:
        for amount in each["resources"]:
            assert f"{amount['name']}: {amount['used']} of {amount['hard']} used" in page.labels
    assert (namespace["project"], namespace["domain"]) == ("flytesnacks", "development")
    assert shown["policy"]["digest"] in page.text
    assert shown["last_hour"] == [{"outcome": "changed", "reason": "clamp, fill", "count": 1}]
    assert "clamp, fill" in page.text
    assert "Projects and domains by use" in page.text
    assert shown["certificate"]["valid_from"] in page.text


def test_the_page_can_be_left_out() -> None:
    with running(*examples(), "--no-status-page") as server:
        assert [server.health().get(path).status for path in ("/status", "/status.json")] == [404, 404]


def test_names_do_not_become_markup(serving: ServingCertificate) -> None:
    state = state_with(quota(HOSTILE, {HOSTILE: "1"}, {HOSTILE: "1"}, scopes=[HOSTILE]))
    state.policy_warnings, state.policy_problem = (HOSTILE,), HOSTILE
    state.history.add(HOSTILE, HOSTILE)
    state.history.refuse(Refusal(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, dry_run=True))
    state.draining = True
    shown = Text(page(status(state, serving)))
    assert "script" not in shown.tags
    assert shown.text.count(HOSTILE) > 8
    assert "draining" in shown.text
    assert f"{HOSTILE} (dry run): {HOSTILE}" in shown.text


def test_the_fullest_namespaces_come_first_and_the_rest_is_counted(serving: ServingCertificate) -> None:
    quotas = [quota(f"n{number:03}", {"pods": "1k"}, {"pods": str(10 * number)}) for number in range(101, -101, -1)]
    shown = status(state_with(*quotas), serving)
    assert (shown.namespaces[0].namespace, len(shown.namespaces)) == ("n101", SHOWN_NAMESPACES)
    assert (shown.namespaces[0].fullest.percent, shown.namespaces_left_out) == (101, 2)
    assert f"And {shown.namespaces_left_out} namespaces" in page(shown)


def test_an_empty_replica_has_a_page_too(serving: ServingCertificate) -> None:
    text = Text(page(status(state_with(), serving))).text
    assert "No namespace has a ResourceQuota." in text
    assert "None." in text


def test_the_history_is_that_of_the_last_hour_and_bounded() -> None:
    now = 0.0
    history = History(lambda: now)
    history.add("allowed", "")
    for minute in range(1, 2 * MINUTES):
        now = minute * 60.0
        history.add("changed", "fill")
        history.refuse(Refusal("n", str(minute), "denied", "never-fits", "m", dry_run=False))
    assert history.counts() == [Count("changed", "fill", MINUTES)]
    assert [each.pod for each in history.refusals()] == [
        str(minute) for minute in range(2 * MINUTES - 1, 2 * MINUTES - 1 - MOST_REFUSALS, -1)
    ]
