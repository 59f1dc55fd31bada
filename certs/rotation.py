"""When to replace the certificate, and which CAs to trust meanwhile. Pure: time is an argument.

A webhook serves the previous leaf until the kubelet brings the new one, so a replaced CA stays trusted. The previous CA
is trusted as long as it is valid. Those before it are trusted until the previous replacement is OVERLAP ago.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography.x509 import Certificate

from certs import pki
from certs.pki import Issued, PrivateKey
from webhook.shared.clock import later
from webhook.shared.pem import BLOCK, certificate, certificates, trust_anchor

# The kubelet brings a change within its sync period and the TTL of its cache, about two minutes.
OVERLAP: Final = timedelta(hours=1)
# CAs in a bundle. A rotation that ends between the caBundle and the Secret leaves one behind, and etcd takes 1.5 MB.
# 30 of 684 bytes in PEM are 27 KB in base64, in every webhook of a configuration.
MAX_AUTHORITIES: Final = 30
MAX_OFFERED: Final = 10  # CAs that are taken from another Secret; its leaf's comes first


class Reason(StrEnum):
    """A reason to replace the certificate, as in the metric and the log."""

    NO_CERTIFICATE = "no_certificate"
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
    ISSUED_ELSEWHERE = "issued_elsewhere"  # taken from another Secret, which is not configured any more
    SOURCE_CHANGED = "source_changed"


# For these reasons the Secret is complete, and knows all CAs before.
_SECRET_COMPLETE: Final = frozenset(
    {
        Reason.CA_EXPIRED, Reason.LEAF_EXPIRED, Reason.CA_EXPIRING, Reason.LEAF_EXPIRING, Reason.NAMES_NOT_COVERED,
        Reason.ISSUED_ELSEWHERE, Reason.SOURCE_CHANGED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bundle:
    """The content of a Secret: the trusted CAs, that of the leaf first, the leaf with its chain, and its key."""

    authorities: tuple[Certificate, ...] = ()
    chain: tuple[Certificate, ...] = ()
    key: PrivateKey | None = None

    @classmethod
    def read(cls, data: Mapping[str, bytes]) -> "Bundle":
        """Parse ca.crt, tls.crt and tls.key; what is missing or cannot be parsed is left out."""
        chain, authorities = (certificates(data.get(name, b"")) for name in ("tls.crt", "ca.crt"))
        anchor = trust_anchor(chain, authorities) if chain else None
        first = (anchor,) if anchor else ()
        return cls(tuple(dict.fromkeys(first + authorities)), chain, pki.private_key(data.get("tls.key", b"")))

    @classmethod
    def offered(cls, data: Mapping[str, bytes], now: datetime) -> "Bundle":
        """Parse another Secret; of its CAs, only those are taken that are still valid."""
        found = cls.read(data)
        return cls(_valid(found.authorities, now)[:MAX_OFFERED], found.chain, found.key)

    @classmethod
    def of(cls, issued: Issued) -> "Bundle":
        """Return what was issued."""
        return cls((issued.authority,), (issued.leaf,), issued.key)

    @property
    def leaf(self) -> Certificate | None:
        """The serving certificate itself; the rest of the chain leads to its CA."""
        return self.chain[0] if self.chain else None

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


def why_issue(held: Bundle | None, names: Collection[str], now: datetime, renew_before: timedelta) -> Reason | None:
    """Return the first reason to issue a certificate, None if there is none; `held` is None if there is none yet."""
    if held is None or (damage := why_unusable(held, names, now, renew_before)) is not None:
        return Reason.NO_CERTIFICATE if held is None else damage
    return None if pki.made_here(held.authorities[0]) else Reason.ISSUED_ELSEWHERE


def why_take(held: Bundle | None, offered: Bundle, names: Collection[str], now: datetime) -> Reason | None:
    """Return the reason to put another Secret's certificate, which is usable, into the Secret; None if it is there."""
    if held is None or (damage := why_unusable(held, names, now)) is not None:
        return Reason.NO_CERTIFICATE if held is None else damage
    same = held.chain == offered.chain and set(offered.authorities) <= set(held.authorities)
    return None if same else Reason.SOURCE_CHANGED


