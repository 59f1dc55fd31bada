"""However a review comes, it gets its answer, in its turn; then the connection goes on, or ends, as HTTP says."""

import json
import socket
import ssl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.process import EXAMPLES, PATIENCE, Threaded, serving, trusting
from webhook.api.pod import ObjectMeta
from webhook.api.resource_quota import ResourceQuota
from webhook.cluster.ledger import Ledger
from webhook.http import body
from webhook.http import protocol as bounded_http
from webhook.policy.model import Policy
from webhook.server.state import State
from webhook.telemetry import logs

REVIEW: dict[str, Any] = json.loads((EXAMPLES / "review.json").read_text())


@pytest.fixture(scope="module")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Threaded]:
    with serving(State(Policy(), Ledger([])), tmp_path_factory.mktemp("tls")) as threaded:
        yield threaded


@dataclass
class Peer:
    """A client that minds every byte."""

    sock: ssl.SSLSocket
    received: bytes = b""

    def send(self, *pieces: bytes) -> None:
        """Each piece in a TLS record of its own."""
        for piece in pieces:
            self.sock.sendall(piece)

    def more(self) -> bytes:
        """The next bytes; none once the server has closed."""
        return self.sock.recv(65536)

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        while b"\r\n\r\n" not in self.received:
            more = self.more()
            assert more, f"closed after {self.received!r}"
            self.received += more
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        return int(line.split()[1]), dict(each.lower().split(": ", 1) for each in fields)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        status, headers = self.head()
        length = int(headers.get("content-length", "0"))
        while len(self.received) < length:
            self.received += self.more()
        body, self.received = self.received[:length], self.received[length:]
        return status, headers, body

    def uid(self) -> str:
        """The uid of the next review that is answered."""
        status, _, body = self.answer()
        assert status == 200
        return str(json.loads(body)["response"]["uid"])


@contextmanager
def connected(url: str, certificate: str) -> Iterator[Peer]:
    where = urlsplit(url)
    raw = socket.create_connection((where.hostname or "", where.port or 0), timeout=PATIENCE)
    with trusting(certificate).wrap_socket(raw, server_hostname=where.hostname) as sock:
        yield Peer(sock)


@pytest.fixture
def peer(threaded: Threaded) -> Iterator[Peer]:
    with connected(*threaded.address) as peer:
        yield peer


def a_review() -> tuple[str, bytes]:
    """One with a uid of its own, and that."""
    uid = str(uuid.uuid4())
    return uid, json.dumps({**REVIEW, "request": {**REVIEW["request"], "uid": uid}}).encode()


def request(body: bytes, *fields: str, line: str = "POST /mutate?timeout=2s HTTP/1.1", sized: bool = True) -> bytes:
    """As kube-apiserver asks, with other fields besides."""
    own = ["Host: x", *(["Content-Type: application/json"] if not any("-Type:" in each for each in fields) else [])]
    own += [f"Content-Length: {len(body)}"] if sized else []
    return "\r\n".join([line, *own, *fields, "", ""]).encode() + (body if sized else b"")


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_a_review_may_come_in_pieces_of_any_size(peer: Peer, size: int) -> None:
    uid, body = a_review()
    sent = request(body)
    peer.send(*(sent[at : at + size] for at in range(0, len(sent), size)))
    assert peer.uid() == uid


UNCOMMON: dict[str, Sequence[str]] = {
    "a charset": ["Content-Type: application/json; charset=utf-8"],
    "the type in capitals": ["Content-Type: Application/JSON"],
    "an upgrade to nothing we know": ["Connection: keep-alive", "Upgrade: h2c"],
    "a proxy's field": ["X-Forwarded-For: 192.0.2.1"],
}


@pytest.mark.parametrize("fields", UNCOMMON.values(), ids=UNCOMMON.keys())
def test_a_request_with_something_uncommon_gets_its_answer_and_the_connection_stays(
    peer: Peer, fields: Sequence[str]
) -> None:
    for _ in range(2):
        uid, body = a_review()
        peer.send(request(body, *fields))
        assert peer.uid() == uid


