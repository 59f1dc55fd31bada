"""One JSON object a line on stderr: time, level, event, and the fields of the event.

Ours are written directly, for there is one for every Pod; what libraries log comes in the same form.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from time import time_ns
from typing import Any, Final

import msgspec

_held = False  # whether lines wait for others
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


def write(level: str, event: str, **fields: Any) -> None:
    """One line; the fields may be anything that msgspec encodes."""
    line = _encode({"time": _now(), "level": level, "event": event, **fields})
    with suppress(OSError):  # nobody reads the log: no reason to stop
        sys.stderr.buffer.write(line + b"\n")
        if not _held:
            sys.stderr.buffer.flush()


def _now() -> str:
    """The time in UTC, to the millisecond."""
    seconds, milliseconds = divmod(time_ns() // 1_000_000, 1000)
    return f"{_date_and_time(seconds)}.{milliseconds:03}+00:00"


@lru_cache(maxsize=1)
def _date_and_time(seconds: int) -> str:
    """Of the second so many after 1970."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


@contextmanager
def together() -> Iterator[None]:
    """Write all lines of the block at its end."""
    global _held  # noqa: PLW0603 - as is stderr
    _held = True
    try:
        yield
    finally:
        _held = False
        with suppress(OSError):
            sys.stderr.buffer.flush()


def info(event: str, **fields: Any) -> None:
    """What is as it should be."""
    write("info", event, **fields)


def warning(event: str, **fields: Any) -> None:
    """What somebody should look at."""
    write("warning", event, **fields)


class LibraryHandler(logging.Handler):
    """Passes on what a library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, with the traceback if there is one."""
        fields = {"logger": record.name}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        write(record.levelname.lower(), record.getMessage(), **fields)


def configure() -> None:
    """Take over what libraries log, where something is wrong."""
    logging.basicConfig(handlers=[LibraryHandler()], level=logging.WARNING, force=True)
