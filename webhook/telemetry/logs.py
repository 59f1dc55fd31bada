"""The log: one JSON object per line on stderr, with time, level, event, and the fields of the event.

Our lines are written directly, as there is one for each Pod; what libraries log has the same form. A line has at most
4096 bytes: in a longer one, texts and lists are shortened, and `truncated` says so. Writing never blocks: while stderr
is full, lines are dropped, and the next line that it takes is preceded by their number.
"""

import logging
import os
import select
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from io import UnsupportedOperation
from threading import Lock
from time import time_ns
from typing import Any, Final

import msgspec

MAX_LINE: Final = 4096  # bytes; PIPE_BUF, up to which a write to a pipe is atomic
TEXT_LENGTHS: Final = (1024, 256, 64, 16)  # characters of a text, tried in this order
LAST_SECOND: Final = 253402300799  # the last second of the year 9999
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class _Stderr:
    """Writes lines to stderr without blocking, and counts those that it drops."""

    def __init__(self) -> None:
        self._lock = Lock()  # followers write from other threads
        self._dropped = 0

    def write(self, line: bytes) -> None:
        with self._lock:
            if self._dropped and _written(_line("warning", "log lines dropped", {"count": self._dropped})):
                self._dropped = 0
            if self._dropped or not _written(line):
                self._dropped += 1


def _written(line: bytes) -> bool:
    """Write the line if that does not block, and return whether it was written; errors of stderr are ignored."""
    try:
        stream = sys.stderr.buffer
        descriptor = _terminal(stream.fileno())
        return bool(_poll(descriptor).poll(0)) and os.write(descriptor, line) == len(line)
    except UnsupportedOperation:  # a buffer in memory
        return stream.write(line) == len(line)
    except (AttributeError, OSError, ValueError):  # no stderr, or a closed one
        return False


@lru_cache(maxsize=1)
def _terminal(descriptor: int) -> int:
    """Return the descriptor, or another one of the same terminal that never blocks: poll does not tell there."""
    with suppress(OSError):
        if os.isatty(descriptor):
            return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return descriptor


@lru_cache(maxsize=1)
def _poll(descriptor: int) -> select.poll:
    made = select.poll()
    made.register(descriptor, select.POLLOUT)
    return made


_stderr: Final = _Stderr()


def write(level: str, event: str, **fields: Any) -> None:
    """Write one line; the fields may be anything that msgspec encodes."""
    _stderr.write(_line(level, event, fields))


def _line(level: str, event: str, fields: dict[str, Any]) -> bytes:
    """Encode the line, and shorten its fields until it has at most MAX_LINE bytes."""
    what = {"time": _now(), "level": level, "event": event, **fields}
    with suppress(ValueError, OverflowError, RecursionError):  # what JSON cannot encode, such as half a surrogate pair
        line = _encoded(what)
        if len(line) <= MAX_LINE:
            return line
        what = msgspec.to_builtins(what, enc_hook=str)
        for length in TEXT_LENGTHS:
            line = _encoded({**_shortened(what, length), "truncated": True})
            if len(line) <= MAX_LINE:
                return line
    return _encoded({"time": _now(), "level": level, "event": ascii(event)[1:-1][: TEXT_LENGTHS[1]], "truncated": True})


def _encoded(what: dict[str, Any]) -> bytes:
    return _encode(what) + b"\n"


def _shortened(value: Any, length: int) -> Any:
    """Return the value with the middle of long texts, and the end of long lists and objects, left out."""
    if isinstance(value, str):
        half = length // 2
        return value if len(value) <= length else f"{value[:half]}…{value[-half:]}"
    if isinstance(value, list):
        return [_shortened(item, length) for item in value[: length // 16]]
    if isinstance(value, dict):
        return {name[:length]: _shortened(item, length) for name, item in [*value.items()][:length]}
    return value


def _now() -> str:
    """Return the time in UTC, to the millisecond."""
    seconds, milliseconds = divmod(time_ns() // 1_000_000, 1000)
    return f"{_date_and_time(seconds)}.{milliseconds:03}+00:00"


@lru_cache(maxsize=1)
def _date_and_time(seconds: int) -> str:
    """Format seconds since 1970; a time that cannot be written becomes the nearest that can."""
    return datetime.fromtimestamp(min(max(seconds, 0), LAST_SECOND), UTC).replace(tzinfo=None).isoformat()


def info(event: str, **fields: Any) -> None:
    """Log what is in order."""
    write("info", event, **fields)


def warning(event: str, **fields: Any) -> None:
    """Log what somebody should look at."""
    write("warning", event, **fields)


def error(event: str, **fields: Any) -> None:
    """Log what failed."""
    write("error", event, **fields)


class LibraryHandler(logging.Handler):
    """A logging handler that writes what libraries log in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, with the traceback if there is one."""
        fields = {"logger": record.name}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        write(record.levelname.lower(), record.getMessage(), **fields)


def configure() -> None:
    """Log the warnings and errors of libraries in our form."""
    logging.captureWarnings(capture=True)
    logging.basicConfig(handlers=[LibraryHandler()], level=logging.WARNING, force=True)
