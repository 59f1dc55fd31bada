"""No client fills the memory, keeps others out or keeps the process from ending, whatever it sends or leaves unread."""

import asyncio
import gc
import json
import resource
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
import uvloop
from prometheus_client import generate_latest
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from tests.process import EXAMPLES, PATIENCE, Threaded, threaded, trusting
from webhook.admission.constraints import Constraints
from webhook.admission.decision import Allowed, Decision, Denied
from webhook.admission.wire import Request
from webhook.api.limit_range import LimitRange
from webhook.api.resource_quota import ResourceQuota
from webhook.api.version import NEWEST
from webhook.cluster.ledger import Ledger
from webhook.cluster.reservations import Reservations
from webhook.http import body, connections
from webhook.http import listener as http_server
from webhook.http import protocol as bounded_http
from webhook.http.protocol import Bounded
from webhook.http.turns import Flow, Turns
from webhook.policy.model import Policy
from webhook.server import app
from webhook.server.reviewer import Decide, Reviewer
from webhook.server.state import State
from webhook.telemetry.metrics import Metrics

Run = Callable[[Coroutine[Any, Any, None]], None]
LOOPS = pytest.mark.parametrize("run", [uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
KIB = 1024
OK = b"HTTP/1.1 200 OK"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path; of /N, that many bytes, once the body has come."""
    while (await receive()).get("more_body"):
        pass
    size = int(scope["path"].removeprefix("/") or "0")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    await send({"type": "http.response.body", "body": b"x" * size})


def connect(server: Threaded) -> socket.socket:
    """A connection, without TLS."""
    where = urlsplit(server.url)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=PATIENCE)


def rest(sock: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = bytearray()
    with suppress(ConnectionResetError):  # it did not read all that was sent
        while more := sock.recv(65536):
            received += more
    return bytes(received)


def asked(sock: socket.socket, size: int = 0) -> bytes:
    """The first line of the answer to a request, whose head is read."""
    sock.sendall(GET % size)
    return head(sock)


def head(sock: socket.socket) -> bytes:
    """The first line of the next answer."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        more = sock.recv(1)
        assert more, f"closed after {received!r}"
        received += more
    return received.partition(b"\r\n")[0]


def sent(server: Threaded, *pieces: bytes) -> bytes:
    """What is answered, until the server closes."""
    with connect(server) as sock:
        with suppress(ConnectionError):  # it does not wait for all of it
            for piece in pieces:
                sock.sendall(piece)
        return rest(sock)


@pytest.fixture(scope="module")
def plain() -> Iterator[Threaded]:
    with threaded(echo) as server:
        yield server


START = b"GET /0 HTTP/1.1\r\nHost: x\r\n"
CHUNK = b"POST /0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
HEADS = {
    "a long path": [b"GET /" + b"0" * 70 * KIB + b" HTTP/1.1\r\n"],
    "many long fields": [START + b"".join(b"a%d: %b\r\n" % (number, b"x" * KIB) for number in range(70))],
    "many fields": [START + b"a: b\r\n" * 101],
    "a field without an end": [START + b"a: ", *[b"x" * 16 * KIB] * 8],
    "a name without an end": [START, *[b"x" * 16 * KIB] * 8],
    "many fields after a body in chunks": [CHUNK + b"0\r\n" + b"a: b\r\n" * 101],
    "a field without an end after a body in chunks": [CHUNK + b"0\r\na: ", *[b"x" * 16 * KIB] * 8],
    "a chunk's extension without an end": [CHUNK + b"1;a=", *[b"x" * 16 * KIB] * 8],
    "empty lines without an end": [b"\r\n" * 64 * KIB],
}


@pytest.mark.parametrize("pieces", HEADS.values(), ids=HEADS.keys())
def test_more_than_a_head_may_have_gets_431_and_the_connection_closes(plain: Threaded, pieces: Sequence[bytes]) -> None:
    assert sent(plain, *pieces).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_the_heads_that_clients_send_are_within_the_bounds(plain: Threaded) -> None:
    fields = b"".join(b"a%d: %b\r\n" % (number, b"x" * 600) for number in range(98))
    with connect(plain) as sock:
        for _ in range(3):
            sock.sendall(START + fields + b"\r\n")
            assert head(sock) == OK


def test_a_body_in_tiny_chunks_gets_400_and_one_in_a_few_is_read(plain: Threaded) -> None:
    few = CHUNK + b"1\r\nx\r\n" * 100 + b"0\r\n\r\n"
    with connect(plain) as sock:
        sock.sendall(few)
        assert head(sock) == OK
    answer = sent(plain, CHUNK + b"1\r\nx\r\n" * (bounded_http.MAX_PIECES + 1))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"chunks of less than 64 bytes\n")


@pytest.mark.parametrize("start", [b"GET /0 HT", START, GET % 0 + b"GET"], ids=["a line", "a field", "the second"])
def test_half_a_head_gets_408_and_the_connection_closes(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(bounded_http, "READ_SECONDS", 0.05)
    with threaded(echo) as server:
        answer = sent(server, start)
    assert b"HTTP/1.1 408 Request Timeout\r\n" in answer
    assert answer.endswith(b"the head did not come within 0.05 seconds\n")


@pytest.mark.parametrize("start", [b"", b"\r\n"], ids=["nothing", "an empty line"])
def test_a_connection_on_which_nothing_is_asked_is_closed(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    monkeypatch.setattr(bounded_http, "READ_SECONDS", 0.05)
    with threaded(echo) as server:
        assert sent(server, start) == b""


@LOOPS
@pytest.mark.parametrize("start", [b"", b"\x16\x03\x01", b"no TLS at all"])
def test_a_handshake_that_does_not_end_well_is_closed_without_a_word_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], start: bytes, run: Run
) -> None:
    monkeypatch.setattr(http_server, "READ_SECONDS", 0.5)
    with threaded(echo, tmp_path, run=run) as server, secured(server) as sock:
        assert asked(sock) == OK  # what a loop opens once and for all is open
    before = len(list(Path("/proc/self/fd").iterdir()))
    with threaded(echo, tmp_path, run=run) as server:
        for _ in range(3):
            assert sent(server, start) in (b"", b"\x15\x03\x03\x00\x02\x02\x46", b"\x15\x03\x01\x00\x02\x02\x16")
        with connect(server), connect(server) as gone:
            gone.sendall(start)
        with secured(server) as sock:
            assert asked(sock) == OK
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert capsys.readouterr().err == ""


@contextmanager
def secured(server: Threaded) -> Iterator[ssl.SSLSocket]:
    """A connection with TLS."""
    with trusting(server.certificate).wrap_socket(connect(server), server_hostname="127.0.0.1") as sock:
        yield sock


@LOOPS
def test_what_comes_together_with_the_end_of_the_handshake_is_answered(tmp_path: Path, run: Run) -> None:
    with threaded(echo, tmp_path, run=run) as server:
        for _ in range(20):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = trusting(server.certificate).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            with connect(server) as sock:
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        sock.sendall(outgoing.read())
                        incoming.write(sock.recv(65536))
                tls.write(GET % 0)
                sock.sendall(outgoing.read())
                received = b""
                while not received:
                    incoming.write(sock.recv(65536))
                    try:
                        received = tls.read(15)
                    except ssl.SSLWantReadError:  # tickets come first
                        continue
                assert received == OK


def test_a_client_that_says_no_more_still_gets_its_answers(plain: Threaded) -> None:
    with connect(plain) as sock:
        sock.sendall(GET % 3 * 2)
        sock.shutdown(socket.SHUT_WR)
        assert rest(sock).count(b"\r\n\r\nxxx") == 2


def test_a_client_that_has_sent_too_much_ahead_and_says_no_more_gets_the_first_answers(plain: Threaded) -> None:
    with connect(plain) as sock:
        sock.sendall(GET % 0 * 20)
        sock.shutdown(socket.SHUT_WR)
        assert rest(sock).count(OK) == bounded_http.MAX_PIPELINED


def test_a_connection_is_refused_for_the_first_reason_only() -> None:
    connection = connections.Connection("192.0.2.1", lambda: None)
    connection.finish(b"the first")
    connection.finish(b"the second")
    assert connection.final_response == b"the first"


def test_a_client_that_reads_slowly_gets_all_of_its_answer(plain: Threaded) -> None:
    size = 20 * KIB * KIB
    with connect(plain) as sock:
        sock.sendall((GET % size).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert len(rest(sock).partition(b"\r\n\r\n")[2]) == size


UNREAD = GET % (20 * KIB * KIB)


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "WRITE_SECONDS", 0.05)
    closed = asyncio.Event()

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        await echo(scope, receive, send)
        if (await receive())["type"] == "http.disconnect":
            closed.set()

    with threaded(watched) as server, connect(server) as sock:
        sock.sendall(UNREAD)
        assert asked_until(server, closed.is_set)


def asked_until(server: Threaded, done: Callable[[], bool]) -> bool:
    """Ask on another connection until something has come about, which it does; the test ends otherwise."""
    with connect(server) as sock:
        while not done():
            assert asked(sock) == OK
    return True


def test_of_clients_that_do_not_read_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_UNREAD", 2)
    monkeypatch.setattr(connections, "WRITE_SECONDS", PATIENCE * 10)
    with threaded(echo) as server, ExitStack() as stack:
        socks = [stack.enter_context(connect(server)) for _ in range(3)]
        for sock in socks:
            sock.sendall(UNREAD)
            assert sock.recv(1) == b"H"
            with connect(server) as other:  # once this is answered, what can be written has been
                assert asked(other) == OK
        assert len(rest(socks[0])) < len(rest_of(socks[1]))


def rest_of(sock: socket.socket) -> bytes:
    """All of the large answer."""
    received = bytearray()
    while len(received) < 20 * KIB * KIB:
        received += sock.recv(1 << 20)
    return bytes(received)


@contextmanager
def three(server: Threaded) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connect(server)) for _ in range(3)]


