"""Certificates: reading them from PEM, checking who signed them, and their names.

The library parses lazily, and raises where it does not know an algorithm, a name or an extension. Here such a
certificate is left out, or not signed.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import Certificate

BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
PARSE_ERRORS: Final = (
    ValueError, TypeError, OverflowError, InternalError, InvalidSignature, UnsupportedAlgorithm,
    x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip


def certificates(pem: bytes) -> tuple[Certificate, ...]:
    """Return the certificates of a PEM file in its order, without duplicates and unreadable blocks."""
    found = (certificate(block) for block in BLOCK.findall(pem))
    return tuple(dict.fromkeys(each for each in found if each))


def certificate(block: bytes) -> Certificate | None:
    """Return the certificate of a PEM block, None if its dates or names cannot be read; its key may be unknown."""
    try:
        found = x509.load_pem_x509_certificate(block)
        _ = found.not_valid_before_utc, found.not_valid_after_utc, found.subject, found.issuer
    except PARSE_ERRORS:
        return None
    return found


def signed(authority: Certificate, certificate: Certificate) -> bool:
    """Return whether the CA has issued the certificate; False if that cannot be verified."""
    try:
        certificate.verify_directly_issued_by(authority)
    except PARSE_ERRORS:  # another issuer, another key, a key that cannot sign, an unknown algorithm
        return False
    return True


def trust_anchor(chain: Sequence[Certificate], authorities: Sequence[Certificate]) -> Certificate | None:
    """Return the CA that a client finds from the leaf through the chain; of several, the last to expire."""
    leaf, *rest = chain
    if found := [ca for ca in authorities if ca == leaf or signed(ca, leaf)]:
        return max(found, key=lambda ca: ca.not_valid_after_utc)
    above = next((certificate for certificate in rest if signed(certificate, leaf)), None)
    if above is None:
        return None
    return trust_anchor([above, *(certificate for certificate in rest if certificate != above)], authorities)


def general_name(name: str) -> x509.GeneralName:
    """Return the name as an IP address if it is one, else as a DNS name."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
