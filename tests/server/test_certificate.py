"""The certificate follows its files, whatever they go through; nobody who is connected notices."""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate, CertificateBuilder
from prometheus_client import generate_latest

from tests import x509
from tests.process import EXAMPLES, PATIENCE
from tests.volume import Volume
from tests.x509 import DAY, NOW, Kind, Pair
from webhook.api.version import NEWEST
from webhook.cluster.ledger import Ledger
from webhook.http import listener as http_server
from webhook.policy.file import load
from webhook.server import app, reload
from webhook.server import run as server
from webhook.server.certificate import CertificateFiles, LoadedCertificate, ServingCertificate, problems
from webhook.server.options import Options
from webhook.server.state import State
from webhook.server.tls import CertificateError
from webhook.shared.address import Address
from webhook.shared.pem import trust_anchor
from webhook.telemetry.metrics import Metrics

ROOT = x509.root()
REVIEW = (EXAMPLES / "review.json").read_bytes()
VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name
)


def secret(pair: Pair, ca: Pair | None = ROOT) -> dict[str, bytes]:
    """As certs and cert-manager write it."""
    return {"tls.crt": pair.crt, "tls.key": pair.pem_key} | ({"ca.crt": ca.crt} if ca else {})


def write(folder: Path, files: dict[str, bytes]) -> None:
    """In place, as no kubelet does it."""
    for name, content in files.items():
        (folder / name).write_bytes(content)


def files(folder: Path) -> CertificateFiles:
    return CertificateFiles(folder / "tls.crt", folder / "tls.key")


def started(folder: Path, pair: Pair) -> ServingCertificate:
    write(folder, secret(pair))
    return ServingCertificate(files(folder), Metrics())


def started_from(folder: Path) -> bytes:
    """The leaf that is served of what is there."""
    return served(ServingCertificate(files(folder), Metrics()))


