"""The certificate in use, and its replacement while connections stay open.

What is loaded into a context that serves cannot be taken back, and OpenSSL keeps one certificate for each kind of key.
So each pair is loaded into a context of its own, and a new connection is handed over to that when it says hello.
"""

import ssl
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.x509 import Certificate

from webhook.server import tls
from webhook.server.client_ca import ClientAuthorities
from webhook.server.tls import CertificateError
from webhook.shared import clock
from webhook.shared.clock import later
from webhook.shared.pem import BLOCK, certificate, certificates, signed
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics

# cert-manager and our own certs replace a certificate with a third of its time left, at the latest 30 days before.
LATE: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Files:
    """Where a certificate, its key, and perhaps the CA that clients trust are mounted."""

    certificate: Path
    key: Path
    ca: Path | None = None  # by default ca.crt beside the certificate, if that is there

    def resolved(self) -> "Files":
        """Where they are now: those of one folder in one folder, though the kubelet may swap it at any time."""
        folder = self.certificate.resolve().parent

        def now(file: Path) -> Path:
            beside = folder / file.name
            return beside if file.parent == self.certificate.parent and beside.exists() else file.resolve()

        ca = now(self.ca or self.certificate.with_name("ca.crt"))
        return Files(now(self.certificate), now(self.key), ca if self.ca or ca.exists() else None)

    def digest(self) -> str:
        """Of all that the files hold; CertificateError if one cannot be read."""
        files = [file for file in (self.certificate, self.key, self.ca) if file]
        return sha256(b"\0".join(sha256(tls.read(file)).digest() for file in files)).hexdigest()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pair that can be served, and the CA that clients need for it."""

    context: ssl.SSLContext
    chain: list[Certificate]
    ca: Certificate | None = None
    untrusted: str = ""  # why the file of the CA does not make clients trust the leaf

    @property
    def leaf(self) -> Certificate:
        """The certificate that is for us; the rest of the chain leads from it to the CA."""
        return self.chain[0]

    def judged(self, ca: Path | None) -> "Loaded":
        """The same pair, as clients see it who trust what this file holds; without one nothing is said against it."""
        if ca is None:
            return replace(self, ca=None, untrusted="")
        try:
            found = trust_anchor(self.chain, _all(ca))
        except CertificateError as error:
            return replace(self, ca=None, untrusted=str(error))
        return replace(self, ca=found, untrusted="" if found else f"no CA of {ca} has signed the certificate")


def load(files: Files, clients: str = "") -> Loaded:
    """A fresh context with the pair, for clients of these CAs; CertificateError if it is none."""
    return Loaded(tls.context(files.certificate, files.key, clients), _chain(files.certificate)).judged(files.ca)


def _all(file: Path) -> list[Certificate]:
    """Those that can be read; CertificateError if there is none."""
    if found := certificates(tls.read(file)):
        return list(found)
    raise CertificateError(f"{file}: no certificate in PEM that can be read")


def _chain(file: Path) -> list[Certificate]:
    """The leaf, which must be readable, and what else can be read; CertificateError if that is not so."""
    chain, first = _all(file), BLOCK.search(tls.read(file))
    if first is None or certificate(first[0]) != chain[0]:
        raise CertificateError(f"{file}: the first certificate cannot be read")
    return chain


def trust_anchor(chain: list[Certificate], authorities: list[Certificate]) -> Certificate | None:
    """The CA that a client gets to from the leaf by way of the rest of the chain; the last to expire of several."""
    leaf, *rest = chain
    if found := [ca for ca in authorities if ca == leaf or signed(ca, leaf)]:
        return max(found, key=lambda ca: ca.not_valid_after_utc)
    above = next((certificate for certificate in rest if signed(certificate, leaf)), None)
    if above is None:
        return None
    return trust_anchor([above, *(certificate for certificate in rest if certificate != above)], authorities)


def problems(loaded: Loaded, now: datetime) -> list[str]:
    """What somebody should look at, for the log."""
    found = [f"{what} {problem}" for what, certificate in (("the certificate", loaded.leaf), ("its CA", loaded.ca))
             if certificate and (problem := _by_time(certificate, now))]  # fmt: skip
    return [*found, loaded.untrusted] if loaded.untrusted else found


def _by_time(certificate: Certificate, now: datetime) -> str:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        return f"is valid from {begin.isoformat()} only"
    if end <= now:
        return f"expired at {end.isoformat()}"
    if end < later(now, min(LATE, (end - begin) / 5)):
        return f"expires at {end.isoformat()} and should have been replaced by now"
    return ""


class Serving:
    """A certificate that follows its files."""

    def __init__(self, files: Files, metrics: Metrics, clients: ClientAuthorities | None = None) -> None:
        """Serve what the files hold, even if it has expired; CertificateError if that is nothing to serve.

        Whether clients must show a certificate is settled here; by whom it must be signed may change.
        """
        self.files = files
        self._clients = clients
        self._metrics = metrics
        resolved = files.resolved()
        self._seen = resolved.digest()
        self._used = self._seen, self._authorities
        self._problems: list[str] = []
        self._refusal = ""
        self.current = load(resolved, self._authorities)
        self._trusted = not self.current.untrusted  # or has been
        self.context = tls.context(resolved.certificate, resolved.key, self._authorities)
        self.context.sni_callback = self._hand_over
        self._metrics.certificate_read("good")
        self._tell()

    def _hand_over(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        if self._clients and connection.session_reused:  # as TLS 1.2 can without a ticket; nobody's CA is checked then
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        connection.context = self.current.context
        return None

    @property
    def _authorities(self) -> str:
        return self._clients.pem if self._clients else ""

    def look(self) -> None:
        """Take up what the files hold, once two looks have found the same; what cannot be used changes nothing."""
        now = clock.now()
        if self._clients:
            self._clients.look()
        try:
            resolved = self.files.resolved()
            before, self._seen = self._seen, resolved.digest()
            if self._seen == before:
                self.current = self.current.judged(resolved.ca)  # which clients may know before our pair is replaced
                self._take_up(resolved, now)
        except CertificateError as error:
            self._refuse(str(error))
        self._tell()
        self._warn(problems(self.current, now))

    def _take_up(self, resolved: Files, now: datetime) -> None:
        wanted = self._seen, self._authorities
        if wanted != self._used:
            fresh = load(resolved, self._authorities)
            if problem := self._why_not(fresh, now):
                raise CertificateError(f"{self.files.certificate}: {problem}")
            self._trusted = not fresh.untrusted or (self._trusted and fresh.leaf == self.current.leaf)
            before, self._used, self.current = self._used, wanted, fresh
            if self._seen != before[0]:
                self._metrics.certificate_read("good")
                logs.info("certificate in use", **self.fields())
        self._refusal = ""

    def _why_not(self, fresh: Loaded, now: datetime) -> str:
        """Why what is served is better than a pair that could be."""
        end, present = fresh.leaf.not_valid_after_utc, self.current.leaf.not_valid_after_utc
        if end <= now and end < present:
            return f"expired at {end.isoformat()}"
        # Somebody's mistake, or half of a change: clients have trusted the present one, and may still do.
        if self._trusted and now < present and fresh.leaf != self.current.leaf:
            return fresh.untrusted
        return ""

    def _refuse(self, problem: str) -> None:
        """Go on with what is served, and say why, once."""
        if problem != self._refusal:
            self._refusal = problem
            self._metrics.certificate_read("bad")
            logs.warning("certificate not in use, the last good one is kept", problem=problem)

    def _warn(self, found: list[str]) -> None:
        if found != self._problems:
            self._problems = found
            log = logs.warning if found else logs.info
            log("certificate needs attention" if found else "certificate in order", problems=found, **self.fields())

    def _tell(self) -> None:
        ca = self.current.ca
        self._metrics.certificate_used(
            self.current.leaf.not_valid_after_utc,
            ca.not_valid_after_utc if ca else None,
            trusted=not self.current.untrusted,
        )

    def fields(self) -> dict[str, str]:
        """For the log: which certificate is served, and until when."""
        leaf = self.current.leaf
        return {"certificate": str(self.files.certificate), "serial": f"{leaf.serial_number:x}",
                "expires": leaf.not_valid_after_utc.isoformat()}  # fmt: skip
