"""Certificates and keys as X.509 has them: made, read, compared. Time is an argument."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509 import Certificate
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.shared.clock import later
from webhook.shared.pem import PARSE_ERRORS

PrivateKey: TypeAlias = PrivateKeyTypes
CLOCKS_DIFFER: Final = timedelta(minutes=5)  # so much before its making a certificate is valid already
CA_NAME: Final = "flyte-admission CA"


@dataclass(frozen=True, slots=True)
class Issued:
    """A leaf with its key, and the CA that signed nothing else and whose key is gone."""

    authority: Certificate
    leaf: Certificate
    key: ec.EllipticCurvePrivateKey


def issue(names: Iterable[str], now: datetime, authority_lifetime: timedelta, leaf_lifetime: timedelta) -> Issued:
    """A fresh CA and a serving certificate for the DNS names and IP addresses."""
    signer, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer, subject = _name(f"{CA_NAME} {now:%Y-%m-%dT%H:%M:%SZ}"), _name("flyte-admission")
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)])
    common = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .not_valid_before(now - CLOCKS_DIFFER)
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


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def private_key(pem: bytes) -> PrivateKey | None:
    """The key, None if there is none that can be used as it is."""
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except PARSE_ERRORS:  # no PEM, a password, another kind of key
        return None


def certificates_pem(certificates: Sequence[Certificate]) -> bytes:
    """PEM, one block after the other."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def private_key_pem(key: PrivateKey) -> bytes:
    """PKCS #8 without a password."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def belongs(key: PrivateKey, certificate: Certificate) -> bool:
    """Whether the certificate is for that key; not if it is for one of an unknown kind."""
    try:
        return key.public_key() == certificate.public_key()
    except PARSE_ERRORS:
        return False


def names(certificate: Certificate) -> frozenset[str]:
    """The DNS names and IP addresses that it is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *PARSE_ERRORS):  # none, or not to be parsed
        return frozenset()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return frozenset([*found.get_values_for_type(x509.DNSName), *addresses])


def made_here(authority: Certificate) -> bool:
    """Whether the CA looks like one that `issue` made; nothing is trusted for that."""
    found = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return any(str(name.value).startswith(CA_NAME) for name in found)
