"""With --client-ca-file, who calls has a certificate from one of its CAs, as they are now."""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests import x509
from tests.process import EXAMPLES, JSON, PATIENCE, running
from tests.server.test_certificate import VERSIONS, files, secret, write
from tests.volume import Volume
from tests.x509 import Pair
from webhook.server.certificate import ServingCertificate
from webhook.server.client_ca import ClientAuthorities
from webhook.server.tls import CertificateError
from webhook.telemetry.metrics import Metrics

ROOT = x509.root()
OLD, NEW = x509.root(number=5), x509.root("rsa")
REVIEW = (EXAMPLES / "review.json").read_bytes()
LOADED = "flyte_admission_client_ca_reloads_total"


def client(folder: Path, version: ssl.TLSVersion, pair: Pair | None) -> ssl.SSLContext:
    """Of somebody who trusts us, and has a certificate, perhaps."""
    context = ssl.create_default_context(cadata=ROOT.crt.decode())
    context.minimum_version = context.maximum_version = version
    if pair:
        both = folder / "client.pem"
        both.write_bytes(pair.crt + pair.pem_key)
        context.load_cert_chain(both)
    return context


class Handshake:
    """One in memory, and what came of it on our side."""

    def __init__(
        self, current: ServingCertificate, context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
        self.server = current.context.wrap_bio(to_server, to_client, server_side=True)
        self.served = True
        try:
            for _ in range(4):
                for end in (self.client, self.server):
                    try:
                        end.do_handshake()
                        end.read(0)
                    except ssl.SSLWantReadError:
                        pass
            self.server.write(b"x")
            self.client.read(1)
        except ssl.SSLError:
            self.served = False


def served(current: ServingCertificate, folder: Path, version: ssl.TLSVersion, pair: Pair | None) -> bool:
    return Handshake(current, client(folder, version, pair)).served


def following(folder: Path, authorities: bytes) -> ServingCertificate:
    write(folder, secret(ROOT.issue()) | {"clients.crt": authorities})
    metrics = Metrics()
    return ServingCertificate(files(folder), metrics, ClientAuthorities(folder / "clients.crt", metrics))


def loaded(current: ServingCertificate, result: str) -> float | None:
    return current._metrics.registry.get_sample_value(LOADED, {"result": result})


@VERSIONS
def test_only_a_certificate_of_one_of_the_cas_is_let_in(version: ssl.TLSVersion, tmp_path: Path) -> None:
    current = following(tmp_path, OLD.crt + "# Authorität\n".encode() + NEW.crt)
    for ca in (OLD, NEW):
        assert served(current, tmp_path, version, ca.issue(client=True))
    for pair in (None, ROOT.issue(client=True), OLD.issue(client=False), OLD.issue(client=True, end=x509.NOW)):
        assert not served(current, tmp_path, version, pair)


@VERSIONS
def test_after_a_change_clients_of_the_new_ca_are_let_in_and_those_of_the_old_one_are_not(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    current = following(tmp_path, OLD.crt)
    old, new = OLD.issue(client=True), NEW.issue("rsa", client=True)
    kept = client(tmp_path, version, old)
    before = Handshake(current, kept)
    assert (before.served, served(current, tmp_path, version, new)) == (True, False)
    write(tmp_path, {"clients.crt": NEW.crt})
    for _ in range(2):
        current.poll()
    assert (served(current, tmp_path, version, old), served(current, tmp_path, version, new)) == (False, True)
    assert not Handshake(current, kept, before.client.session).served  # a session is no way around
    assert loaded(current, "good") == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no certificate in PEM"),
        (b"\xff", "no certificate in PEM"),
        (ROOT.crt.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"), "no certificate in PEM"),
        (ROOT.crt.replace(b"M", b"N", 3), "a certificate that cannot be read"),
        (OLD.crt + b"-----BEGIN CERTIFICATE-----\n\xc3\xa4\n-----END CERTIFICATE-----", "no certificate in PEM"),
    ],
)
def test_a_file_without_a_usable_ca_is_refused_at_the_start_and_later_the_last_good_one_is_kept(
    content: bytes, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    current = following(tmp_path, OLD.crt)
    write(tmp_path, {"clients.crt": content})
    with pytest.raises(CertificateError, match=f"clients.crt: .*{why}"):
        ClientAuthorities(tmp_path / "clients.crt", Metrics())
    for _ in range(4):
        current.poll()
    assert served(current, tmp_path, ssl.TLSVersion.TLSv1_3, OLD.issue(client=True))
    assert (loaded(current, "good"), loaded(current, "bad")) == (1, 1)
    lines = map(json.loads, capsys.readouterr().err.splitlines())
    (line,) = (line for line in lines if line["event"].startswith("client"))
    assert (line["event"], why in line["problem"]) == ("client CAs not in use, the last good ones are kept", True)
    (tmp_path / "clients.crt").unlink()
    for _ in range(2):
        current.poll()
    assert loaded(current, "bad") == 2


def test_the_certificate_is_renewed_though_the_client_cas_cannot_be_used(tmp_path: Path) -> None:
    current = following(tmp_path, OLD.crt)
    fresh = ROOT.issue("rsa")
    write(tmp_path, secret(fresh) | {"clients.crt": b""})
    for _ in range(2):
        current.poll()
    found = Handshake(current, client(tmp_path, ssl.TLSVersion.TLSv1_3, OLD.issue(client=True)))
    assert (found.served, found.client.getpeercert(binary_form=True)) == (True, fresh.der)


@pytest.mark.parametrize("what", ["key", "curve", "signature", "extension twice"])
def test_a_ca_that_is_not_understood_lets_nobody_in_and_keeps_nobody_out(what: x509.Unknown, tmp_path: Path) -> None:
    current = following(tmp_path, x509.altered(x509.root(number=9), what) + OLD.crt)
    assert served(current, tmp_path, ssl.TLSVersion.TLSv1_3, OLD.issue(client=True))
    assert not served(current, tmp_path, ssl.TLSVersion.TLSv1_3, x509.root(number=9).issue(client=True))


def ask(url: str, context: ssl.SSLContext) -> int:
    host, port = url.removeprefix("https://").split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=PATIENCE)
    try:
        connection.request("POST", "/mutate", REVIEW, JSON)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_whole_server_asks_on_the_review_port_alone(tmp_path: Path) -> None:
    Volume(tmp_path, secret(ROOT.issue()) | {"clients.crt": OLD.crt})
    options = [f"--tls-cert-file={tmp_path}/tls.crt", f"--tls-private-key-file={tmp_path}/tls.key",
               f"--client-ca-file={tmp_path}/clients.crt"]  # fmt: skip
    with running("--policy", EXAMPLES / "policy.yaml", "--no-quotas", *options) as server:
        url: Any = server.listening["webhook"]
        good = client(tmp_path, ssl.TLSVersion.TLSv1_3, OLD.issue(client=True))
        assert ask(url, good) == 200
        for pair in (None, NEW.issue("rsa", client=True)):
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
                ask(url, client(tmp_path, ssl.TLSVersion.TLSv1_3, pair))
        assert server.health().get("/readyz").status == 200
