"""The time in UTC, up to the last second that X.509 and Python can write."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from time import time
from typing import Final

LAST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_LAST: Final = LAST.timestamp()


def now() -> datetime:
    """Return the time in UTC, at most LAST."""
    return datetime.fromtimestamp(min(time(), _LAST), UTC)


def later(moment: datetime, by: timedelta) -> datetime:
    """Return the moment plus `by`, at most LAST."""
    return moment + by if by < LAST - moment else LAST


def today() -> str:
    """Return the date in UTC, YYYY-MM-DD."""
    return _date(int(min(time(), _LAST)) // 86400)


@lru_cache(maxsize=1)
def _date(days: int) -> str:
    """Format a number of days since 1970-01-01."""
    return (date(1970, 1, 1) + timedelta(days)).isoformat()
