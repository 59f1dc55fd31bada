"""Certificates of any kind for tests, made without the code under test."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Kind: TypeAlias = Literal["ecdsa", "rsa"]
Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Unknown: TypeAlias = Literal["key", "curve", "signature", "version", "extension twice"]
UNKNOWN: dict[Unknown, tuple[str, str]] = {  # of a certificate with an ECDSA key, in DER
    "key": ("2a8648ce3d0201", "2a8648ce3d027f"),
    "curve": ("2a8648ce3d030107", "2a8648ce3d03017f"),
    "signature": ("2a8648ce3d040302", "2a8648ce3d04037f"),
    "version": ("a003020102", "a003020109"),
    "extension twice": ("0603551d13", "0603551d0e"),
}
DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)


@cache
def key(kind: Kind, number: int = 0) -> Key:
    """Always the same for the same arguments, for those of RSA take long to make."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048 + 8 * number)
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Pair:
    certificate: x509.Certificate
    key: Key

    @property
    def crt(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def pem_key(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def issue(  # noqa: PLR0913 - as many as a certificate has
        self,
        kind: Kind = "ecdsa",
        *,
        ca: bool = False,
        begin: datetime = NOW - DAY,
        end: datetime = NOW + 90 * DAY,
        number: int = 1,
        client: bool = False,
    ) -> "Pair":
        return made(self, key(kind, number), begin, end, ca=ca, client=client)


def root(
    kind: Kind = "ecdsa",
    *,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + 365 * DAY,
    number: int = 0,
    name: str = "",
) -> Pair:
    return made(None, key(kind, number), begin, end, ca=True, name=name)


def made(  # noqa: PLR0913 - the same
    issuer: Pair | None, own: Key, begin: datetime, end: datetime, *, ca: bool, client: bool = False, name: str = ""
) -> Pair:
    """Signed by the issuer, else by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or str(x509.random_serial_number()))])
    signer = issuer.key if issuer else own
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not ca:
        alternatives = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), own)


def altered(pair: Pair, what: Unknown) -> bytes:
    """Its PEM with something that cryptography does not know, or takes for an error, in the place of what it knows."""
    before, after = map(bytes.fromhex, UNKNOWN[what])
    assert before in pair.der
    body = base64.encodebytes(pair.der.replace(before, after))
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
