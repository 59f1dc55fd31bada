"""docs/threat-model.md lists every bound, with the figure that the code has."""

import re
from pathlib import Path

from webhook.api import bounds, quantity
from webhook.cluster import client, quota_answers, reflector, reservations, snapshot
from webhook.http import body, connections, listener, protocol
from webhook.telemetry import logs

PAGE = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text()
ROW = re.compile(r"^\| ([^|]+) \| (\d+) \|", re.MULTILINE)
BOUNDS = [
    bounds.CONTAINERS,
    bounds.RESOURCE_NAMES,
    bounds.AMOUNTS,
    bounds.TOLERATIONS,
    bounds.REFERENCES,
    bounds.TEXT,
    bounds.ROLES,
    bounds.JOB_CONTAINERS,
    bounds.REPLICAS,
    quantity.MAX_LENGTH,
    quantity.EXACT_DIGITS,
    bounds.ANNOTATIONS_BYTES,
    bounds.NESTING,
    bounds.VALUES,
    listener.REVIEW_CONNECTIONS,
    listener.PROBE_CONNECTIONS,
    connections.MAX_WAITING,
    connections.SHARE,
    connections.READ_SECONDS,
    protocol.MAX_HEAD,
    protocol.MAX_FIELDS,
    protocol.MAX_PIPELINED,
    body.MAX_BODY,
    body.BODY_SECONDS,
    body.BUDGET,
    body.MAX_SLOW,
    protocol.MAX_PIECES,
    connections.WRITE_SECONDS,
    connections.MAX_UNREAD,
    logs.MAX_LINE,
    bounds.QUOTA_NAMES,
    client.MOST_OBJECTS,
    snapshot.MOST_READ,
    client.LARGEST_LINE,
    client.LARGEST_PAGE,
    client.LARGEST_ERROR,
    quota_answers.LONGEST_RETRY_AFTER,
    reflector.ATTEMPTS,
    reservations.MOST_AMOUNTS,
]


def test_each_bound_has_the_figure_of_the_code() -> None:
    assert [int(figure) for _, figure in ROW.findall(PAGE)] == [int(bound) for bound in BOUNDS]


def test_every_bound_of_a_pod_is_listed() -> None:
    figures = {value for name, value in vars(bounds).items() if name.isupper() and isinstance(value, int)}
    assert figures <= set(BOUNDS)
