"""TLS contexts for the certificate of files, and a certificate made on the spot for the local mode."""

import ssl
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.shared.clock import later, now
from webhook.shared.pem import BLOCK

LIFETIME: Final = timedelta(days=7)  # of a certificate that nobody is meant to keep
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class CertificateError(ValueError):
    """The certificate or its key cannot be used; the message names the file."""


def context(certificate: Path, key: Path, clients: str = "") -> ssl.SSLContext:
    """A server's context, TLS 1.2 or newer, HTTP/1.1 only as API servers speak it to webhooks.

    With CAs in PEM, clients must have a certificate from one of them.
    """

    def no_password() -> str:  # OpenSSL would else ask whoever sits at the terminal
        raise CertificateError(f"{certificate}, {key}: the private key has a password; one without is expected")

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    if clients:
        require(made, clients)
    try:
        made.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        reason = error.reason or "not PEM"
        raise CertificateError(f"{certificate}, {key}: no certificate with its private key: {reason}") from error
    except OSError as error:
        raise CertificateError(f"{certificate}, {key}: {error.strerror}") from error
    return made


def require(context: ssl.SSLContext, clients: str) -> None:
    """Have clients show a certificate that one of these CAs has signed, at each handshake.

    There are no session tickets: they would let their holders in after the CA is replaced.
    """
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_verify_locations(cadata=clients)


def authorities(pem: bytes, file: Path) -> str:
    """The certificates in a file's content, as `context` takes them; CertificateError if there is none."""
    try:
        found = b"\n".join(BLOCK.findall(pem)).decode("ascii")
        require(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), found)
    except ssl.SSLError as error:
        raise CertificateError(f"{file}: a certificate that cannot be read: {error.reason or 'not PEM'}") from error
    except ValueError as error:  # nothing, or no ASCII
        raise CertificateError(f"{file}: no certificate in PEM: {error}") from error
    return found


def read(file: Path) -> bytes:
    """What the file holds; CertificateError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateError(f"{file}: {error.strerror}") from error


def make(directory: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Write a self-signed certificate for the names and its key into the directory; clients may trust it as it is."""
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
            x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)]), critical=False
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