def test_where_there_are_too_many_connections_the_oldest_without_an_answer_makes_room_first() -> None:
    with threaded(echo, most=3) as server, three(server) as (first, second, third):
        assert asked(first) == asked(third) == OK
        second.sendall(b"GET /0 HT")
        with connect(server) as new:
            assert asked(new) == OK
            assert rest(second) == b""
            with connect(server) as newer:
                assert asked(newer) == OK
                rest(first)  # which ends, for it has been idle longest


class Patient:
    """Answers once it may, as `echo` does."""

    def __init__(self) -> None:
        self._wait = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = threading.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked.release()
        await self._wait.wait()
        await echo(scope, receive, send)

    def asked(self, times: int) -> None:
        """Wait until it was asked so many times more."""
        for _ in range(times):
            assert self._asked.acquire(timeout=PATIENCE)

    def go_on(self) -> None:
        assert self._loop
        self._loop.call_soon_threadsafe(self._wait.set)


def test_where_all_connections_wait_for_their_answers_new_ones_wait_for_a_place_in_their_order() -> None:
    patient = Patient()
    with threaded(patient, most=3) as server, three(server) as busy, connect(server) as new, connect(server) as newer:
        for sock in (*busy, new, newer):
            sock.sendall(GET % 0)
        patient.asked(3)
        patient.go_on()
        for sock in busy[:2]:
            assert b"connection: close" in rest(sock), "it makes room"
        assert [head(new), head(newer)] == [OK, OK]


