"""docs/threat-model.md lists every bound, with the figure that the code has."""

import re
from pathlib import Path

from webhook.api import bounds, quantity
from webhook.cluster import client, informer, quota_answers
from webhook.http import body, connections, listener, protocol
from webhook.telemetry import logs

PAGE = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text()
ROW = re.compile(r"^\| ([^|]+) \| (\d+) \|", re.MULTILINE)
BOUNDS = [
    bounds.CONTAINERS, bounds.RESOURCE_NAMES, bounds.TOLERATIONS, bounds.REFERENCES, bounds.TEXT, quantity.LONGEST,
    quantity.EXACT_DIGITS, bounds.ANNOTATIONS_BYTES, bounds.NESTING, bounds.BRACKETS,
    listener.REVIEWS, listener.PROBES, connections.READ_SECONDS, protocol.HEAD, protocol.FIELDS, protocol.AHEAD,
    body.MAX_BODY, body.BODY_SECONDS, body.BUDGET, connections.WRITE_SECONDS, connections.UNREAD, logs.LINE,
    client.LARGEST_LINE, client.LARGEST_PAGE, client.LARGEST_REFUSAL, quota_answers.LONGEST_PAUSE, informer.ATTEMPTS,
]  # fmt: skip


def test_each_bound_has_the_figure_of_the_code() -> None:
    assert [int(figure) for _, figure in ROW.findall(PAGE)] == [int(bound) for bound in BOUNDS]


def test_every_bound_of_a_pod_is_listed() -> None:
    figures = {value for name, value in vars(bounds).items() if name.isupper() and isinstance(value, int)}
    assert figures <= set(BOUNDS)
