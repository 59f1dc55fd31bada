"""When to rotate the certificate, and which CAs to trust meanwhile. Pure: time is an argument.

A webhook serves the previous leaf until the kubelet brings the new one, so a replaced CA stays trusted. The previous CA
is trusted as long as it is valid. Those before it are trusted only while the current one is younger than OVERLAP.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography.x509 import Certificate

from certs import pki
from certs.pki import Issued, PrivateKey
from webhook.shared import pem
from webhook.shared.clock import later

# The kubelet brings a change within its sync period and the TTL of its cache, about two minutes.
OVERLAP: Final = timedelta(hours=1)
# CAs in a bundle. A rotation that ends between the caBundle and the Secret leaves one behind, and etcd takes 1.5 MB.
# 30 of 684 bytes in PEM are 27 KB in base64, in every webhook of a configuration.
MAX_AUTHORITIES: Final = 30


class Reason(StrEnum):
    """A reason to rotate, as in the metric and the log."""

    NO_SECRET = "no_secret"  # noqa: S105 - not a password
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


# For these reasons the Secret is complete, and knows all CAs before.
_SECRET_COMPLETE: Final = frozenset(
    {Reason.CA_EXPIRED, Reason.LEAF_EXPIRED, Reason.CA_EXPIRING, Reason.LEAF_EXPIRING, Reason.NAMES_NOT_COVERED}
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The content of the Secret: the trusted CAs, the current one first, the leaf and its key."""

    authorities: tuple[Certificate, ...] = ()
    leaf: Certificate | None = None
    key: PrivateKey | None = None

    @classmethod
    def read(cls, data: Mapping[str, bytes]) -> "Bundle":
        """Parse ca.crt, tls.crt and tls.key; what is missing or cannot be parsed is left out."""
        leaf, *_ = (*pem.certificates(data.get("tls.crt", b"")), None)
        authorities = pem.certificates(data.get("ca.crt", b""))
        signers = tuple(ca for ca in authorities if leaf and pem.signed(ca, leaf))
        return cls(tuple(dict.fromkeys(signers + authorities)), leaf, pki.private_key(data.get("tls.key", b"")))

    @property
    def ends(self) -> dict[str, datetime]:
        """When the CA and the leaf expire, by certificate: ca, leaf; missing ones are left out."""
        found = {"ca": self.authorities[0] if self.authorities else None, "leaf": self.leaf}
        return {name: each.not_valid_after_utc for name, each in found.items() if each}


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a CA and a leaf are valid, and how long before the end they are rotated."""

    authority: timedelta = timedelta(days=365)
    leaf: timedelta = timedelta(days=90)
    renew_before: timedelta = timedelta(days=30)


def why_rotate(bundle: Bundle | None, names: Collection[str], now: datetime, renew_before: timedelta) -> Reason | None:
    """Return the first reason to rotate, None if there is none; `bundle` is None if there is no Secret."""
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
    if not pem.signed(bundle.authorities[0], bundle.leaf):
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
    """Return the CAs of the Secret's next bundle: the new one, and those whose leaves may still be served.

    Beyond MAX_AUTHORITIES, the newest are left out: they come from rotations that did not reach the Secret.
    """
    if reason not in _SECRET_COMPLETE:  # a missing or damaged Secret does not say what its readers have
        kept, others = known, list(published)
    elif now - known[0].not_valid_before_utc < OVERLAP:
        kept, others = known, newer_published(known, published)
    else:
        kept, others = known[:1], newer_published(known, published)
    oldest_first = sorted(others, key=lambda ca: ca.not_valid_before_utc)
    return _valid([issued.authority, *kept, *oldest_first], now)[:MAX_AUTHORITIES]


def secret_data(authorities: Sequence[Certificate], issued: Issued) -> dict[str, bytes]:
    """Return the values of ca.crt, tls.crt and tls.key."""
    return {
        "ca.crt": pki.certificates_pem(authorities),
        "tls.crt": pki.certificates_pem([issued.leaf]),
        "tls.key": pki.private_key_pem(issued.key),
    }


def trusted(
    authorities: Sequence[Certificate], published: Iterable[Certificate], now: datetime
) -> tuple[Certificate, ...]:
    """Return the CAs that each caBundle should hold while the Secret holds `authorities`."""
    return _valid([*authorities, *newer_published(authorities, published)], now)


def newer_published(authorities: Sequence[Certificate], published: Iterable[Certificate]) -> list[Certificate]:
    """Return the published CAs of ours that are newer than the Secret's.

    Another writer is about to write them to the Secret, or crashed before it did, or the Secret is from a backup, while
    their leaves are still served. They stay trusted until the next rotation.
    """
    newest = authorities[0].not_valid_before_utc
    return [ca for ca in published if ca not in authorities and pki.made_here(ca) and ca.not_valid_before_utc >= newest]


def _valid(authorities: Iterable[Certificate], now: datetime) -> tuple[Certificate, ...]:
    return tuple(ca for ca in dict.fromkeys(authorities) if ca.not_valid_after_utc > now)


def ca_bundle_drift(found: bytes, wanted: tuple[Certificate, ...]) -> str | None:
    """Return the drift of a caBundle (PEM), None if it holds exactly the wanted CAs."""
    trusts = set(pem.certificates(found))
    if not trusts:
        return "caBundle has no certificate"
    if lacking := len(set(wanted) - trusts):
        return f"caBundle lacks {lacking} of {len(wanted)} CAs"
    if extra := len(trusts - set(wanted)):
        return f"caBundle has {extra} CAs too many"
    return None
