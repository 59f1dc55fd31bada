"""A real uvicorn with real TLS, under each golden case, seen by a client and a JSON Patch library of others."""

import json
import socket
import ssl
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonpatch
import pytest
from click.testing import CliRunner

from tests.golden import LIMIT_RANGES, Case, cases
from tests.process import PATIENCE, Client, serving, trusting
from webhook.cli.main import main
from webhook.cluster.ledger import Ledger
from webhook.offline.cases import readable
from webhook.policy.file import load
from webhook.server import tls
from webhook.server.state import State

MUTATE = [case for case in cases() if case.endpoint == "/mutate"]


def named(chosen: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case.name)


CASES = named(cases())
MUTATED = named(MUTATE)
ADMITTED = named([case for case in MUTATE if case.response["response"]["allowed"]])


@dataclass
class Webhook:
    state: State
    client: Client
    url: str
    certificate: str

    def under(self, case: Case) -> Client:
        """The client, once the policy and quotas of the case hold and nothing is charged."""
        self.state.policy = load(case.text("policy.yaml"), "policy.yaml").policy
        self.state.ledger = case.ledger
        return self.client

    def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        where = urlsplit(self.url)
        raw = socket.create_connection((where.hostname, where.port), timeout=PATIENCE)
        return context.wrap_socket(raw, server_hostname=where.hostname)


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """One server for all cases, whose policy and quotas are swapped between them."""
    state = State(load("task_resources: {}", "policy.yaml").policy, Ledger([]))
    with serving(state, tmp_path_factory.mktemp("tls")) as threaded:
        client = Client(*threaded.address)
        yield Webhook(state, client, *threaded.address)
        client.connection.close()


def patched(review: dict[str, Any], answer: dict[str, Any]) -> Any:
    """The object as the API server has it after the answer."""
    return jsonpatch.apply_patch(review["request"]["object"], answer["response"].get("patch", []))


@CASES
def test_a_review_gets_its_response_over_the_wire(webhook: Webhook, case: Case) -> None:
    answer = webhook.under(case).post(case.endpoint, case.text("review.json").encode())
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert readable(answer.body) == case.response


@CASES
def test_the_uid_is_that_of_the_request(webhook: Webhook, case: Case) -> None:
    review = case.review
    review["request"]["uid"] = str(uuid.uuid4())
    assert webhook.under(case).review(case.endpoint, review)["uid"] == review["request"]["uid"]


@MUTATED
def test_the_patch_applies_and_makes_the_pod_of_the_golden_patch(webhook: Webhook, case: Case) -> None:
    answer = readable(webhook.under(case).post(case.endpoint, case.text("review.json").encode()).body)
    assert patched(case.review, answer) == patched(case.review, case.response)


@ADMITTED
def test_the_patched_pod_gets_no_patch_and_passes_validation(webhook: Webhook, case: Case) -> None:
    review = case.review
    review["request"]["object"] = patched(review, case.response)
    expected = {"uid": review["request"]["uid"], "allowed": True}
    for endpoint in ("/mutate", "/validate"):
        response = webhook.under(case).review(endpoint, review)
        # An exemption, what is left undone, what another mode would do, and why a job waits, are told each time.
        if {"exempted", "mode", "notes", "waits"} & response.get("auditAnnotations", {}).keys():
            response = {name: value for name, value in response.items() if name not in ("auditAnnotations", "warnings")}
        assert response == expected


@CASES
def test_a_dry_run_is_answered_alike(webhook: Webhook, case: Case) -> None:
    review = case.review
    review["request"]["dryRun"] = True
    client = webhook.under(case)
    for _ in range(2):
        assert readable(client.post(case.endpoint, json.dumps(review).encode()).body) == case.response


@MUTATED
def test_review_and_the_server_agree(case: Case) -> None:
    folder = case.folder
    ranges = ["--limit-ranges", folder / LIMIT_RANGES] if case.has_limit_ranges else []
    files = ["--policy", folder / "policy.yaml", "--quotas", folder / "quotas.yaml", *ranges]
    arguments = ["review", *files, "-o", "json", "-f"]
    result = CliRunner().invoke(main, [*map(str, arguments), str(folder / "review.json")])
    (report,) = json.loads(result.stdout)
    response = case.response["response"]
    told = response.get("auditAnnotations", {})
    changes = [change["to"] for change in told.get("changes", told.get("more-changes", {"changes": []}))["changes"]]
    keys = ("code", "reason", "message") if report["outcome"] != "would be refused" else ()
    status = {name: report.get(name) for name in keys}
    pod = patched(case.review, case.response) if response["allowed"] else None
    assert result.exit_code == (1 if "refused" in report["outcome"] else 0)
    assert ([change["to"] for change in report["changes"]], report["result"]) == (changes, pod)
    assert status == {name: response.get("status", {}).get(name) for name in status}


def test_one_connection_serves_many_requests(webhook: Webhook) -> None:
    case = cases()[0]
    client = webhook.under(case)
    client.post(case.endpoint, case.text("review.json").encode())
    connected = client.connection.sock
    for _ in range(20):
        answer = client.post(case.endpoint, case.text("review.json").encode())
        assert "connection" not in answer.headers
    assert connected is not None
    assert client.connection.sock is connected


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(webhook: Webhook, version: ssl.TLSVersion) -> None:
    context = trusting(webhook.certificate)
    context.minimum_version = context.maximum_version = version
    with webhook.connect(context) as connection:
        assert connection.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1.* is deprecated:DeprecationWarning")
def test_tls_1_1_is_refused(webhook: Webhook) -> None:
    context = trusting(webhook.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")  # OpenSSL itself offers it only so
    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version|EOF"):
        webhook.connect(context)


def test_http_2_is_not_offered(webhook: Webhook) -> None:
    context = trusting(webhook.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with webhook.connect(context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_a_client_that_trusts_others_does_not_connect(webhook: Webhook, tmp_path: Path) -> None:
    stranger, _ = tls.make_self_signed(tmp_path, ["127.0.0.1"])
    with pytest.raises(ssl.SSLCertVerificationError):
        webhook.connect(trusting(str(stranger)))