@pytest.mark.parametrize("target", ["/mutate", "https://webhook.example/mutate?timeout=2s", "/%6dutate"])
def test_the_target_of_a_review_may_be_written_in_any_form(peer: Peer, target: str) -> None:
    uid, body = a_review()
    peer.send(request(body, line=f"POST {target} HTTP/1.1"))
    assert peer.uid() == uid


@pytest.mark.parametrize("trailers", [b"", b"X-Trailer: a\r\nX-Other: b\r\n"], ids=["alone", "with trailers"])
def test_a_review_in_chunks_gets_its_answer_and_what_follows_it_too(peer: Peer, trailers: bytes) -> None:
    for _ in range(2):
        uid, body = a_review()
        chunked = chunks(body, 1000).removesuffix(b"\r\n") + trailers + b"\r\n"
        peer.send(request(body, "Transfer-Encoding: chunked", sized=False) + chunked)
        assert peer.uid() == uid


CONTRADICTING: dict[str, Sequence[str]] = {
    "two lengths": ["Content-Length: 3"],
    "a length and chunks": ["Transfer-Encoding: chunked"],
    "a coding before the chunks": ["Transfer-Encoding: gzip, chunked"],
    "a coding without an end": ["Transfer-Encoding: identity"],
}


@pytest.mark.parametrize("fields", CONTRADICTING.values(), ids=CONTRADICTING.keys())
def test_where_a_body_may_end_in_two_places_nothing_of_it_is_read_as_a_request(
    peer: Peer, fields: Sequence[str]
) -> None:
    (uid, good), (_, hidden) = a_review(), a_review()
    peer.send(request(good), request(b"0\r\n\r\n" + request(hidden), *fields))
    assert peer.uid() == uid
    status, headers, _ = peer.answer()
    assert (status, headers["connection"], peer.more()) == (400, "close", b"")


def test_who_waits_for_100_continue_gets_it(peer: Peer) -> None:
    uid, body = a_review()
    peer.send(request(body, f"Content-Length: {len(body)}", "Expect: 100-continue", sized=False))
    assert peer.head()[0] == 100
    peer.send(body)
    assert peer.uid() == uid


@pytest.mark.parametrize(
    ("line", "fields"),
    [("POST /mutate HTTP/1.1", ["Connection: close"]), ("POST /mutate HTTP/1.0", [])],
    ids=["asked to close", "HTTP/1.0"],
)
def test_the_connection_closes_after_an_answer_that_is_to_be_its_last(
    peer: Peer, line: str, fields: Sequence[str]
) -> None:
    uid, body = a_review()
    peer.send(request(body, *fields, line=line))
    status, headers, answer = peer.answer()
    assert (status, headers["connection"], json.loads(answer)["response"]["uid"]) == (200, "close", uid)
    assert peer.more() == b""


def test_reviews_sent_ahead_are_answered_in_their_order_whichever_way_each_of_them_goes(peer: Peer) -> None:
    asked = [a_review() for _ in range(bounded_http.MAX_PIPELINED)]
    sent = b""
    for number, (_, review) in enumerate(asked):
        chunked = request(review, "Transfer-Encoding: chunked", sized=False) + chunks(review, 500)
        sent += chunked if number % 3 == 1 else request(review)
    peer.send(sent)
    assert [peer.uid() for _ in asked] == [uid for uid, _ in asked]


def test_a_body_with_an_upgrade_gets_400_that_says_so(peer: Peer) -> None:
    uid, body = a_review()
    peer.send(request(body), request(body, "Connection: Upgrade", "Upgrade: h2c"))
    assert peer.uid() == uid
    status, headers, answer = peer.answer()
    assert (status, headers["connection"], answer) == (
        400,
        "close",
        b"a body with the field Upgrade; leave the field out\n",
    )
    assert peer.more() == b""


def test_what_came_before_something_that_is_no_http_is_answered_before_it(peer: Peer) -> None:
    asked = [a_review() for _ in range(3)]
    peer.send(b"".join(request(body) for _, body in asked) + b"MUTATE\r\n\r\n")
    assert [peer.uid() for _ in asked] == [uid for uid, _ in asked]
    assert peer.head()[0] == 400


def test_of_many_requests_sent_ahead_the_first_are_answered_and_the_connection_closes(peer: Peer) -> None:
    asked = [a_review() for _ in range(bounded_http.MAX_PIPELINED + 5)]
    peer.send(b"".join(request(b"", line="GET /nowhere HTTP/1.1") for _ in asked))
    assert [peer.answer()[0] for _ in range(bounded_http.MAX_PIPELINED)] == [404] * bounded_http.MAX_PIPELINED
    assert peer.more() == b""


