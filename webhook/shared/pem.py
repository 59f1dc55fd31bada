"""What both programs need of certificates: to read them, and to tell who signed them.

cryptography parses late, and raises where it does not know an algorithm, a name or an extension. Here that is an
answer.
"""

import re
from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.x509 import Certificate

BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
UNUSABLE: Final = (
    ValueError, TypeError, OverflowError, InternalError, InvalidSignature, UnsupportedAlgorithm,
    x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip


def certificates(pem: bytes) -> tuple[Certificate, ...]:
    """Return the certificates of a PEM file in its order, each once; a block that cannot be read counts as none."""
    found = (certificate(block) for block in BLOCK.findall(pem))
    return tuple(dict.fromkeys(each for each in found if each))


def certificate(block: bytes) -> Certificate | None:
    """Return the certificate of a PEM block if its dates and names can be read; its key may be of an unknown kind."""
    try:
        found = x509.load_pem_x509_certificate(block)
        _ = found.not_valid_before_utc, found.not_valid_after_utc, found.subject, found.issuer
    except UNUSABLE:
        return None
    return found


def signed(authority: Certificate, certificate: Certificate) -> bool:
    """Return whether the CA has issued the certificate; not if that cannot be told."""
    try:
        certificate.verify_directly_issued_by(authority)
    except UNUSABLE:  # another issuer, a key that signs nothing, another key, an unknown algorithm
        return False
    return True
