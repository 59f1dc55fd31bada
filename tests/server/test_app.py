"""What comes in over the wire that is no good review, and what the endpoints keep in mind between reviews."""

import asyncio
import json
import re
import tracemalloc
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from tests.golden import GOLDEN
from tests.process import EXAMPLES, JSON, PATIENCE, Event, Server, running
from webhook.admission import wire
from webhook.admission.decide import mutate
from webhook.cluster.ledger import Ledger
from webhook.http import body
from webhook.http.connections import Connection
from webhook.http.protocol import STATE_KEY
from webhook.http.turns import Turns
from webhook.policy.model import Policy
from webhook.server import app
from webhook.server.reviewer import Reviewer
from webhook.server.state import State

MIB = 1024 * 1024
PART: Message = {"type": "http.request", "body": b"{", "more_body": True}
NAMESPACES = ("twice", "dry", "reviewed", "counted")
QUOTA = """
apiVersion: v1
kind: ResourceQuota
metadata: {{name: project-quota, namespace: {}}}
spec: {{hard: {{limits.cpu: "6"}}}}
---"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    quotas = tmp_path_factory.mktemp("quotas") / "quotas.yaml"
    quotas.write_text("".join(map(QUOTA.format, NAMESPACES)))
    with running("--policy", EXAMPLES / "policy.yaml", "--quotas", quotas) as server:
        yield server


def review(namespace: str = "default", name: str = "a-n0-0", cpu: str = "4") -> dict[str, Any]:
    """Of the creation of a Pod of Flyte's that asks for so much cpu."""
    data: dict[str, Any] = json.loads((EXAMPLES / "review.json").read_text())
    request = data["request"]
    request |= {"uid": str(uuid.uuid4()), "namespace": namespace, "name": name}
    request["object"]["metadata"] |= {"namespace": namespace, "name": name}
    request["object"]["spec"]["containers"][0]["resources"] = {side: {"cpu": cpu} for side in ("requests", "limits")}
    return data


def changed(path: str, value: object) -> bytes:
    """A good review but for the value at the dotted path."""
    data = review()
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    parent: Any = data
    for step in steps:
        parent = parent[step]
    parent[last] = value
    return json.dumps(data).encode()


def logged(server: Server) -> list[Event]:
    """What has been logged before a good review that is sent now, and is answered."""
    good = review()
    assert server.client().review("/mutate", good)["allowed"]
    return server.events(lambda event: event.get("uid") == good["request"]["uid"])[:-1]


def nested(path: str, before: bytes, after: bytes) -> bytes:
    """A good review but for fifty thousand lists within each other, between the two texts, at the path."""
    return changed(path, "HERE").replace(b'"HERE"', before + DEEP + b"]" * len(DEEP) + after)


DEEP = b"[" * 50_000
GOOD = json.dumps(review()).encode()
SPEC = "request.object.spec"
CPU = f"{SPEC}.containers.0.resources.limits.cpu"
TERMS = b'{"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaceSelector": {"x": '
BAD_REQUESTS = [
    # name, body, what the answer says, and the JSON path that it ends with
    ("nothing", b"", "Input data was truncated", "$"),
    ("YAML", b"apiVersion: v1", "JSON is malformed", "$"),
    ("half of a review", GOOD[:700], "Input data was truncated", "$"),
    ("two reviews", GOOD * 2, "trailing characters", "$"),
    ("a list", b"[]", "Expected `object`, got `array`", "$"),
    ("a number", b"1e400", "", "$"),
    ("null", b"null", "Expected `object`, got `null`", "$"),
    ("an empty object", b"{}", "AdmissionReview of admission.k8s.io/v1 is expected", "$.kind"),
    ("a Pod itself", json.dumps(review()["request"]["object"]).encode(), "Pod of v1 where", "$.kind"),
    ("an older version", changed("apiVersion", "admission.k8s.io/v1beta1"), "admission.k8s.io/v1beta1 where", "$.kind"),
    ("another kind", changed("kind", "ConversionReview"), "ConversionReview of", "$.kind"),
    ("a kind that is a number", changed("kind", 1), "Expected `str | null`, got `int`", "$.kind"),
    ("no request", changed("request", None), "a request with a uid is expected", "$.request.uid"),
    ("a request that is a text", changed("request", "?"), "got `str`", "$.request"),
    ("no uid", changed("request", {"operation": "CREATE"}), "missing required field `uid`", "$.request"),
    ("a uid of null", changed("request.uid", None), "Expected `str`, got `null`", "$.request.uid"),
    ("an empty uid", changed("request.uid", ""), "a request with a uid is expected", "$.request.uid"),
    ("deep nesting", DEEP, "", "$"),
    ("deep nesting in what is skipped", b'{"other": ' + DEEP, "", "$"),
    ("bytes that are no UTF-8", b"\xff\xfe{}", "malformed", "$"),
    ("a text that is no UTF-8", changed("request.uid", "?").replace(b'"?"', b'"\xff"'), "utf-8", "$"),
    ("a byte order mark", b"\xef\xbb\xbf" + GOOD, "malformed", "$"),
    ("no number", changed(CPU, "?").replace(b'"?"', b"NaN"), "malformed", "$"),
    ("infinity", changed(CPU, "?").replace(b'"?"', b"-Infinity"), "malformed", "$"),
    ("half a surrogate pair", changed("request.uid", "?").replace(b'"?"', rb'"\ud800"'), "surrogate", "$"),
]


