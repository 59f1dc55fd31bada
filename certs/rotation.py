"""When the certificate is replaced, and which CAs are trusted meanwhile. Pure: time is an argument.

A webhook may serve the leaf before the Secret's for as long as the kubelet takes to bring the new one, and that is why
a CA goes on being trusted after it was replaced: the one before the current for as long as it is valid, those before
that one only while the current one is so young that somebody may not have got it yet.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography.x509 import Certificate

from certs import pki
from certs.pki import Issued, PrivateKey
from webhook.shared import pem as certificate
from webhook.shared.clock import later

# The kubelet brings a change within its sync period and the age of its cache, about two minutes.
OVERLAP: Final = timedelta(hours=1)
# CAs in a bundle. A rotation that ends between the caBundle and the Secret leaves one behind, and etcd takes 1.5 MB.
# 30 of 684 bytes in PEM are 27 KB in base64, in every webhook of a configuration.
MOST: Final = 30


class Reason(StrEnum):
    """Why the certificate is replaced."""

    NO_SECRET = "no_secret"  # noqa: S105 - none is here either
    CA_UNPARSABLE = "ca_unparsable"
    LEAF_UNPARSABLE = "leaf_unparsable"
    KEY_UNPARSABLE = "key_unparsable"
    KEY_MISMATCH = "key_mismatch"
    NOT_SIGNED_BY_CA = "not_signed_by_ca"
    CA_EXPIRED = "ca_expired"
    LEAF_EXPIRED = "leaf_expired"
    NOT_YET_VALID = "not_yet_valid"
    CA_EXPIRING = "ca_expiring"
    LEAF_EXPIRING = "leaf_expiring"
    NAMES_NOT_COVERED = "names_not_covered"


# The Secret is whole, so that what it says of the CAs before is all there is to know of them.
_IN_ORDER: Final = frozenset(
    {Reason.CA_EXPIRED, Reason.LEAF_EXPIRED, Reason.CA_EXPIRING, Reason.LEAF_EXPIRING, Reason.NAMES_NOT_COVERED}
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the Secret holds: the CAs that are trusted, the current one first, the leaf and its key."""

    authorities: tuple[Certificate, ...] = ()
    leaf: Certificate | None = None
    key: PrivateKey | None = None

    @classmethod
    def read(cls, data: Mapping[str, bytes]) -> "Bundle":
        """From ca.crt, tls.crt and tls.key; what is missing or unparsable is left out."""
        leaf, *_ = (*certificate.certificates(data.get("tls.crt", b"")), None)
        authorities = certificate.certificates(data.get("ca.crt", b""))
        signers = tuple(ca for ca in authorities if leaf and certificate.signed(ca, leaf))
        return cls(tuple(dict.fromkeys(signers + authorities)), leaf, pki.private_key(data.get("tls.key", b"")))

    @property
    def ends(self) -> dict[str, datetime]:
        """When what is served expires, by certificate: ca, leaf; those that are not there are left out."""
        found = {"ca": self.authorities[0] if self.authorities else None, "leaf": self.leaf}
        return {name: each.not_valid_after_utc for name, each in found.items() if each}


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """For how long a CA and a leaf are valid, and how long before the end they are replaced."""

    authority: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(days=90)
    renew_before: timedelta = timedelta(days=30)


def why_rotate(bundle: Bundle | None, names: Collection[str], now: datetime, renew_before: timedelta) -> Reason | None:
    """The first reason to replace what the Secret holds, None if it is in order; no bundle is no Secret."""
    if bundle is None:
        return Reason.NO_SECRET
    if not bundle.authorities:
        return Reason.CA_UNPARSABLE
    if bundle.leaf is None:
        return Reason.LEAF_UNPARSABLE
    if bundle.key is None:
        return Reason.KEY_UNPARSABLE
    if not pki.belongs(bundle.key, bundle.leaf):
        return Reason.KEY_MISMATCH
    if not certificate.signed(bundle.authorities[0], bundle.leaf):
        return Reason.NOT_SIGNED_BY_CA
    if not pki.names(bundle.leaf).issuperset(names):
        return Reason.NAMES_NOT_COVERED
    return _why_by_time(bundle.authorities[0], bundle.leaf, now, renew_before)


def _why_by_time(authority: Certificate, leaf: Certificate, now: datetime, renew_before: timedelta) -> Reason | None:
    if authority.not_valid_after_utc <= now:
        return Reason.CA_EXPIRED
    if leaf.not_valid_after_utc <= now:
        return Reason.LEAF_EXPIRED
    if max(authority.not_valid_before_utc, leaf.not_valid_before_utc) > now:
        return Reason.NOT_YET_VALID
    if authority.not_valid_after_utc <= later(now, renew_before):
        return Reason.CA_EXPIRING
    if leaf.not_valid_after_utc <= later(now, renew_before):
        return Reason.LEAF_EXPIRING
    return None


def successor(
    issued: Issued, known: Sequence[Certificate], published: Iterable[Certificate], reason: Reason, now: datetime
) -> tuple[Certificate, ...]:
    """The CAs of the Secret's next bundle: the one just issued, and those whose leaves may still be served.

    Where they are too many, the newest are left out: those come from rotations that did not get to the Secret.
    """
    if reason not in _IN_ORDER:  # a Secret that is gone or damaged does not tell what its readers got last
        kept, others = known, list(published)
    elif now - known[0].not_valid_before_utc < OVERLAP:
        kept, others = known, ahead(known, published)
    else:
        kept, others = known[:1], ahead(known, published)
    oldest_first = sorted(others, key=lambda ca: ca.not_valid_before_utc)
    return _valid([issued.authority, *kept, *oldest_first], now)[:MOST]


def secret_data(authorities: Sequence[Certificate], issued: Issued) -> dict[str, bytes]:
    """The values of ca.crt, tls.crt and tls.key."""
    return {
        "ca.crt": pki.certificates_pem(authorities),
        "tls.crt": pki.certificates_pem([issued.leaf]),
        "tls.key": pki.private_key_pem(issued.key),
    }


def trusted(
    authorities: Sequence[Certificate], published: Iterable[Certificate], now: datetime
) -> tuple[Certificate, ...]:
    """What each caBundle should hold, as long as the Secret holds those CAs."""
    return _valid([*authorities, *ahead(authorities, published)], now)


def ahead(authorities: Sequence[Certificate], published: Iterable[Certificate]) -> list[Certificate]:
    """Published CAs of ours that are newer than the Secret's.

    Another writer is about to put them there, or crashed before it did, or the Secret is one from a backup: then the
    leaves that they signed are still served. They are trusted until the next rotation.
    """
    newest = authorities[0].not_valid_before_utc
    return [ca for ca in published if ca not in authorities and pki.made_here(ca) and ca.not_valid_before_utc >= newest]


def _valid(authorities: Iterable[Certificate], now: datetime) -> tuple[Certificate, ...]:
    return tuple(ca for ca in dict.fromkeys(authorities) if ca.not_valid_after_utc > now)


def why_publish(found: bytes, wanted: tuple[Certificate, ...]) -> str | None:
    """What is wrong with a caBundle (PEM), None if it holds just the wanted CAs."""
    trusts = set(certificate.certificates(found))
    if not trusts:
        return "caBundle has no certificate"
    if lacking := len(set(wanted) - trusts):
        return f"caBundle lacks {lacking} of {len(wanted)} CAs"
    if extra := len(trusts - set(wanted)):
        return f"caBundle has {extra} CAs too many"
    return None
