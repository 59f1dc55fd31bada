"""No clock is so far ahead that a date cannot be written."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509 import load_pem_x509_certificate

from webhook.server import tls
from webhook.shared import clock


def test_a_moment_is_later_by_what_is_asked_for_and_at_most_the_last_one() -> None:
    day = timedelta(days=1)
    assert clock.later(datetime(2026, 1, 1, tzinfo=UTC), day) == datetime(2026, 1, 2, tzinfo=UTC)
    for moment in (clock.LAST - day, clock.LAST - day / 2, clock.LAST, datetime.max.replace(tzinfo=UTC)):
        assert clock.later(moment, day) == clock.LAST
    assert clock.later(datetime(2026, 1, 1, tzinfo=UTC), timedelta.max) == clock.LAST


@pytest.mark.parametrize("seconds", [clock.LAST.timestamp(), 1e12, 1e300, math.inf])
def test_a_clock_beyond_all_dates_shows_the_last_one(
    seconds: float, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr("webhook.shared.clock.time", lambda: seconds)
    assert (clock.now(), clock.today()) == (clock.LAST, "9999-12-31")
    certificate, _ = tls.make_self_signed(tmp_path_factory.mktemp("tls"), ["127.0.0.1"])
    assert load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc == clock.LAST