def test_every_answer_has_a_date_and_its_length(peer: Peer) -> None:
    peer.send(request(a_review()[1]))
    _, headers, _ = peer.answer()
    assert headers.keys() == {"date", "content-type", "content-length"}


def test_what_is_no_review_gets_400_and_the_connection_stays(peer: Peer) -> None:
    peer.send(request(b"{}"))
    status, headers, _ = peer.answer()
    assert (status, "connection" in headers) == (400, False)
    uid, body = a_review()
    peer.send(request(body))
    assert peer.uid() == uid


class Broken(Ledger):
    """Quotas that cannot be looked up, for a fault of our own."""

    def quotas(self, namespace: str, meta: ObjectMeta, *, resize: bool = False) -> Sequence[ResourceQuota]:
        raise RuntimeError(f"a fault of our own: {namespace}, {meta}, {resize}")


def test_a_fault_of_our_own_is_logged_and_answered_with_500(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    with serving(State(Policy(), Broken([])), tmp_path) as threaded, connected(*threaded.address) as peer:
        peer.send(request(a_review()[1]))
        status, headers, _ = peer.answer()
        assert (status, headers["connection"]) == (500, "close")
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError: a fault of our own" in json.loads(line)["traceback"]


def test_a_body_that_does_not_come_gets_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.01)
    with serving(State(Policy(), Ledger([])), tmp_path) as threaded, connected(*threaded.address) as peer:
        peer.send(request(a_review()[1])[:-1])
        status, headers, answer = peer.answer()
        assert (status, headers["connection"], answer) == (408, "close", b"the body did not come within 0.01 seconds\n")
        assert peer.more() == b""


def end(threaded: Threaded) -> None:
    """Have the server end, and wait until it takes no more connections."""
    threaded.uvicorn.should_exit = True
    where = urlsplit(threaded.url)
    with suppress(ConnectionError):
        while True:
            socket.create_connection((where.hostname or "", where.port or 0), timeout=PATIENCE).close()


def test_a_server_that_ends_answers_what_has_begun_to_come_and_closes(tmp_path: Path) -> None:
    uid, body = a_review()
    sent = request(body)
    with (
        serving(State(Policy(), Ledger([])), tmp_path) as threaded,
        connected(*threaded.address) as idle,
        connected(*threaded.address) as peer,
    ):
        peer.send(request(body), sent[:-1])
        assert peer.uid() == uid
        end(threaded)
        peer.send(sent[-1:])
        status, headers, answer = peer.answer()
        assert (status, headers["connection"], json.loads(answer)["response"]["uid"]) == (200, "close", uid)
        assert (peer.more(), idle.more()) == (b"", b"")


def test_while_it_drains_what_was_sent_ahead_is_answered_before_the_connection_closes(tmp_path: Path) -> None:
    asked = [a_review() for _ in range(3)]
    with (
        serving(State(Policy(), Ledger([]), draining=True), tmp_path) as threaded,
        connected(*threaded.address) as peer,
    ):
        peer.send(b"".join(request(body) for _, body in asked))
        found = [peer.answer() for _ in asked]
        assert [json.loads(answer)["response"]["uid"] for _, _, answer in found] == [uid for uid, _ in asked]
        assert [headers.get("connection") for _, headers, _ in found] == [None, None, "close"]
        assert peer.more() == b""


def test_while_it_drains_every_answer_is_the_last_of_its_connection(tmp_path: Path) -> None:
    body = a_review()[1]
    elsewhere = [request(body, line=f"{line} HTTP/1.1") for line in ("POST /nowhere", "PUT /mutate")]
    asked = [request(body), request(b"{}"), *elsewhere]
    with serving(State(Policy(), Ledger([]), draining=True), tmp_path) as threaded:
        for each, status in zip(asked, (200, 400, 404, 405), strict=True):
            with connected(*threaded.address) as peer:
                peer.send(each)
                found, headers, _ = peer.answer()
                assert (found, headers["connection"]) == (status, "close")
                assert peer.more() == b""
