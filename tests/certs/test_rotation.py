"""When the certificate is replaced, and which CAs are trusted: tables of the pure decisions."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import Certificate, DNSName
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs import pki, rotation
from certs.rotation import Bundle, Lifetimes, Reason, Trust, still_served, successor, trusted, why_issue, why_take
from tests import x509
from tests.x509 import DAY, NOW
from webhook.shared.clock import LAST
from webhook.shared.pem import certificates

NAMES = ("flyte-admission.flyte.svc", "10.0.0.1")
LIFETIMES = Lifetimes()
HOUR = timedelta(hours=1)


def issued(ago: timedelta = timedelta(0), names: Sequence[str] = NAMES) -> pki.Issued:
    return pki.issue(names, NOW - ago, LIFETIMES.authority, LIFETIMES.leaf)


def data(of: pki.Issued, *before: pki.Issued) -> dict[str, bytes]:
    return rotation.secret_data([of.authority, *(other.authority for other in before)], Bundle.of(of))


GOOD, OTHER = issued(), issued()
WHOLE = data(GOOD)
with pytest.MonkeyPatch.context() as named:
    named.setattr(pki, "CA_NAME", "another CA")
    ELSEWHERE = issued()
OTHER_CA = data(OTHER)["ca.crt"]
ROOT = x509.root()
RSA, ECDSA = ROOT.issue("rsa"), ROOT.issue()


def locked(of: pki.Issued) -> bytes:
    form, secret = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    return of.key.private_bytes(serialization.Encoding.PEM, form, secret)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, Reason.NO_CERTIFICATE),
        ({}, Reason.CA_UNPARSABLE),
        (WHOLE, None),
        (data(GOOD, OTHER), None),
        ({**WHOLE, "more": b"?"}, None),
        (WHOLE | {"ca.crt": b""}, Reason.CA_UNPARSABLE),
        (WHOLE | {"ca.crt": WHOLE["ca.crt"][:200]}, Reason.CA_UNPARSABLE),
        (WHOLE | {"ca.crt": WHOLE["ca.crt"].replace(b"M", b"N", 3)}, Reason.CA_UNPARSABLE),
        (WHOLE | {"ca.crt": b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n" + WHOLE["ca.crt"]}, None),
        (WHOLE | {"ca.crt": data(OTHER)["ca.crt"]}, Reason.NOT_SIGNED_BY_CA),
        (WHOLE | {"ca.crt": data(OTHER, GOOD)["ca.crt"]}, None),
        (WHOLE | {"tls.crt": b"\xff"}, Reason.LEAF_UNPARSABLE),
        ({key: value for key, value in WHOLE.items() if key != "tls.crt"}, Reason.LEAF_UNPARSABLE),
        (WHOLE | {"tls.key": b""}, Reason.KEY_UNPARSABLE),
        (WHOLE | {"tls.key": locked(GOOD)}, Reason.KEY_UNPARSABLE),
        (WHOLE | {"tls.key": data(OTHER)["tls.key"]}, Reason.KEY_MISMATCH),
        (WHOLE | {"tls.key": RSA.pem_key}, Reason.KEY_MISMATCH),
        (WHOLE | {"tls.crt": RSA.crt, "tls.key": RSA.pem_key}, Reason.NOT_SIGNED_BY_CA),
        ({"ca.crt": ROOT.crt, "tls.crt": RSA.crt, "tls.key": RSA.pem_key}, Reason.NAMES_NOT_COVERED),
        ({"ca.crt": ROOT.crt, "tls.crt": ROOT.crt, "tls.key": ROOT.pem_key}, Reason.NAMES_NOT_COVERED),
        (
            {"ca.crt": x509.altered(ROOT, "key"), "tls.crt": ECDSA.crt, "tls.key": ECDSA.pem_key},
            Reason.NOT_SIGNED_BY_CA,
        ),
        (
            {"ca.crt": x509.altered(ROOT, "curve"), "tls.crt": ECDSA.crt, "tls.key": ECDSA.pem_key},
            Reason.NOT_SIGNED_BY_CA,
        ),
        (WHOLE | {"ca.crt": x509.altered(ROOT, "version")}, Reason.CA_UNPARSABLE),
        (WHOLE | {"ca.crt": x509.altered(ROOT, "key") + WHOLE["ca.crt"]}, None),
        ({"ca.crt": ROOT.crt, "tls.crt": x509.altered(ECDSA, "key"), "tls.key": ECDSA.pem_key}, Reason.KEY_MISMATCH),
        (
            {"ca.crt": ROOT.crt, "tls.crt": x509.altered(ECDSA, "signature"), "tls.key": ECDSA.pem_key},
            Reason.NOT_SIGNED_BY_CA,
        ),
        (
            {"ca.crt": ROOT.crt, "tls.crt": x509.altered(ECDSA, "extension twice"), "tls.key": ECDSA.pem_key},
            Reason.NOT_SIGNED_BY_CA,
        ),
        (data(issued(names=NAMES[:1])), Reason.NAMES_NOT_COVERED),
        (data(ELSEWHERE), Reason.ISSUED_ELSEWHERE),
        (data(issued(names=(*NAMES, "more.svc"))), None),
    ],
)
def test_what_the_secret_holds_is_replaced_for_the_first_reason(
    found: dict[str, bytes] | None, reason: Reason | None
) -> None:
    bundle = None if found is None else Bundle.read(found)
    assert why_issue(bundle, NAMES, NOW, LIFETIMES.renew_before) == reason


@pytest.mark.parametrize(
    ("authority", "leaf", "after", "reason"),
    [
        (365 * DAY, 90 * DAY, 60 * DAY - timedelta(seconds=1), None),
        (365 * DAY, 90 * DAY, 60 * DAY, Reason.LEAF_EXPIRING),
        (365 * DAY, 90 * DAY, 90 * DAY - timedelta(seconds=1), Reason.LEAF_EXPIRING),
        (365 * DAY, 90 * DAY, 90 * DAY, Reason.LEAF_EXPIRED),
        (80 * DAY, 90 * DAY, 50 * DAY - timedelta(seconds=1), None),
        (80 * DAY, 90 * DAY, 50 * DAY, Reason.CA_EXPIRING),
        (80 * DAY, 90 * DAY, 80 * DAY, Reason.CA_EXPIRED),
        (365 * DAY, 90 * DAY, 400 * DAY, Reason.CA_EXPIRED),
        (365 * DAY, 90 * DAY, -pki.CLOCK_SKEW, None),
        (365 * DAY, 90 * DAY, -pki.CLOCK_SKEW - timedelta(seconds=1), Reason.NOT_YET_VALID),
    ],
)
def test_a_certificate_is_replaced_when_its_time_or_that_of_its_ca_runs_out(
    authority: timedelta, leaf: timedelta, after: timedelta, reason: Reason | None
) -> None:
    bundle = Bundle.read(data(pki.issue(NAMES, NOW, authority, leaf)))
    assert why_issue(bundle, NAMES, NOW + after, 30 * DAY) == reason


@pytest.mark.parametrize("now", [LAST, LAST - 100 * DAY, LAST - HOUR])
def test_at_the_end_of_time_a_certificate_is_issued_that_lasts_until_then(now: datetime) -> None:
    made = pki.issue(NAMES, now, LIFETIMES.authority, LIFETIMES.leaf)
    assert made.authority.not_valid_after_utc == LAST
    assert made.leaf.not_valid_after_utc == min(LAST, now + 90 * DAY if now < LAST - 90 * DAY else LAST)
    bundle = Bundle.read(data(made))
    assert why_issue(bundle, NAMES, now, timedelta(days=999_999)) in (Reason.CA_EXPIRING, Reason.CA_EXPIRED)
    assert successor([made.authority], bundle.authorities, [], Reason.LEAF_EXPIRING, now)[1:] == ()


def test_extensions_that_cannot_be_parsed_name_nobody() -> None:
    (leaf,) = certificates(x509.altered(ECDSA, "extension twice"))
    assert pki.names(leaf) == frozenset()


def test_what_is_issued_is_verified_by_its_ca_for_all_its_names_and_by_no_other() -> None:
    mine, other = (PolicyBuilder().store(Store([of.authority])).time(NOW) for of in (GOOD, OTHER))
    for name in ("flyte-admission.flyte.svc",):
        mine.build_server_verifier(DNSName(name)).verify(GOOD.leaf, [])
        with pytest.raises(VerificationError):
            other.build_server_verifier(DNSName(name)).verify(GOOD.leaf, [])
    assert pki.names(GOOD.leaf) == set(NAMES)
    assert not pki.belongs(GOOD.key, GOOD.authority)
    assert GOOD.authority.subject != issued(HOUR).authority.subject


OLDEST, OLDER, OLD, YOUNG = (issued(ago) for ago in (40 * DAY, 3 * HOUR, HOUR, HOUR - timedelta(minutes=6)))
ENDED = pki.issue(NAMES, NOW - 9 * DAY, 8 * DAY, 8 * DAY)


@pytest.mark.parametrize(
    ("known", "published", "reason", "kept"),
    [
        # first of all, the current CA; those before it only while its certificate is new in the Secret
        ([OLD, OLDEST], [OLD, OLDEST], Reason.LEAF_EXPIRING, [OLD]),
        ([ENDED, OLDEST], [], Reason.LEAF_EXPIRED, []),
        ([ENDED], [], Reason.CA_EXPIRED, []),
        ([ELSEWHERE, OLDEST], [ELSEWHERE, OLDEST], Reason.ISSUED_ELSEWHERE, [ELSEWHERE]),
        # what is published and newer is kept, what is published and older is not
        ([OLDER], [OLD, OLDEST], Reason.CA_EXPIRING, [OLDER, OLD]),
        ([YOUNG], [OLD, GOOD], Reason.SOURCE_CHANGED, [YOUNG, GOOD]),
        # a Secret that is gone or damaged says nothing of what is served
        ([], [OLD, OLDEST], Reason.NO_CERTIFICATE, [OLDEST, OLD]),
        ([OLD], [OLD, OLDEST], Reason.KEY_MISMATCH, [OLD, OLDEST]),
        ([], [ENDED], Reason.CA_UNPARSABLE, []),
        ([], [], Reason.NO_CERTIFICATE, []),
        # what others have published is for the caBundle, not for the Secret
        ([], [OLD, ELSEWHERE], Reason.NO_CERTIFICATE, [OLD]),
    ],
)
def test_the_cas_of_leaves_that_may_still_be_served_are_kept(
    known: list[pki.Issued], published: list[pki.Issued], reason: Reason, kept: list[pki.Issued]
) -> None:
    new = issued()
    served = still_served(authorities(known), reason, soon=False)
    after = successor([new.authority], served, authorities(published), reason, NOW)
    assert after == (new.authority, *authorities(kept))


def test_soon_after_a_replacement_each_ca_of_the_secret_may_still_be_served() -> None:
    known = authorities([YOUNG, OLDER, OLDEST])
    assert still_served(known, Reason.NAMES_NOT_COVERED, soon=True) == known


def authorities(of: Sequence[pki.Issued]) -> tuple[Certificate, ...]:
    return tuple(one.authority for one in of)


STRANGER = x509.root(begin=NOW, end=NOW + DAY)


@pytest.mark.parametrize(
    ("known", "published", "expected"),
    [
        ([OLD], [], [OLD]),
        ([OLD, OLDEST], [OLDEST, OLDEST], [OLD, OLDEST]),
        ([OLD, ENDED], [ENDED], [OLD]),
        ([OLD], [OLDER, YOUNG, YOUNG], [OLD, YOUNG]),
    ],
)
def test_a_ca_bundle_holds_the_cas_of_the_secret_and_newer_ones_of_ours(
    known: list[pki.Issued], published: list[pki.Issued], expected: list[pki.Issued]
) -> None:
    found = [*authorities(published), STRANGER.certificate]
    assert trusted(authorities(known), found, NOW) == authorities(expected)


BOTH = pki.certificates_pem(authorities([OLD, OLDER]))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (BOTH, None),
        (b"", "caBundle has no certificate"),
        (b"\n", "caBundle has no certificate"),
        (BOTH[:300], "caBundle has no certificate"),
        (pki.certificates_pem(authorities([OLD])), "caBundle lacks 1 of 2 CAs"),
        (pki.certificates_pem(authorities([YOUNG])), "caBundle lacks 2 of 2 CAs"),
        (BOTH + pki.certificates_pem(authorities([OLDEST])), "caBundle has 1 outdated CAs"),
        (BOTH + pki.certificates_pem(authorities([ELSEWHERE])), "caBundle has 1 outdated CAs"),
        (BOTH + STRANGER.crt, None),
        (pki.certificates_pem(authorities([OLDER, OLD])) + b"\n", None),
    ],
)
def test_what_is_wrong_with_a_ca_bundle_is_reported_and_repaired(found: bytes, why: str | None) -> None:
    trust = Trust(authorities([OLD, OLDER]), frozenset(authorities([ELSEWHERE])))
    assert trust.drift(found) == why
    assert trust.drift(trust.ca_bundle(found)) is None
    assert trust.ca_bundle(found).startswith(BOTH)


def test_a_ca_bundle_keeps_what_others_have_put_there_even_if_it_cannot_be_read() -> None:
    found = x509.altered(ROOT, "version") + BOTH + STRANGER.crt + STRANGER.crt
    trust = Trust(authorities([OLD]))
    assert (
        trust.ca_bundle(found)
        == pki.certificates_pem(authorities([OLD])) + x509.altered(ROOT, "version") + STRANGER.crt
    )


INTERMEDIATE = ROOT.issue(ca=True, number=2)
BELOW = INTERMEDIATE.issue(number=3)
CHAIN = {"ca.crt": ROOT.crt, "tls.crt": BELOW.crt + INTERMEDIATE.crt, "tls.key": BELOW.pem_key}
PAST = x509.root(begin=NOW - 9 * DAY, end=NOW - DAY, number=4)
LOCAL = ("localhost",)


def offer(more: bytes = b"", **changed: bytes) -> Bundle:
    return Bundle.offered(CHAIN | {"ca.crt": CHAIN["ca.crt"] + more} | changed, NOW)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (None, Reason.NO_CERTIFICATE),
        (Bundle(), Reason.CA_UNPARSABLE),
        (Bundle.read(CHAIN), None),
        (Bundle.read(CHAIN | {"ca.crt": OTHER_CA + ROOT.crt}), None),
        (Bundle.read({"ca.crt": ROOT.crt, "tls.crt": ECDSA.crt, "tls.key": ECDSA.pem_key}), Reason.SOURCE_CHANGED),
        (Bundle.read(CHAIN | {"tls.key": b""}), Reason.KEY_UNPARSABLE),
    ],
)
def test_another_secrets_certificate_is_taken_where_it_is_not_in_use(
    held: Bundle | None, reason: Reason | None
) -> None:
    assert why_take(held, offer(), LOCAL, NOW) == reason


def test_a_ca_more_is_taken_and_one_that_expired_is_not() -> None:
    assert why_take(Bundle.read(CHAIN), offer(OTHER_CA), LOCAL, NOW) == Reason.SOURCE_CHANGED
    assert why_take(Bundle.read(CHAIN), offer(PAST.crt), LOCAL, NOW) is None


def test_of_many_cas_ten_are_taken_that_of_the_leaf_first() -> None:
    many = b"".join(x509.root(number=number).crt for number in range(10, 40))
    found = offer(**{"ca.crt": many + ROOT.crt})
    assert (len(found.authorities), found.authorities[0]) == (10, ROOT.certificate)
    assert rotation.why_unusable(found, LOCAL, NOW) is None