def test_a_client_gets_its_place_at_once_beside_another_that_has_all_that_one_may() -> None:
    patient = Patient()
    with threaded(patient, most=12) as server, ExitStack() as stack:
        others = [stack.enter_context(connect(server)) for _ in range(40)]
        for sock in others:
            sock.sendall(GET % 0)
        patient.asked(10)  # four times as many as are free afterwards
        where = urlsplit(server.url)
        place = (where.hostname or "", where.port or 0)
        with socket.create_connection(place, timeout=PATIENCE, source_address=("127.0.0.2", 0)) as sock:
            sock.sendall(GET % 0)
            patient.asked(1)
            patient.go_on()
            assert head(sock) == OK
            assert asked(sock) == OK, "it has less than its share, and keeps its place"
        assert [head(sock) for sock in others] == [OK] * 40


def test_an_idle_connection_whose_request_has_come_does_not_make_room() -> None:
    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/1":  # as if the event loop had no time for it
            scope["state"][bounded_http.STATE_KEY].transport.pause_reading()
            asyncio.get_running_loop().call_later(1, scope["state"][bounded_http.STATE_KEY].transport.resume_reading)
        await echo(scope, receive, send)

    with threaded(busy, most=3) as server, three(server) as (first, second, third):
        first.sendall(GET % 1)
        assert head(first) == OK
        assert first.recv(1) == b"x"
        assert asked(second) == asked(third) == OK
        first.sendall(GET % 0)
        with connect(server) as new:
            assert asked(new) == OK
            assert rest(second) == b""
        assert head(first) == OK


