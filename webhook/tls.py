"""TLS contexts for the certificate of files, and a certificate made on the spot for the local mode."""

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = timedelta(days=7)  # of a certificate that nobody is meant to keep
LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


class CertificateError(ValueError):
    """The certificate or its key cannot be used; the message names the file."""


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context, TLS 1.2 or newer, HTTP/1.1 only as API servers speak it to webhooks."""

    def no_password() -> str:  # OpenSSL would else ask whoever sits at the terminal
        raise CertificateError(f"{certificate}, {key}: the private key has a password; one without is expected")

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        reason = error.reason or "not PEM"
        raise CertificateError(f"{certificate}, {key}: no certificate with its private key: {reason}") from error
    except OSError as error:
        raise CertificateError(f"{certificate}, {key}: {error.strerror}") from error
    return made


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
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + LIFETIME)
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