def why_unusable(
    bundle: Bundle, names: Collection[str], now: datetime, renew_before: timedelta = timedelta()
) -> Reason | None:
    """Return the first reason why the webhook cannot serve the certificate, or not for longer than `renew_before`."""
    if not bundle.authorities:
        return Reason.CA_UNPARSABLE
    if bundle.leaf is None:
        return Reason.LEAF_UNPARSABLE
    if bundle.key is None:
        return Reason.KEY_UNPARSABLE
    if not pki.belongs(bundle.key, bundle.leaf):
        return Reason.KEY_MISMATCH
    if not trust_anchor(bundle.chain, bundle.authorities):
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


def still_served(known: Sequence[Certificate], reason: Reason, *, soon: bool) -> Sequence[Certificate]:
    """Return those CAs of the Secret whose leaves may still be served; `soon` is within OVERLAP of its last change."""
    return known[:1] if reason in _SECRET_COMPLETE and not soon else known


def successor(
    new: Sequence[Certificate],
    kept: Sequence[Certificate],
    published: Iterable[Certificate],
    reason: Reason,
    now: datetime,
) -> tuple[Certificate, ...]:
    """Return the CAs of the Secret's next bundle: the new ones, the kept ones, and published ones of ours.

    A missing or damaged Secret does not say what its readers have, so all that are published are taken then. Beyond
    MAX_AUTHORITIES, the newest are left out: they come from rotations that did not reach the Secret.
    """
    ours = [ca for ca in published if pki.made_here(ca)]
    others = newer_published(kept, ours) if reason in _SECRET_COMPLETE else ours
    oldest_first = sorted(others, key=lambda ca: ca.not_valid_before_utc)
    return _valid([*new, *kept, *oldest_first], now)[:MAX_AUTHORITIES]


def secret_data(authorities: Sequence[Certificate], bundle: Bundle) -> dict[str, bytes]:
    """Return the values of ca.crt, tls.crt and tls.key; the bundle has a key."""
    assert bundle.key  # noqa: S101 - it was issued, or was found usable
    return {
        "ca.crt": pki.certificates_pem(authorities),
        "tls.crt": pki.certificates_pem(bundle.chain),
        "tls.key": pki.private_key_pem(bundle.key),
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


@dataclass(frozen=True, slots=True)
class Trust:
    """The CAs that each caBundle should hold, and those that it should not hold any more.

    What is in a caBundle besides was put there by somebody else, such as cainjector, and stays.
    """

    wanted: tuple[Certificate, ...]
    dropped: frozenset[Certificate] = frozenset()

    def drift(self, found: bytes) -> str | None:
        """Return what is wrong with a caBundle (PEM), None if nothing is."""
        trusts = set(certificates(found))
        if not trusts:
            return "caBundle has no certificate"
        if lacking := len(set(self.wanted) - trusts):
            return f"caBundle lacks {lacking} of {len(self.wanted)} CAs"
        if outdated := sum(1 for ca in trusts - set(self.wanted) if self._is_outdated(ca)):
            return f"caBundle has {outdated} outdated CAs"
        return None

    def ca_bundle(self, found: bytes) -> bytes:
        """Return what the caBundle should be."""
        blocks = [(block, certificate(block)) for block in dict.fromkeys(BLOCK.findall(found))]
        others = [block for block, ca in blocks if ca is None or not (ca in self.wanted or self._is_outdated(ca))]
        return pki.certificates_pem(self.wanted) + b"".join(block + b"\n" for block in others)

    def _is_outdated(self, authority: Certificate) -> bool:
        """Return whether a CA that is not wanted is one of ours, or was dropped."""
        return authority in self.dropped or pki.made_here(authority)