def never(_: connections.Connection) -> None:
    raise AssertionError


async def test_where_too_many_wait_the_address_with_most_of_them_loses_its_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_WAITING", 3)
    limited, aborted = connections.Connections(0), list[str]()
    for name, address in {
        "a": "192.0.2.1",
        "b": "192.0.2.2",
        "c": "192.0.2.2",
        "d": "192.0.2.1",
        "e": "192.0.2.3",
    }.items():
        limited.accept(address, never, partial(aborted.append, name))
    assert aborted == ["d", "c"]
    await limited.end(0)
    assert aborted == ["d", "c", "a", "b", "e"]


def test_what_is_sent_ahead_is_not_read_before_the_answer_and_is_answered_after_it() -> None:
    patient, count, size = Patient(), 400, 60_000
    request = b"POST /0 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    with threaded(patient) as server, connect(server) as sock, ThreadPoolExecutor() as pool:
        sending = pool.submit(sock.sendall, request * count)
        patient.asked(1)
        assert asked_until(server, lambda: True)
        assert not sending.done()
        patient.go_on()
        assert [head(sock) for _ in range(count)] == [OK] * count
        sending.result(PATIENCE)


def test_requests_that_come_together_are_answered_piece_by_piece() -> None:
    count, size = 5, 6_000
    request = b"POST /0 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    with threaded(echo) as server, connect(server) as sock:
        sock.sendall(request * count)
        assert [head(sock) for _ in range(count)] == [OK] * count


@pytest.mark.parametrize("soft", [64, 512])
def test_the_limit_on_open_files_is_raised_where_it_is_lower_than_all_connections(
    monkeypatch: pytest.MonkeyPatch, soft: int
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(http_server, "FILES", 512)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
        with threaded(echo) as server, connect(server) as sock:
            assert asked(sock) == OK
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_handshakes_count_as_connections(tmp_path: Path) -> None:
    with threaded(echo, tmp_path, most=3) as server, three(server) as socks, secured(server) as sock:
        assert asked(sock) == OK
        assert rest(socks[0]) == b""


def end(server: Threaded) -> None:
    """Have the server end, and wait until it takes no more connections."""
    server.uvicorn.should_exit = True
    with suppress(ConnectionError):
        while True:
            connect(server).close()


def test_a_request_that_is_on_its_way_when_the_server_ends_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", PATIENCE)
    with threaded(echo) as server, connect(server) as sock, connect(server) as begun:
        assert asked(sock) == OK
        begun.sendall(START)
        end(server)
        sock.sendall(GET % 0)
        assert b"connection: close" in rest(sock)
        begun.sendall(b"\r\n")
        assert b"connection: close" in rest(begun)


def test_a_request_that_is_under_way_when_the_server_ends_is_answered() -> None:
    wait, loops = asyncio.Event(), list[asyncio.AbstractEventLoop]()

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        loops.append(asyncio.get_running_loop())
        await wait.wait()
        await echo(scope, receive, send)

    with threaded(patient) as server, connect(server) as sock, connect(server) as idle:
        sock.sendall(GET % 0)
        end(server)
        assert rest(idle) == b""
        loops[0].call_soon_threadsafe(wait.set)
        assert b"connection: close" in rest(sock)


def test_a_body_that_is_not_read_yet_when_the_server_ends_is_read_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 1)
    wait, loops = asyncio.Event(), list[asyncio.AbstractEventLoop]()

    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        loops.append(asyncio.get_running_loop())
        await wait.wait()
        await echo(scope, receive, send)

    size = KIB * KIB
    with threaded(patient) as server, connect(server) as sock, connect(server) as idle, ThreadPoolExecutor() as pool:
        length = b"POST /0 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
        sending = pool.submit(sock.sendall, length + b"x" * size)
        end(server)
        assert rest(idle) == b""
        loops[0].call_soon_threadsafe(wait.set)
        sending.result(PATIENCE)
        assert b"connection: close" in rest(sock)


