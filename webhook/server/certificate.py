"""The serving certificate, and its replacement while connections stay open.

A certificate that is loaded into a context cannot be removed from it, and OpenSSL keeps one for each kind of key. So
each pair gets a context of its own, and a new connection switches to the current one at its ClientHello.
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
from webhook.shared.pem import BLOCK, certificate, certificates, trust_anchor
from webhook.telemetry import logs
from webhook.telemetry.metrics import Metrics

# cert-manager and certs replace a certificate with a third of its lifetime left, or 30 days before its end.
LATE: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The files of a certificate, its key, and optionally the CA that clients trust."""

    certificate: Path
    key: Path
    ca: Path | None = None  # by default ca.crt beside the certificate, if it exists

    def resolved(self) -> "CertificateFiles":
        """Return the files without symlinks: all of one version, even if the kubelet swaps the folder meanwhile."""
        folder = self.certificate.resolve().parent

        def now(file: Path) -> Path:
            beside = folder / file.name
            return beside if file.parent == self.certificate.parent and beside.exists() else file.resolve()

        ca = now(self.ca or self.certificate.with_name("ca.crt"))
        return CertificateFiles(now(self.certificate), now(self.key), ca if self.ca or ca.exists() else None)

    def digest(self) -> str:
        """Return the SHA-256 of the content of all files; CertificateError if one cannot be read."""
        files = [file for file in (self.certificate, self.key, self.ca) if file]
        return sha256(b"\0".join(sha256(tls.read_file(file)).digest() for file in files)).hexdigest()


@dataclass(frozen=True, slots=True)
class LoadedCertificate:
    """A certificate with its key in a TLS context, and the CA that clients need for it."""

    context: ssl.SSLContext
    chain: list[Certificate]
    ca: Certificate | None = None
    untrusted: str = ""  # why clients with the CA file do not trust the leaf; empty if they do

    @property
    def leaf(self) -> Certificate:
        """The serving certificate itself; the rest of the chain leads to its CA."""
        return self.chain[0]

    def checked(self, ca: Path | None) -> "LoadedCertificate":
        """Return the same with `ca` and `untrusted` for clients that trust this file; without a file, it is trusted."""
        if ca is None:
            return replace(self, ca=None, untrusted="")
        try:
            found = trust_anchor(self.chain, _certificates(ca))
        except CertificateError as error:
            return replace(self, ca=None, untrusted=str(error))
        return replace(self, ca=found, untrusted="" if found else f"no CA of {ca} has signed the certificate")


def load_certificate(files: CertificateFiles, clients: str = "") -> LoadedCertificate:
    """Load the pair into a new context, for clients of these CAs (PEM); CertificateError if it cannot be used."""
    context = tls.server_context(files.certificate, files.key, clients)
    return LoadedCertificate(context, _chain(files.certificate)).checked(files.ca)


def _certificates(file: Path) -> list[Certificate]:
    """Return the certificates that can be read; CertificateError if there is none."""
    if found := certificates(tls.read_file(file)):
        return list(found)
    raise CertificateError(f"{file}: no certificate in PEM that can be read")


def _chain(file: Path) -> list[Certificate]:
    """Return the leaf and the rest that can be read; CertificateError if the leaf cannot."""
    chain, first = _certificates(file), BLOCK.search(tls.read_file(file))
    if first is None or certificate(first[0]) != chain[0]:
        raise CertificateError(f"{file}: the first certificate cannot be read")
    return chain


def problems(loaded: LoadedCertificate, now: datetime) -> list[str]:
    """Return what is wrong with the dates and the trust of what is served, for the log."""
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


class ServingCertificate:
    """The certificate that is served; it follows its files."""

    def __init__(self, files: CertificateFiles, metrics: Metrics, clients: ClientAuthorities | None = None) -> None:
        """Serve what the files hold, even if it has expired; CertificateError if it cannot be used.

        With `clients`, clients must show a certificate; the CAs that sign it may change later.
        """
        self.files = files
        self._clients = clients
        self._metrics = metrics
        resolved = files.resolved()
        self._seen = resolved.digest()
        self._used = self._seen, self._authorities
        self._problems: list[str] = []
        self._rejected = ""  # why the files as they are now are not in use
        self.current = load_certificate(resolved, self._authorities)
        self._trusted = not self.current.untrusted  # now or earlier
        self.context = tls.server_context(resolved.certificate, resolved.key, self._authorities)
        self.context.sni_callback = self._switch_context
        self._metrics.certificate_read("good")
        self._set_metrics()

    def _switch_context(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext
    ) -> ssl.AlertDescription | None:
        if self._clients and connection.session_reused:  # possible in TLS 1.2; the CA is not checked then
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
        connection.context = self.current.context
        return None

    @property
    def _authorities(self) -> str:
        return self._clients.pem if self._clients else ""

    def poll(self) -> None:
        """Use what the files hold once two polls have found the same; what cannot be used changes nothing."""
        now = clock.now()
        if self._clients:
            self._clients.poll()
        try:
            resolved = self.files.resolved()
            before, self._seen = self._seen, resolved.digest()
            if self._seen == before:
                self.current = self.current.checked(resolved.ca)  # the CA may change before the pair
                self._use(resolved, now)
        except CertificateError as error:
            self._reject(str(error))
        self._set_metrics()
        self._log_problems(problems(self.current, now))

    def _use(self, resolved: CertificateFiles, now: datetime) -> None:
        wanted = self._seen, self._authorities
        if wanted != self._used:
            fresh = load_certificate(resolved, self._authorities)
            if problem := self._why_worse(fresh, now):
                raise CertificateError(f"{self.files.certificate}: {problem}")
            self._trusted = not fresh.untrusted or (self._trusted and fresh.leaf == self.current.leaf)
            before, self._used, self.current = self._used, wanted, fresh
            if self._seen != before[0]:
                self._metrics.certificate_read("good")
                logs.info("certificate in use", **self.fields())
        self._rejected = ""

    def _why_worse(self, fresh: LoadedCertificate, now: datetime) -> str:
        """Return why the current certificate is better than the new one; empty if it is not."""
        end, present = fresh.leaf.not_valid_after_utc, self.current.leaf.not_valid_after_utc
        if end <= now and end < present:
            return f"expired at {end.isoformat()}"
        # A mistake, or half of a change: clients have trusted the present one, and may still do so.
        if self._trusted and now < present and fresh.leaf != self.current.leaf:
            return fresh.untrusted
        return ""

    def _reject(self, problem: str) -> None:
        """Keep the current certificate; log and count each new problem once."""
        if problem != self._rejected:
            self._rejected = problem
            self._metrics.certificate_read("bad")
            logs.warning("certificate not in use, the last good one is kept", problem=problem)

    def _log_problems(self, found: list[str]) -> None:
        if found != self._problems:
            self._problems = found
            log = logs.warning if found else logs.info
            log("certificate needs attention" if found else "certificate in order", problems=found, **self.fields())

    def _set_metrics(self) -> None:
        ca = self.current.ca
        self._metrics.certificate_used(
            self.current.leaf.not_valid_after_utc,
            ca.not_valid_after_utc if ca else None,
            trusted=not self.current.untrusted,
        )

    def fields(self) -> dict[str, str]:
        """Return the fields of the certificate for the log."""
        leaf = self.current.leaf
        return {"certificate": str(self.files.certificate), "serial": f"{leaf.serial_number:x}",
                "expires": leaf.not_valid_after_utc.isoformat()}  # fmt: skip