UNREADABLE = [
    # name, body, what the refusal says after the name of the Pod
    ("no object", changed("request.object", None), "the object: nothing where a map is expected"),
    ("an object that is a list", changed("request.object", []), "the object: a list where a map is expected"),
    ("containers in a map", changed(f"{SPEC}.containers", {}), "spec.containers: a map where a list is"),
    ("a container of null", changed(f"{SPEC}.containers.0", None), "spec.containers[0]: nothing where a map is"),
    ("resources in a list", changed(f"{SPEC}.resources", []), "spec.resources: a list where a map is"),
    ("limits in a list", changed(f"{SPEC}.resources", {"limits": []}), "spec.resources: limits: a list where a map is"),
    (
        "no quantity",
        changed(CPU, "4 cores"),
        "spec.containers[0].resources: limits[cpu]: '4 cores' is not a valid quantity",
    ),
    ("a long quantity", changed(CPU, "9" * MIB), "is too long; at most 4096 characters are accepted"),
    (
        "a quantity of true",
        changed(CPU, True),
        "spec.containers[0].resources: limits[cpu]: 'true' is not a valid quantity",
    ),
    ("overhead that is no quantity", changed(f"{SPEC}.overhead", {"cpu": "?"}), "spec.overhead[...]: '?' is not"),
    ("a toleration of text", changed(f"{SPEC}.tolerations", ["x"]), "spec.tolerations[0]: a text where a map is"),
    ("deep nesting in the object", nested("request.object", b"", b""), "the object: a list where a map is expected"),
    (
        "deep nesting in resources",
        nested(f"{SPEC}.resources", b'{"requests": ', b"}"),
        "a list where a map is expected",
    ),
    (
        "much deep nesting",
        nested(SPEC, b'{"a": [' + b"[]," * 60_000, b"]}"),
        "more than 100000 objects, lists, and values",
    ),
]