def test_a_request_that_is_not_answered_in_time_does_not_keep_the_server_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_server, "GRACE", 1)

    async def silent(_: Scope, receive: Receive, __: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with threaded(silent) as server, connect(server) as sock:
        sock.sendall(GET % 0)
        end(server)
        assert rest(sock) == b""


def test_no_client_keeps_the_server_from_its_end(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(threaded(echo, tmp_path))
        for _ in range(50):
            stack.enter_context(connect(server))
        for start in [b"", START, UNREAD, GET % 0] * 20:
            sock = stack.enter_context(secured(server))
            sock.sendall(start)
        assert asked(sock) == OK
        end(server)
        began = time.monotonic()
        server.thread.join(PATIENCE)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_loses_its_place_while_it_starts_is_closed_and_forgotten(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    secure: bool,  # noqa: FBT001
    after: int,  # iterations of the event loop
) -> None:
    accept = connections.Connections.accept

    def abort(connection: connections.Connection, after: int = after) -> object:
        if not after:
            return connection.abort()
        return asyncio.get_running_loop().call_soon(abort, connection, after - 1)

    def accept_and_abort(self: connections.Connections, address: str, start: connections.Start, *rest: Any) -> None:
        accept(self, address, lambda connection: (start(connection), abort(connection)), *rest)

    monkeypatch.setattr(connections.Connections, "accept", accept_and_abort)
    with threaded(echo, tmp_path if secure else None) as server:
        with connect(server) as sock:
            assert rest(sock) == b""
        server.uvicorn.should_exit = True
        server.thread.join(http_server.GRACE / 2)
        assert not server.thread.is_alive()


REVIEW = (EXAMPLES / "review.json").read_bytes()
JSON_FIELDS = [(b"content-type", b"application/json")]


def deny(_: Request, __: Policy, ___: Constraints, ____: str) -> Decision:
    return Denied(403, "Forbidden", "no", outlook="fits-later")


class Sender:
    """A request whose body is sent in the pieces that the test gives; what is answered."""

    def __init__(self, endpoint: app.Endpoint, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.pieces: asyncio.Queue[Message] = asyncio.Queue()
        self.answers: list[Message] = []
        self.connection = connections.Connection("192.0.2.1", lambda: None)
        state = {bounded_http.STATE_KEY: self.connection}
        scope = {"type": "http", "headers": [*JSON_FIELDS, *fields], "state": state}
        self.task = asyncio.create_task(endpoint(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        piece = await self.pieces.get()
        self.pieces.task_done()
        return piece

    async def _send(self, message: Message) -> None:
        self.answers.append(message)

    def give(self, piece: bytes, *, more: bool = False) -> None:
        self.pieces.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    async def taken(self) -> None:
        """Return once all has been read that was given."""
        await self.pieces.join()

    @property
    async def status(self) -> int:
        await self.task
        return int(self.answers[0]["status"])


def endpoint(budget: int, state: State | None = None, decide: Decide | None = None) -> app.Endpoint:
    state = state or State(Policy(), Ledger([]))
    reviewer = Reviewer("/mutate", decide or (lambda *_: Allowed()), state)
    return app.Endpoint("/mutate", reviewer, body.Budget(budget), Turns(), state.metrics)


PADDED = REVIEW + b" " * body.FREE


async def test_large_bodies_share_a_budget_and_who_finds_none_left_is_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body, "BUDGET_SECONDS", 0.01)
    one = endpoint(2 * len(REVIEW) - 1)
    first, second, small = Sender(one), Sender(one), Sender(one)
    first.give(PADDED, more=True)
    await first.taken()
    second.give(PADDED)
    small.give(REVIEW)
    assert (await second.status, await small.status) == (503, 200)
    assert (b"retry-after", b"1") in second.answers[0]["headers"]
    first.give(b" ")
    assert await first.status == 200
    third = Sender(one)
    third.give(PADDED)
    assert await third.status == 200, "what was taken has been given back"


async def test_a_body_waits_for_others_to_be_answered() -> None:
    one = endpoint(len(REVIEW) + 1)
    first, second = Sender(one), Sender(one)
    first.give(PADDED, more=True)
    await first.taken()
    second.give(PADDED)
    await second.taken()
    first.give(b" ")
    assert (await first.status, await second.status) == (200, 200)


async def test_the_budget_is_given_back_when_a_client_goes() -> None:
    one = endpoint(len(REVIEW))
    first, second = Sender(one), Sender(one)
    first.give(PADDED, more=True)
    await first.taken()
    second.give(PADDED)
    first.pieces.put_nowait({"type": "http.disconnect"})
    assert (await first.status, await second.status) == (400, 200)


async def test_a_slow_body_makes_room_for_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "FRESH_SECONDS", 0)
    one = endpoint(len(REVIEW))
    slow, prompt = Sender(one), Sender(one)
    slow.give(PADDED, more=True)
    await slow.taken()
    prompt.give(PADDED)
    assert await prompt.status == 200
    slow.give(b" ", more=True)
    slow.give(b" ")
    assert await slow.status == 503, "the answer comes after the whole body, else its client might not see it"


async def test_many_bodies_at_once_are_read_as_long_as_none_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_SLOW", 1)
    one = endpoint(4 * len(PADDED))
    senders = [Sender(one), Sender(one)]
    for sender in senders:
        sender.give(PADDED, more=True)
        await sender.taken()
    for sender in senders:
        sender.give(b" ")
    assert [await sender.status for sender in senders] == [200, 200]


async def test_a_body_whose_time_is_over_may_be_evicted_all_the_same() -> None:
    share = body.BodyShare(body.Budget())
    with suppress(TimeoutError):
        async with share.limit:
            share.limit.reschedule(0)
            await asyncio.Event().wait()
    assert share.limit.expired()
    share.evict()
    assert share.is_evicted


async def test_a_slow_body_that_does_not_come_after_all_gets_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BUDGET_SECONDS", 0.01)
    sender = Sender(endpoint(0))
    sender.give(PADDED, more=True)
    await sender.taken()
    monkeypatch.setattr(body, "BODY_SECONDS", 0.01)
    assert await sender.status == 503


async def test_many_bodies_that_come_at_once_get_their_shares_one_after_the_other() -> None:
    one = endpoint(len(REVIEW) + 1)
    senders = [Sender(one, [(b"content-length", b"%d" % len(PADDED))]) for _ in range(5)]
    half = len(PADDED) // 2
    for sender in senders:  # half of each would be more than all may take
        sender.give(PADDED[:half], more=True)
        sender.give(PADDED[half:])
    assert [await sender.status for sender in senders] == [200] * 5


async def test_of_slow_bodies_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_SLOW", 2)
    monkeypatch.setattr(body, "SLOW_SECONDS", -1)
    one = endpoint(0)
    senders = [Sender(one) for _ in range(4)]
    for sender in senders:
        sender.give(REVIEW[:9], more=True)
        await sender.taken()
    for sender in senders:
        sender.give(REVIEW[9:])
    assert [await sender.status for sender in senders] == [503, 503, 200, 200]


async def test_bodies_that_come_at_once_are_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_SLOW", 1)
    monkeypatch.setattr(body, "SLOW_SECONDS", PATIENCE)
    one = endpoint(0)
    senders = [Sender(one) for _ in range(3)]
    for sender in senders:
        sender.give(REVIEW[:9], more=True)
        sender.give(REVIEW[9:])
    assert [await sender.status for sender in senders] == [200] * 3


@pytest.mark.parametrize("fields", [[(b"content-length", b"201")], []], ids=["in its length", "as it comes"])
async def test_of_a_body_without_an_end_only_so_much_is_read(
    monkeypatch: pytest.MonkeyPatch, fields: Sequence[tuple[bytes, bytes]]
) -> None:
    monkeypatch.setattr(body, "MAX_BODY", 100)
    monkeypatch.setattr(body, "LARGEST_IGNORED", 200)
    sender = Sender(endpoint(0), fields)
    sender.give(b"x" * 101, more=True)
    sender.give(b"x" * 100, more=True)
    assert await sender.status == 413


async def in_turns(*works: tuple[int, Flow], again: Sequence[tuple[int, Flow]] = (), turns: int = 0) -> list[int]:
    """Which of the works had the turns, in that order, where all come at once; those of `again` come until the end."""
    queue, taken = Turns(), list[int]()

    async def work(number: int, size: int, flow: Flow) -> None:
        await queue.wait(size, flow)
        taken.append(number)

    async def repeat(number: int, size: int, flow: Flow) -> None:
        while len(taken) < turns:
            await work(number, size, flow)

    async with asyncio.TaskGroup() as tasks:
        for number, each in enumerate(works):
            tasks.create_task(work(number, *each))
        for number, each in enumerate(again, len(works)):
            tasks.create_task(repeat(number, *each))
    return taken


FLOOD = ("api server", b"flood")


@pytest.mark.parametrize("other", [("api server", b"other"), ("another", b"flood")], ids=["a tenant", "an address"])
async def test_a_flood_has_no_more_than_three_turns_before_somebody_else(other: Flow) -> None:
    assert (await in_turns(*[(10_000, FLOOD)] * 300, (10_000, other))).index(300) <= 3


async def test_what_is_small_comes_before_what_is_large_and_that_comes_too() -> None:
    large, small = (100_000, FLOOD), [(0, ("api server", b"small"))]
    assert await in_turns(large, large, *small * 50) == [0, *range(2, 52), 1]
    among_small = await in_turns(large, large, again=small, turns=1000)
    assert 50 < among_small.index(1) < 150


async def test_what_is_small_does_not_wait_for_what_is_large_of_its_own_tenant() -> None:
    assert await in_turns((100_000, FLOOD), (100_000, FLOOD), (0, FLOOD)) == [0, 2, 1]


async def test_an_address_has_no_more_turns_for_more_tenants() -> None:
    tenants = [(0, ("many", b"%d" % number)) for number in range(100)]
    taken = await in_turns(again=[*tenants, (0, ("one", b""))], turns=2000)
    assert 900 < taken.count(100) < 1100


async def test_who_does_not_wait_any_more_has_no_turn() -> None:
    turns = Turns()
    first, _next, gone, last = (asyncio.create_task(turns.wait(0, FLOOD)) for _ in range(4))
    await first
    gone.cancel()
    await last
    assert gone.cancelled()


def of_namespace(name: str) -> bytes:
    review = json.loads(REVIEW)
    review["request"]["namespace"] = name
    return json.dumps(review).encode()


async def test_reviews_of_one_namespace_do_not_keep_those_of_another_waiting() -> None:
    """The API server sends all of them, from one address."""
    answering, senders = endpoint(0), list[Sender]()
    for name in [*["flood"] * 50, "other"]:
        senders.append(Sender(answering))
        senders[-1].give(of_namespace(name))
    await senders[-1].task
    assert sum(each.task.done() for each in senders) <= 4
    assert {await each.status for each in senders} == {200}


@pytest.mark.parametrize("pieces", [1, 10], ids=["small", "large"])
async def test_large_bodies_are_read_in_turns_so_that_others_do_not_wait_for_all_of_them(pieces: int) -> None:
    answering = endpoint(body.BUDGET)
    flood, given = [Sender(answering) for _ in range(20)], 10
    for each in flood:
        each.give(of_namespace("flood"), more=True)
        for _ in range(given - 1):
            each.give(b" " * body.FREE, more=True)
    other = Sender(answering)
    other.give(of_namespace("other"), more=pieces > 1)
    for left in reversed(range(pieces - 1)):
        other.give(b" " * body.FREE, more=left > 0)
    assert await other.status == 200
    read = len(flood) * given - sum(each.pieces.qsize() for each in flood)
    assert read <= len(flood) + 3 * pieces + 2, (
        "beyond their first pieces, no more than three turns for each of the other"
    )
    for each in flood:
        each.give(b"")
    assert {await each.status for each in flood} == {200}


class Closed(asyncio.Transport):
    """The transport of a client that has gone."""

    def is_closing(self) -> bool:
        return True


async def test_a_review_that_its_client_has_given_up_takes_no_turn(capsys: pytest.CaptureFixture[str]) -> None:
    reviewed = list[Request]()

    def decide(request: Request, *_: object) -> Decision:
        reviewed.append(request)
        return Allowed()

    answering = endpoint(0, decide=decide)
    senders = [Sender(answering) for _ in range(3)]
    senders[1].connection.open(Closed(), lambda: None)
    for each in senders:
        each.give(REVIEW)
    assert [await each.status for each in senders] == [200, 503, 200]
    assert len(reviewed) == 2
    assert "the client gave up before the review had its turn" in capsys.readouterr().err


async def test_what_gets_no_review_for_want_of_memory_is_counted_and_logged_as_that(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(body, "BUDGET_SECONDS", 0.01)
    state = State(Policy(), Ledger([]))
    sender = Sender(endpoint(0, state))
    sender.give(PADDED)
    assert await sender.status == 503
    assert json.loads(capsys.readouterr().err)["event"] == "overloaded"
    assert (
        b'flyte_admission_requests_total{decision="overloaded",domain="",endpoint="/mutate",mode=""} 1.0'
        in generate_latest(state.metrics.registry)
    )


class Live:
    """A cluster whose quotas can always be read."""

    synced = True
    kubernetes = NEWEST
    problems: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self.reservations = Reservations(time.monotonic)

    def age(self) -> float:
        return 0.0

    def limit_ranges(self, _: str) -> Sequence[LimitRange]:
        return ()

    def by_namespace(self) -> Mapping[str, Sequence[ResourceQuota]]:
        return {}

    def quotas(self, namespace: str) -> Sequence[ResourceQuota]:
        assert namespace
        return []

    async def live(self, namespace: str, wait: float = 0) -> Sequence[ResourceQuota]:
        assert namespace
        assert not wait
        return []

    async def run(self) -> None:
        """Nothing to follow."""

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_refusal_is_decided_on_the_cache_and_once_more_on_live_quotas() -> None:
    decided: list[str] = []

    def decide(request: Request, policy: Policy, constraints: Constraints, today: str) -> Decision:
        decided.append(request.uid)
        return deny(request, policy, constraints, today)

    state = State(Policy(), Ledger([]), Metrics(), cluster=Live())
    sender = Sender(endpoint(0, state, decide))
    sender.give(REVIEW)
    assert await sender.status == 200
    assert len(decided) == 2


async def test_what_lost_connections_leave_unanswered_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "COLLECT_SECONDS", 0)
    limited, left = connections.Connections(2), connections.Connection("192.0.2.1", lambda: None)
    left.abort = left.answer_done  # a reference cycle
    freed = weakref.ref(left)
    gc.disable()
    try:
        for connection in (left, connections.Connection("192.0.2.1", lambda: None)):
            connection.begun = 1
            limited.lost(connection)
        del connection, left
        async with asyncio.timeout(10):
            while freed():  # noqa: ASYNC110 - what is waited for is the state itself
                await asyncio.sleep(0)
    finally:
        gc.enable()


async def test_nothing_is_parsed_behind_what_is_refused() -> None:
    found = connections.Connections(1)
    config = uvicorn.Config(Bounded(echo, found), http="httptools", lifespan="off", log_config=None)
    config.load()
    theirs, ours = socket.socketpair()
    connection = connections.Connection("192.0.2.1", lambda: None)
    http = bounded_http.BoundedHttp(found, connection, config, ServerState(), {})
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: http, sock=ours)
    with theirs:
        http.data_received(b"nonsense\r\n\r\n" + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 1000)
        await asyncio.sleep(0)
        assert transport.is_closing()
        answers = await asyncio.to_thread(theirs.recv, 4096)
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1") == 1
