"""TLS contexts from files, and the self-signed certificate of the local mode."""

import ssl
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.shared.clock import later, now
from webhook.shared.pem import BLOCK, general_name

LIFETIME: Final = timedelta(days=7)  # of a self-signed certificate
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class CertificateError(ValueError):
    """A certificate, key or CA that cannot be used; the message names the file."""


def server_context(certificate: Path, key: Path, clients: str = "") -> ssl.SSLContext:
    """Return a server's context: TLS 1.2 or newer, and HTTP/1.1 only, which API servers use for webhooks.

    With `clients`, CAs in PEM, clients must have a certificate from one of them. CertificateError if a file cannot be
    used.
    """

    def no_password() -> str:  # otherwise OpenSSL would ask at the terminal
        raise CertificateError(f"{certificate}, {key}: the private key has a password; one without is expected")

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    if clients:
        _require_client_certificates(made, clients)
    try:
        made.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        reason = error.reason or "not PEM"
        raise CertificateError(f"{certificate}, {key}: no certificate with its private key: {reason}") from error
    except OSError as error:
        raise CertificateError(f"{certificate}, {key}: {error.strerror}") from error
    return made


def _require_client_certificates(context: ssl.SSLContext, clients: str) -> None:
    """Require a certificate from one of these CAs at each handshake.

    Session tickets are off: they would admit their holders after the CA is replaced.
    """
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_verify_locations(cadata=clients)


def client_authorities(pem: bytes, file: Path) -> str:
    """Return the certificates in the file's content, in PEM for `server_context`; CertificateError if there is none."""
    try:
        found = b"\n".join(BLOCK.findall(pem)).decode("ascii")
        _require_client_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), found)
    except ssl.SSLError as error:
        raise CertificateError(f"{file}: a certificate that cannot be read: {error.reason or 'not PEM'}") from error
    except ValueError as error:  # empty, or not ASCII
        raise CertificateError(f"{file}: no certificate in PEM: {error}") from error
    return found


def read_file(file: Path) -> bytes:
    """Return the content of the file; CertificateError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateError(f"{file}: {error.strerror}") from error


def make_self_signed(directory: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Write tls.crt and tls.key into the directory, for the names; clients can use the certificate as its CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, names)
    files = directory / "tls.crt", directory / "tls.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].touch(mode=0o600)
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def _self_signed(key: ec.EllipticCurvePrivateKey, names: Iterable[str]) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flyte-admission, local mode")])
    moment = now()
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(minutes=5))  # clocks differ
        .not_valid_after(later(moment, LIFETIME))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([general_name(name) for name in dict.fromkeys(names)]), critical=False
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