@pytest.mark.parametrize("endpoint", ["/mutate", "/validate"])
@pytest.mark.parametrize(("body", "what"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_an_object_that_cannot_be_read_is_refused_with_a_reason_and_never_a_failed_call(
    server: Server, endpoint: str, body: bytes, what: str
) -> None:
    logged(server)
    answer = server.client().post(endpoint, body)
    assert answer.status == 200
    response = answer.json["response"]
    assert (response["allowed"], response["status"]["code"]) == (False, 413)
    assert what in response["status"]["message"]
    assert [event["decision"] for event in logged(server)] == ["denied"]


@pytest.mark.parametrize("endpoint", ["/mutate", "/validate"])
@pytest.mark.parametrize(
    ("body", "what", "where"), [row[1:] for row in BAD_REQUESTS], ids=[row[0] for row in BAD_REQUESTS]
)
def test_what_is_no_review_gets_400_and_one_log_line_that_say_what_and_where(
    server: Server, endpoint: str, body: bytes, what: str, where: str
) -> None:
    logged(server)
    answer = server.client().post(endpoint, body)
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert what in answer.text
    assert answer.text.endswith(f"`{where}`\n")
    assert told(logged(server)) == [(endpoint, 400, answer.text.strip())]
    assert len(answer.text) < 1000


def told(events: list[Event]) -> list[tuple[str, int, str]]:
    assert all(event["level"] == "warning" for event in events)
    return [(event["endpoint"], event["status"], event["error"]) for event in events]


@pytest.mark.parametrize("kind", ["text/plain", "application/yaml", "application/json5", ""])
def test_another_content_type_gets_415(server: Server, kind: str) -> None:
    logged(server)
    answer = server.client().send("POST", "/mutate", json.dumps(review()).encode(), {"Content-Type": kind})
    assert answer.status == 415
    assert kind in answer.text
    assert "application/json is expected" in answer.text
    assert told(logged(server)) == [("/mutate", 415, answer.text.strip())]


def test_no_content_type_gets_415(server: Server) -> None:
    logged(server)
    answer = server.client().send("POST", "/mutate", json.dumps(review()).encode())
    assert answer.status == 415
    assert "application/json is expected" in answer.text
    assert told(logged(server)) == [("/mutate", 415, answer.text.strip())]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json ;q=1"])
def test_a_content_type_may_have_parameters_and_capitals(server: Server, kind: str) -> None:
    answer = server.client().send("POST", "/mutate", json.dumps(review()).encode(), {"Content-Type": kind})
    assert answer.status == 200


def test_forty_mebibytes_are_accepted(server: Server) -> None:
    good = json.dumps(review()).encode()
    padded = good + b" " * (body.MAX_BODY - len(good))
    assert server.client().post("/mutate", padded).status == 200
    assert server.client().post("/mutate", iter([padded[:MIB], padded[MIB:]])).status == 200


@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_larger_review_is_denied_by_how_it_begins(server: Server, in_chunks: bool) -> None:  # noqa: FBT001
    logged(server)
    made = review()
    whole = [json.dumps({"request": made["request"]}).encode(), *[b" " * MIB] * 40]
    answer = server.client().post("/mutate", iter(whole) if in_chunks else b"".join(whole))
    assert (answer.status, answer.json["response"]["uid"]) == (200, made["request"]["uid"])
    assert not answer.json["response"]["allowed"]
    assert "larger than any Pod that can be stored" in answer.json["response"]["status"]["message"]
    assert [event["decision"] for event in logged(server)] == ["denied"]


def test_a_body_that_is_larger_and_not_a_review_gets_400(server: Server) -> None:
    logged(server)
    answer = server.client().post("/mutate", b" " * (40 * MIB + 1))
    assert answer.status == 400
    assert told(logged(server)) == [("/mutate", 400, answer.text.strip())]


def test_a_body_that_nobody_reads_to_its_end_gets_413_before_it_is_sent(server: Server) -> None:
    logged(server)
    client = server.client()
    client.connection.putrequest("POST", "/mutate")
    for name, value in (JSON | {"Content-Length": str(body.LARGEST_IGNORED + 1)}).items():
        client.connection.putheader(name, value)
    client.connection.endheaders()
    answer = client.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert str(40 * MIB) in answer.text
    assert told(logged(server)) == [("/mutate", 413, answer.text.strip())]


def test_get_gets_405_and_one_log_line(server: Server) -> None:
    logged(server)
    answer = server.client().get("/mutate")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert [event["status"] for event in logged(server)] == [405]


@pytest.mark.parametrize("path", ["/mutates", "/mutate/", "//mutate", "/"])
def test_an_unknown_path_gets_404_and_one_log_line(server: Server, path: str) -> None:
    logged(server)
    assert server.client().post(path, b"{}").status == 404
    assert [event["status"] for event in logged(server)] == [404]


def test_what_is_no_http_gets_400_and_one_log_line(server: Server) -> None:
    logged(server)
    client = server.client()
    client.connection.connect()
    client.connection.send(b"MUTATE\r\n\r\n")
    assert client.connection.sock.recv(12) == b"HTTP/1.1 400"
    assert [event["level"] for event in logged(server)] == ["warning"]


CHUNKED = {**JSON, "Transfer-Encoding": "chunked"}


@pytest.mark.parametrize(
    ("headers", "part"),
    [(JSON | {"Content-Length": "1000"}, b'{"apiVersion":'), (CHUNKED, b"2\r\n{}\r\n")],
    ids=["of a known length", "in chunks"],
)
def test_a_connection_that_ends_within_a_body_is_one_log_line(
    server: Server, headers: Mapping[str, str], part: bytes
) -> None:
    logged(server)
    start(server, headers, part)
    server.clients[-1].connection.close()
    (event,) = server.events(lambda _: True)
    assert (event["status"], event["error"]) == (400, "the connection closed before the body was complete")


def start(server: Server, headers: Mapping[str, str], part: bytes) -> None:
    """Send a request but for the rest of its body."""
    connection = server.client().connection
    connection.putrequest("POST", "/mutate")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(part)


@pytest.mark.parametrize("before", [[], [PART]], ids=["nothing", "a part"])
async def test_a_body_that_does_not_come_gets_408(monkeypatch: pytest.MonkeyPatch, before: list[Message]) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.01)
    incoming, sent = list(before), list[Message]()

    async def receive() -> Message:
        return incoming.pop() if incoming else await asyncio.Future[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    state = State(Policy(), Ledger([]))
    endpoint = app.Endpoint("/mutate", Reviewer("/mutate", mutate, state), body.Budget(), Turns(), state.metrics)
    connection = Connection("192.0.2.1", lambda: None)
    fields = [(b"content-type", b"application/json")]
    scope = {"type": "http", "headers": fields, "state": {STATE_KEY: connection}}
    async with asyncio.timeout(PATIENCE / 10):
        await endpoint(scope, receive, send)
    assert sent[0]["status"] == 408
    assert b"within 0.01 seconds" in sent[1]["body"]


def test_a_review_is_one_log_line_with_what_was_changed(server: Server) -> None:
    logged(server)
    good = review(cpu="6")
    server.client().review("/mutate", good)
    (event,) = logged(server)
    told = {
        name: event[name] for name in ("level", "event", "endpoint", "decision", "uid", "namespace", "kind", "name")
    }
    assert told == {
        "level": "info", "event": "review", "endpoint": "/mutate", "decision": "changed",
        "uid": good["request"]["uid"], "namespace": "default", "kind": "Pod", "name": "a-n0-0",
    }  # fmt: skip
    assert event["changes"] == {"fill": 4, "clamp": 2}


def test_the_second_of_two_pods_that_do_not_fit_together_is_refused(server: Server) -> None:
    client = server.client()
    assert client.review("/mutate", review("twice", "a"))["allowed"]
    response = client.review("/mutate", review("twice", "b"))
    assert (response["allowed"], response["status"]) == (
        False,
        {
            "code": 403,
            "reason": "Forbidden",
            "message": 'pods "b" is forbidden: exceeded quota: project-quota, '
            "requested: limits.cpu=4, used: limits.cpu=4, limited: limits.cpu=6; short by limits.cpu=2; "
            "the largest task that fits now: limits.cpu=2; wait for other tasks to end, or ask for less",
        },
    )


def test_a_dry_run_charges_nothing(server: Server) -> None:
    client = server.client()
    dry = review("dry", "a")
    dry["request"]["dryRun"] = True
    for _ in range(3):
        assert client.review("/mutate", dry)["allowed"]
        assert client.review("/validate", dry)["allowed"]
    assert client.review("/mutate", review("dry", "b"))["allowed"]
    dry["request"]["object"]["metadata"]["name"] = dry["request"]["name"] = "c"
    assert not client.review("/mutate", dry)["allowed"]


def test_a_pod_that_is_reviewed_again_and_validated_is_charged_once(server: Server) -> None:
    client, good = server.client(), review("reviewed", "a", "3")
    for endpoint in ("/mutate", "/mutate", "/validate", "/validate"):
        assert client.review(endpoint, good)["allowed"]
    assert client.review("/mutate", review("reviewed", "b", "3"))["allowed"]
    assert not client.review("/mutate", review("reviewed", "c", "1m"))["allowed"]


def test_validate_refuses_what_is_over_a_maximum_and_patches_nothing(server: Server) -> None:
    response = server.client().review("/validate", review(cpu="6"))
    assert set(response) == {"uid", "allowed", "status"}
    assert (response["allowed"], response["status"]["code"]) == (False, 403)
    assert "cpu of c2d8f5-n0-0 is 6, over the maximum 4" in response["status"]["message"]


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_the_probes_answer_ok(server: Server, path: str) -> None:
    answer = server.health().get(path)
    assert (answer.status, answer.text) == (200, "ok\n")


@pytest.mark.parametrize("path", ["/livez/", "/readyz/", "/metrics/", "//livez"])
def test_the_plain_port_sends_nobody_elsewhere(server: Server, path: str) -> None:
    answer = server.health().send("GET", path, headers={"Host": "elsewhere.example"})
    assert (answer.status, "location" in answer.headers) == (404, False)


@pytest.mark.parametrize("path", ["/mutate", "/validate", "/"])
def test_the_plain_port_answers_no_review(server: Server, path: str) -> None:
    assert server.health().post(path, json.dumps(review()).encode()).status == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_the_tls_port_answers_no_probe(server: Server, path: str) -> None:
    assert server.client().get(path).status == 404


def test_metrics_count_what_happened(tmp_path: Path) -> None:
    quotas = tmp_path / "quotas.yaml"
    quotas.write_text(QUOTA.format("counted"))
    with running("--policy", EXAMPLES / "policy.yaml", "--quotas", quotas) as fresh:
        client = fresh.client()
        client.review("/mutate", review("counted", "a", "8"))
        client.review("/mutate", review("counted", "b"))
        client.review("/validate", review("counted", "a", "8"))
        stranger = review()
        stranger["request"]["object"]["metadata"]["labels"] = None
        client.review("/mutate", stranger)
        client.post("/validate", b"[]")
        exposition = fresh.health().get("/metrics")
    assert exposition.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert counted(exposition.text, "flyte_admission_requests_total") == {
        ("enforce", "/mutate", "other", "changed"): 1, ("enforce", "/mutate", "other", "denied"): 1,
        ("enforce", "/validate", "other", "denied"): 1, ("enforce", "/mutate", "other", "allowed"): 1,
        ("", "/validate", "", "bad_request"): 1,
    }  # fmt: skip
    assert counted(exposition.text, "flyte_admission_duration_seconds_count") == {("/mutate",): 3, ("/validate",): 1}
    assert counted(exposition.text, "flyte_admission_changes_total")["clamp",] >= 2
    assert counted(exposition.text, "flyte_admission_lowered_total") == {("cpu",): 2}
    assert counted(exposition.text, "flyte_admission_quota_denials_total").keys() == {("fits-later", "counted")}


def test_a_job_counts_in_the_domain_of_its_task() -> None:
    case = GOLDEN / "dask-job-fits"
    job = json.loads((case / "review.json").read_text())
    with running("--policy", EXAMPLES / "policy.yaml", "--quotas", case / "quotas.yaml") as fresh:
        fresh.client().review("/mutate", job)
        exposition = fresh.health().get("/metrics")
    assert counted(exposition.text, "flyte_admission_requests_total") == {
        ("enforce", "/mutate", "development", "changed"): 1
    }


def counted(exposition: str, name: str) -> Mapping[tuple[str, ...], float]:
    """The samples of a metric by the values of their labels, those of `endpoint` first."""
    found = {}
    for labels, value in re.findall(rf"^{name}\{{(.*)\}} (.*)$", exposition, re.MULTILINE):
        pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found[tuple(pairs[label] for label in sorted(pairs, reverse=True))] = float(value)
    return found


def test_large_blocks_of_resources_are_not_kept_in_memory() -> None:
    def decode(name: str) -> None:
        data = review()
        data["request"]["object"]["spec"]["resources"] = {"claims": [{"name": name}]}
        wire.decode(json.dumps(data).encode())

    decode("warm")
    tracemalloc.start()
    try:
        for index in range(20):
            decode(f"{index}" + "x" * MIB)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * MIB
