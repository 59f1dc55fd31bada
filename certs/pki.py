"""X.509 certificates and keys: issue, read, compare. Time is an argument."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509 import Certificate
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.shared.clock import later
from webhook.shared.pem import PARSE_ERRORS, general_name

PrivateKey: TypeAlias = PrivateKeyTypes
CLOCK_SKEW: Final = timedelta(minutes=5)  # a certificate is valid so long before it is issued
CA_NAME: Final = "flyte-admission CA"


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf with its key, and its CA, which signed nothing else and whose key is not kept."""

    authority: Certificate
    leaf: Certificate
    key: ec.EllipticCurvePrivateKey


def issue(names: Iterable[str], now: datetime, authority_lifetime: timedelta, leaf_lifetime: timedelta) -> Issued:
    """Return a new CA, and a serving certificate for the DNS names and IP addresses."""
    signer, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = _name(f"{CA_NAME} {now:%Y-%m-%dT%H:%M:%SZ}"), _name("flyte-admission")
    alternatives = x509.SubjectAlternativeName([general_name(name) for name in dict.fromkeys(names)])
    common = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .not_valid_before(now - CLOCK_SKEW)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    authority = (
        _for_key(common.subject_name(issuer).not_valid_after(later(now, authority_lifetime)), signer)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .sign(signer, hashes.SHA256())
    )
    leaf = (
        _for_key(common.subject_name(subject).not_valid_after(later(now, leaf_lifetime)), key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Issued(authority, leaf, key)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _for_key(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    numbered = builder.serial_number(x509.random_serial_number())
    return numbered.public_key(public).add_extension(identifier, critical=False)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature, key_cert_sign=key_cert_sign, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def private_key(pem: bytes) -> PrivateKey | None:
    """Return the key, None if it cannot be read or has a password."""
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except PARSE_ERRORS:  # not PEM, a password, an unknown kind of key
        return None


def certificates_pem(certificates: Sequence[Certificate]) -> bytes:
    """Return the certificates in PEM, in this order."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def private_key_pem(key: PrivateKey) -> bytes:
    """Return the key in PEM, as PKCS #8 without a password."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def belongs(key: PrivateKey, certificate: Certificate) -> bool:
    """Return whether the certificate has this key; False for an unknown kind of key."""
    try:
        return key.public_key() == certificate.public_key()
    except PARSE_ERRORS:
        return False


def names(certificate: Certificate) -> frozenset[str]:
    """Return the DNS names and IP addresses of the certificate."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *PARSE_ERRORS):  # none, or one that cannot be parsed
        return frozenset()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return frozenset([*found.get_values_for_type(x509.DNSName), *addresses])


def made_here(authority: Certificate) -> bool:
    """Return whether the CA has a name as `issue` gives it; that alone makes nothing trusted."""
    found = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return any(str(name.value).startswith(CA_NAME) for name in found)