def served(current: ServingCertificate) -> bytes:
    """The leaf that a new connection gets, by a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        current.context.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(3):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    found = ends[0].getpeercert(binary_form=True)
    assert found
    return found


def looked(current: ServingCertificate, times: int = 2) -> bytes:
    """The leaf that is served after that many looks at the files."""
    for _ in range(times):
        current.poll()
    return served(current)


def samples(metrics: Metrics) -> dict[str, float]:
    text = generate_latest(metrics.registry).decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    found = {name: float(value) for name, value in lines if name.startswith("flyte_admission_certificate_")}
    return {name: value for name, value in found.items() if not name.split("{")[0].endswith("_created")}


def events(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


@asynccontextmanager
async def connected(port: int, version: ssl.TLSVersion) -> AsyncIterator["Connection"]:
    context = ssl.create_default_context(cadata=ROOT.crt.decode())
    context.minimum_version = context.maximum_version = version
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    yield Connection(reader, writer)
    writer.close()
    await writer.wait_closed()


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def leaf(self) -> bytes:
        found: bytes = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found

    async def review(self) -> int:
        head = f"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(REVIEW)}"
        self.writer.write(head.encode() + b"\r\n\r\n" + REVIEW)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answer.split(b"\r\n") if line.startswith(b"content-length: "))
        await self.reader.readexactly(int(length.split(b": ")[1]))
        return int(answer.split()[1])


@asynccontextmanager
async def webhook(current: ServingCertificate) -> AsyncIterator[int]:
    state = State(load("task_resources: {}", "policy.yaml").policy, Ledger([]))
    uvicorn = http_server.bounded_server(app.Webhook(state), http_server.REVIEW_CONNECTIONS, current.context)
    listening = http_server.listen(Address("127.0.0.1", 0))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(uvicorn.serve([listening]))
        yield listening.getsockname()[1]
        uvicorn.should_exit = True


@VERSIONS
async def test_open_connections_go_on_and_new_ones_get_the_new_leaf_of_whatever_key(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    kinds: list[Kind] = ["rsa", "ecdsa", "rsa", "ecdsa"]
    leaves = [ROOT.issue(kind, number=number % 2) for number, kind in enumerate(kinds)]
    volume = Volume(tmp_path, secret(leaves[0]))
    current = ServingCertificate(files(tmp_path), Metrics())
    async with webhook(current) as port, connected(port, version) as first:
        assert (first.leaf, await first.review()) == (leaves[0].der, 200)
        for leaf in leaves[1:]:
            volume.write(secret(leaf))
            current.poll()
            current.poll()
            async with connected(port, version) as other:
                assert (other.leaf, await other.review()) == (leaf.der, 200)
            assert (first.leaf, await first.review()) == (leaves[0].der, 200)


async def test_a_connection_that_says_hello_during_a_change_gets_a_whole_pair(tmp_path: Path) -> None:
    leaves = [ROOT.issue("ecdsa"), ROOT.issue("rsa")]
    volume = Volume(tmp_path, secret(leaves[0]))
    current = ServingCertificate(files(tmp_path), Metrics())
    seen = set()
    async with webhook(current) as port:
        for number in range(20):
            volume.write(secret(leaves[number % 2]))
            look = asyncio.create_task(asyncio.to_thread(looked, current))
            async with connected(port, ssl.TLSVersion.TLSv1_3) as connection:
                assert await connection.review() == 200
                seen.add(connection.leaf)
            await look
    assert seen <= {leaf.der for leaf in leaves}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
def test_half_a_file_is_not_taken_up_and_the_whole_one_is(
    tmp_path: Path, name: str, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = ROOT.issue("rsa"), ROOT.issue("ecdsa")
    current = started(tmp_path, old)
    whole = secret(new)
    half = {**whole, name: whole[name][: int(len(whole[name]) * share)]}
    write(tmp_path, half)
    assert looked(current, 5) == old.der
    (told,) = events(capsys.readouterr().err)
    assert told["event"] == "certificate not in use, the last good one is kept"
    assert f"{tmp_path}/tls.crt, {tmp_path}/tls.key: no certificate with its private key: " in told["problem"]
    assert samples(current._metrics)['flyte_admission_certificate_reloads_total{result="bad"}'] == 1
    write(tmp_path, whole)
    assert looked(current) == new.der


def test_a_chain_is_not_taken_up_while_it_is_being_written(tmp_path: Path) -> None:
    between = ROOT.issue("ecdsa", ca=True, number=2)
    old, new = ROOT.issue(), between.issue()
    current = started(tmp_path, old)
    write(tmp_path, secret(new))
    assert looked(current, 1) == old.der
    (tmp_path / "tls.crt").write_bytes(new.crt + between.crt)
    assert looked(current, 1) == old.der
    assert looked(current, 1) == new.der
    assert current.current.untrusted == ""


@pytest.mark.parametrize(("kind", "reason"), [("ecdsa", "KEY_VALUES_MISMATCH"), ("rsa", "NO_CERTIFICATE_ASSIGNED")])
def test_a_certificate_of_another_key_is_not_taken_up(
    tmp_path: Path, kind: Kind, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = ROOT.issue("ecdsa", number=1), ROOT.issue(kind, number=2)
    current = started(tmp_path, old)
    (tmp_path / "tls.crt").write_bytes(new.crt)
    assert looked(current, 3) == old.der
    (told,) = events(capsys.readouterr().err)
    assert told["problem"].endswith(reason)
    (tmp_path / "tls.key").write_bytes(new.pem_key)
    assert looked(current) == new.der


def test_what_is_put_back_is_no_news_and_no_problem_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ROOT.issue()
    current = started(tmp_path, pair)
    for _ in range(2):
        (tmp_path / "tls.crt").unlink()
        assert looked(current) == pair.der
        write(tmp_path, secret(pair))
        assert looked(current) == pair.der
    told = [f"{tmp_path}/tls.crt: No such file or directory"] * 2
    assert [event["problem"] for event in events(capsys.readouterr().err)] == told
    assert samples(current._metrics)['flyte_admission_certificate_reloads_total{result="good"}'] == 1


def test_one_that_has_expired_does_not_replace_one_that_lasts_longer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, expired = ROOT.issue(), ROOT.issue("rsa", begin=NOW - 9 * DAY, end=NOW - DAY)
    current = started(tmp_path, good)
    write(tmp_path, secret(expired))
    assert looked(current, 3) == good.der
    (told,) = events(capsys.readouterr().err)
    assert told["problem"] == f"{tmp_path}/tls.crt: expired at {(NOW - DAY).isoformat()}"


def test_one_that_has_expired_is_served_where_there_is_none_better_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expired = ROOT.issue(begin=NOW - 9 * DAY, end=NOW - 2 * DAY)
    current = started(tmp_path, expired)
    assert looked(current) == expired.der
    (told,) = events(capsys.readouterr().err)
    assert (told["event"], told["problems"]) == (
        "certificate needs attention",
        [f"the certificate expired at {(NOW - 2 * DAY).isoformat()}"],
    )
    later = ROOT.issue("rsa", begin=NOW - 9 * DAY, end=NOW - DAY)
    write(tmp_path, secret(later))
    assert looked(current) == later.der
    good = ROOT.issue()
    write(tmp_path, secret(good))
    assert looked(current) == good.der
    assert [event["event"] for event in events(capsys.readouterr().err)] == [
        "certificate in use",
        "certificate needs attention",
        "certificate in use",
        "certificate in order",
    ]


def test_it_starts_with_nothing_but_a_pair(tmp_path: Path) -> None:
    write(tmp_path, secret(ROOT.issue()) | {"tls.crt": b"-----BEGIN CERTIFICATE-----\n"})
    with pytest.raises(CertificateError, match=r"tls\.crt, .*tls\.key: no certificate with its private key"):
        ServingCertificate(files(tmp_path), Metrics())


def test_a_leaf_that_cannot_be_read_is_none_whatever_comes_after_it(tmp_path: Path) -> None:
    pair = ROOT.issue()
    trusted = pair.crt.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
    write(tmp_path, secret(pair) | {"tls.crt": x509.altered(pair, "version") + ROOT.crt})
    with pytest.raises(CertificateError, match=r"tls\.crt"):
        ServingCertificate(files(tmp_path), Metrics())
    assert trusted


def test_a_certificate_that_only_openssl_can_read_is_none(tmp_path: Path) -> None:
    """The kind of file that OpenSSL loads and we cannot read has the words TRUSTED CERTIFICATE in it."""
    pair = ROOT.issue()
    write(tmp_path, secret(pair) | {"tls.crt": pair.crt.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")})
    with pytest.raises(CertificateError, match=r"^/.*/tls\.crt: no certificate in PEM that can be read"):
        ServingCertificate(files(tmp_path), Metrics())


def test_files_are_followed_into_the_folder_of_the_certificate(tmp_path: Path) -> None:
    volume = Volume(tmp_path, secret(ROOT.issue()))
    now = (tmp_path / "..data").resolve()
    assert files(tmp_path).resolved() == CertificateFiles(now / "tls.crt", now / "tls.key", now / "ca.crt")
    volume.write(secret(ROOT.issue(), ca=None))
    now = (tmp_path / "..data").resolve()
    assert files(tmp_path).resolved() == CertificateFiles(now / "tls.crt", now / "tls.key", None)


def test_files_under_other_names_and_in_other_folders_are_followed_too(tmp_path: Path) -> None:
    archive, live = tmp_path / "archive", tmp_path / "live"
    archive.mkdir()
    live.mkdir()
    for name, now in (("fullchain.pem", "fullchain3.pem"), ("privkey.pem", "privkey3.pem"), ("ca.pem", "ca3.pem")):
        (archive / now).write_text("")
        (live / name).symlink_to(archive / now)
    found = CertificateFiles(live / "fullchain.pem", live / "privkey.pem", live / "ca.pem").resolved()
    assert found == CertificateFiles(archive / "fullchain3.pem", archive / "privkey3.pem", archive / "ca3.pem")


BETWEEN = ROOT.issue(ca=True, number=2)
LOWER = BETWEEN.issue(ca=True, number=3)
LEAF, LOW, LOWEST = ROOT.issue(), BETWEEN.issue(), LOWER.issue()
LONGER = x509.made(None, ROOT.key, NOW, NOW + DAY, ca=True)  # the same key, another name
OTHER = x509.root("rsa")


@pytest.mark.parametrize(
    ("chain", "authorities", "expected"),
    [
        ([LEAF], [OTHER, ROOT], ROOT),
        ([LEAF], [OTHER], None),
        ([LEAF], [LONGER], None),
        ([LOW, BETWEEN], [ROOT], ROOT),
        ([LOW], [ROOT], None),
        ([LOW], [BETWEEN], BETWEEN),
        ([LOWEST, LOWER, BETWEEN], [OTHER, ROOT], ROOT),
        ([LOWEST, BETWEEN, LOWER], [ROOT], ROOT),
        ([LOWEST, BETWEEN], [ROOT], None),
        ([LEAF, BETWEEN], [OTHER], None),
        ([LEAF], [LEAF], LEAF),
        ([ROOT, ROOT], [OTHER], None),
    ],
)
def test_the_ca_is_the_one_that_a_client_would_get_to(
    chain: list[Pair], authorities: list[Pair], expected: Pair | None
) -> None:
    found = trust_anchor([pair.certificate for pair in chain], [pair.certificate for pair in authorities])
    assert found == (expected and expected.certificate)


def test_of_two_cas_that_both_verify_it_the_last_to_expire_counts() -> None:
    """A CA that was renewed with its key and name."""
    longer = renewed(ROOT, NOW + 999 * DAY)
    for authorities in ([ROOT.certificate, longer], [longer, ROOT.certificate]):
        assert trust_anchor([LEAF.certificate], authorities) == longer


def renewed(ca: Pair, end: datetime) -> Certificate:
    old = ca.certificate
    builder = CertificateBuilder(old.issuer, old.subject, ca.key.public_key(), 1, old.not_valid_before_utc, end)
    return builder.sign(ca.key, SHA256())


def loaded(
    begin: float, end: float, ca_begin: float = -1, ca_end: float = 365, untrusted: str = ""
) -> LoadedCertificate:
    """A leaf and a CA valid from and to so many days from now."""
    ca = x509.root(begin=NOW + ca_begin * DAY, end=NOW + ca_end * DAY)
    leaf = ca.issue(begin=NOW + begin * DAY, end=NOW + end * DAY)
    return LoadedCertificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), [leaf.certificate], ca.certificate, untrusted)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (loaded(-1, 90), []),
        (loaded(-76, 14), []),
        (loaded(-80, 13), ["the certificate expires at IN 13 and should have been replaced by now"]),
        (loaded(-6, 1.5), []),
        (loaded(-7, 1), ["the certificate expires at IN 1 and should have been replaced by now"]),
        (loaded(-7, 0), ["the certificate expired at IN 0"]),
        (loaded(1, 9), ["the certificate is valid from IN 1 only"]),
        (loaded(-1, 90, -3650, 13), ["its CA expires at IN 13 and should have been replaced by now"]),
        (loaded(-1, 90, -3, -1), ["its CA expired at IN -1"]),
        (
            loaded(-8, 1, -3, -1, "nobody"),
            ["the certificate expires at IN 1 and should have been replaced by now", "its CA expired at IN -1",
             "nobody"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_dates_and_trust_is_told(case: LoadedCertificate, expected: list[str]) -> None:
    days = {f"IN {number}": (NOW + number * DAY).isoformat() for number in (13, 1, 0, -1)}
    for name, date in days.items():
        expected = [text.replace(name + " ", date + " ") for text in expected]
        expected = [text[: -len(name)] + date if text.endswith(name) else text for text in expected]
    assert problems(case, NOW) == expected


def test_expiry_and_trust_are_metrics_and_a_ca_that_does_not_verify_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ROOT.issue()
    current = started(tmp_path, pair)
    good, leaf, ca, trusted = (
        "flyte_admission_certificate_" + name
        for name in ('reloads_total{result="good"}', 'expiry_seconds{certificate="leaf"}',
                     'expiry_seconds{certificate="ca"}', "trusted")
    )  # fmt: skip
    ends = {leaf: (NOW + 90 * DAY).timestamp(), ca: (NOW + 365 * DAY).timestamp()}
    assert samples(current._metrics) == {good: 1, **ends, trusted: 1}
    write(tmp_path, secret(pair, OTHER))
    looked(current)
    assert samples(current._metrics) == {good: 2, leaf: ends[leaf], trusted: 0}
    told = events(capsys.readouterr().err)
    assert [event["event"] for event in told] == ["certificate in use", "certificate needs attention"]
    unsigned = f"no CA of {tmp_path}/ca.crt has signed the certificate"
    assert told[1]["problems"] == [unsigned]
    (tmp_path / "ca.crt").write_text("nothing")
    looked(current)
    assert samples(current._metrics)[trusted] == 0
    assert events(capsys.readouterr().err)[1]["problems"][0].startswith(
        f"{tmp_path}/ca.crt: no certificate in PEM that can be read"
    )
    (tmp_path / "ca.crt").unlink()
    looked(current)
    assert samples(current._metrics) == {good: 4, leaf: ends[leaf], trusted: 1}


@pytest.mark.parametrize("what", x509.UNKNOWN)
def test_a_ca_that_is_not_understood_is_told_and_the_pair_is_served(tmp_path: Path, what: x509.Unknown) -> None:
    pair = ROOT.issue()
    write(tmp_path, secret(pair) | {"ca.crt": x509.altered(x509.root(number=9), what)})
    current = ServingCertificate(files(tmp_path), Metrics())
    assert looked(current) == pair.der
    assert samples(current._metrics)["flyte_admission_certificate_trusted"] == 0
    write(tmp_path, {"ca.crt": x509.altered(x509.root(number=9), what) + ROOT.crt})
    looked(current)
    assert samples(current._metrics)["flyte_admission_certificate_trusted"] == 1


@pytest.mark.parametrize("what", ["version", "extension twice"])  # OpenSSL refuses the others
def test_a_chain_that_is_not_understood_beyond_its_leaf_is_served(tmp_path: Path, what: x509.Unknown) -> None:
    pair = ROOT.issue()
    write(tmp_path, secret(pair) | {"tls.crt": pair.crt + x509.altered(ROOT, what)})
    assert started_from(tmp_path) == pair.der


def test_the_expiry_of_a_certificate_is_never_missing_from_the_metrics(tmp_path: Path) -> None:
    current = started(tmp_path, ROOT.issue())
    labels = [{"certificate": "leaf"}, {"certificate": "ca"}]
    missing: list[object] = []
    over = threading.Event()

    def scrape() -> None:
        while not over.is_set():
            registry = current._metrics.registry
            values = [registry.get_sample_value("flyte_admission_certificate_expiry_seconds", of) for of in labels]
            missing.extend(value for value in values if value is None)

    scraping, interval = threading.Thread(target=scrape), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    scraping.start()
    try:
        for _ in range(300):
            current.poll()
    finally:
        sys.setswitchinterval(interval)
        over.set()
        scraping.join()
    assert missing == []


def test_a_pair_that_its_own_ca_does_not_verify_replaces_none_that_was_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, stray, own = ROOT.issue(), ROOT.issue("rsa"), OTHER.issue(number=2)
    current = started(tmp_path, good)
    trusted = "flyte_admission_certificate_trusted"
    write(tmp_path, secret(own))  # by a CA that clients do not know: they trust what is served, and nothing else
    assert looked(current, 3) == good.der
    (refused,) = events(capsys.readouterr().err)
    unsigned = f"no CA of {tmp_path}/ca.crt has signed the certificate"
    assert (refused["event"], refused["problem"]) == (
        "certificate not in use, the last good one is kept",
        f"{tmp_path}/tls.crt: {unsigned}",
    )
    assert samples(current._metrics)[trusted] == 1
    write(tmp_path, secret(stray, OTHER))  # by which clients know neither
    assert looked(current, 3) == good.der
    assert events(capsys.readouterr().err)[-1]["problems"] == [unsigned]
    assert samples(current._metrics)[trusted] == 0
    write(tmp_path, secret(good))
    assert looked(current) == good.der
    assert samples(current._metrics)[trusted] == 1
    write(tmp_path, secret(own, OTHER))
    assert looked(current) == own.der
    told = [event["event"] for event in events(capsys.readouterr().err)]
    assert told == ["certificate in order", "certificate in use"]


def test_a_pair_that_its_own_ca_does_not_verify_is_served_where_there_is_none_better(tmp_path: Path) -> None:
    expired, strays = ROOT.issue(begin=NOW - 9 * DAY, end=NOW - DAY), [OTHER.issue(number=n) for n in (2, 3)]
    current = started(tmp_path, expired)
    for stray in strays:  # in place of one that has expired, and of one that nobody has trusted
        write(tmp_path, secret(stray))
        assert looked(current) == stray.der
        assert current.current.untrusted


def test_a_pair_that_was_trusted_is_kept_though_its_ca_has_gone_before(tmp_path: Path) -> None:
    good = ROOT.issue()
    current = started(tmp_path, good)
    (tmp_path / "ca.crt").write_bytes(OTHER.crt)
    assert looked(current) == good.der
    write(tmp_path, secret(ROOT.issue("rsa"), OTHER))
    assert looked(current) == good.der


def test_the_file_of_the_ca_may_be_elsewhere_and_has_to_be_there_then(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(tmp_path, secret(ROOT.issue(), OTHER))
    (elsewhere / "ca.crt").write_bytes(ROOT.crt)
    at = CertificateFiles(tmp_path / "tls.crt", tmp_path / "tls.key", elsewhere / "ca.crt")
    assert ServingCertificate(at, Metrics()).current.ca == ROOT.certificate
    shutil.rmtree(elsewhere)
    with pytest.raises(CertificateError, match=r"elsewhere/ca\.crt: No such file or directory"):
        ServingCertificate(at, Metrics())


def test_what_cert_manager_writes_is_served_and_found_trusted(tmp_path: Path) -> None:
    """RSA keys, an intermediate in tls.crt, the root alone in ca.crt."""
    issuer = OTHER.issue("rsa", ca=True, number=2)
    leaf = issuer.issue("rsa")
    Volume(tmp_path, secret(leaf, OTHER) | {"tls.crt": leaf.crt + issuer.crt})
    current = ServingCertificate(files(tmp_path), Metrics())
    assert (served(current), current.current.ca, current.current.untrusted) == (leaf.der, OTHER.certificate, "")


async def test_following_goes_on_until_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.001)
    old, new = ROOT.issue(), ROOT.issue("rsa")
    volume = Volume(tmp_path, secret(old))
    current = ServingCertificate(files(tmp_path), Metrics())
    following = asyncio.create_task(reload.follow_certificate(current))
    volume.write(secret(new))
    async with asyncio.timeout(PATIENCE):
        while current.current.leaf != new.certificate:  # noqa: ASYNC110 - what is waited for is the state itself
            await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


def test_the_whole_server_follows_the_files_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "POLL_SECONDS", 0.005)
    old, new = ROOT.issue("rsa"), ROOT.issue("ecdsa")
    volume = Volume(tmp_path, secret(old))
    current = ServingCertificate(files(tmp_path), Metrics())
    addresses = Address("127.0.0.1", 0), Address("127.0.0.1", 0)
    listeners = server.Listeners(http_server.listen(addresses[0]), http_server.listen(addresses[1]), current)
    port = listeners.webhook.getsockname()[1]
    policy = EXAMPLES / "policy.yaml"
    options = Options(
        policy=policy, quotas=(), kubeconfig=None, no_quotas=True, kubernetes=NEWEST,
        listen=addresses[0], health_listen=addresses[1],
        tls_cert_file=None, tls_private_key_file=None, tls_ca_file=None, client_ca_file=None, status_page=True,
        shutdown_delay=0.0,
    )  # fmt: skip
    state = State(load(policy.read_text(), "policy.yaml").policy, Ledger([]))
    seen: list[bytes] = []

    def client() -> None:
        context = ssl.create_default_context(cadata=ROOT.crt.decode())
        try:
            while new.der not in seen:
                raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
                with context.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
                    seen.append(connection.getpeercert(binary_form=True) or b"")
                if len(seen) == 1:
                    volume.write(secret(new))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=client)
    thread.start()
    server.run(state, listeners, options)
    thread.join(PATIENCE)
    assert (seen[0], seen[-1]) == (old.der, new.der)
