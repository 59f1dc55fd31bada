"""Whatever an API server sends is quotas, objects that cannot be read, or a reason; never anything else."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_nesting import JSON
from tests.fake_apiserver import quota
from webhook.cluster import quota_answers
from webhook.cluster.kinds import QUOTAS
from webhook.cluster.quota_answers import ReadError

TEXT = st.binary() | JSON.map(lambda value: json.dumps(value).encode())
KEYS = st.sampled_from(["metadata", "spec", "status", "name", "namespace", "resourceVersion", "hard", "used", "code"])
OBJECT = st.recursive(JSON, lambda inner: st.dictionaries(KEYS, inner, max_size=5), max_leaves=8)


@given(TEXT)
def test_any_answer_to_a_list_is_a_page_or_a_reason(body: bytes) -> None:
    with suppress(ReadError):
        assert quota_answers.decode_page(body, QUOTAS).more is not None


@given(st.lists(OBJECT, max_size=4))
def test_whatever_the_items_are_each_is_read_or_reported(items: list[Any]) -> None:
    answer = {"metadata": {"resourceVersion": "1"}, "items": [quota(), *items, quota("r")]}
    page = quota_answers.decode_page(json.dumps(answer).encode(), QUOTAS)
    assert len(page.items) + len(page.unreadable) == len(items) + 2
    assert (page.items[0].name, page.items[-1].name) == ("q", "r")


@given(TEXT | st.tuples(st.sampled_from(["ADDED", "DELETED", "BOOKMARK", "ERROR", "?"]), OBJECT).map(
    lambda pair: json.dumps({"type": pair[0], "object": pair[1]}).encode()
))  # fmt: skip
def test_any_line_of_a_watch_is_an_event_or_a_reason(line: bytes) -> None:
    with suppress(ReadError):
        assert quota_answers.decode_event(line, QUOTAS).metadata is not None


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(3, 3), ("3", 3), (0.5, 0.5), (86400, 60), ("inf", 60), (10**400, 0), ("nan", 0), (-1, 0), (None, 0), ([], 0)],
)
def test_a_server_is_left_alone_for_a_minute_at_the_most(told: object, seconds: float) -> None:
    assert ReadError("", 429, told).retry_after == seconds
