"""One JSON object a line on stderr: time, level, event, and the fields of the event.

Ours are written directly, for there is one for every Pod; what libraries log comes in the same form. A line is of 4096
bytes at the most: in a longer one, texts and lists are shortened, and `truncated` says so. Writing waits for nobody:
while stderr takes nothing, lines are dropped, and the next one that it takes is preceded by how many.
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

LINE: Final = 4096  # bytes, as many as a pipe takes in one go where it takes any: PIPE_BUF
LENGTHS: Final = (1024, 256, 64, 16)  # characters of a text, the first that do
LATEST: Final = 253402300799  # the last second of the year 9999
_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class _Stderr:
    """Where lines go, while that takes them."""

    def __init__(self) -> None:
        self._lock = Lock()  # followers write from other threads
        self._dropped = 0

    def write(self, line: bytes) -> None:
        """Write a line, or count it."""
        with self._lock:
            if self._dropped and _written(_line("warning", "log lines dropped", {"count": self._dropped})):
                self._dropped = 0
            if self._dropped or not _written(line):
                self._dropped += 1


def _written(line: bytes) -> bool:
    """Whether it could be written without waiting; nobody who reads the log is no reason to stop."""
    try:
        stream = sys.stderr.buffer
        descriptor = stream.fileno()
        return bool(_poll(descriptor).poll(0)) and os.write(descriptor, line) == len(line)
    except UnsupportedOperation:  # it is kept in memory
        return stream.write(line) == len(line)
    except (AttributeError, OSError, ValueError):  # there is none, or it is closed
        return False


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
    """The line, shortened until it is short enough."""
    what = {"time": _now(), "level": level, "event": event, **fields}
    with suppress(ValueError, OverflowError, RecursionError):  # what JSON cannot say, such as half a surrogate pair
        line = _encoded(what)
        if len(line) <= LINE:
            return line
        what = msgspec.to_builtins(what, enc_hook=str)
        for length in LENGTHS:
            line = _encoded({**_shortened(what, length), "truncated": True})
            if len(line) <= LINE:
                return line
    return _encoded({"time": _now(), "level": level, "event": ascii(event)[1:-1][: LENGTHS[1]], "truncated": True})


def _encoded(what: dict[str, Any]) -> bytes:
    return _encode(what) + b"\n"


def _shortened(value: Any, length: int) -> Any:
    """The same with the ends of long texts, and the first of the many items of lists and objects."""
    if isinstance(value, str):
        half = length // 2
        return value if len(value) <= length else f"{value[:half]}…{value[-half:]}"
    if isinstance(value, list):
        return [_shortened(item, length) for item in value[: length // 16]]
    if isinstance(value, dict):
        return {name[:length]: _shortened(item, length) for name, item in [*value.items()][:length]}
    return value


def _now() -> str:
    """The time in UTC, to the millisecond."""
    seconds, milliseconds = divmod(time_ns() // 1_000_000, 1000)
    return f"{_date_and_time(seconds)}.{milliseconds:03}+00:00"


@lru_cache(maxsize=1)
def _date_and_time(seconds: int) -> str:
    """Of the second so many after 1970; the nearest that can be written, for a clock that is wrong."""
    return datetime.fromtimestamp(min(max(seconds, 0), LATEST), UTC).replace(tzinfo=None).isoformat()


def info(event: str, **fields: Any) -> None:
    """Write what is as it should be."""
    write("info", event, **fields)


def warning(event: str, **fields: Any) -> None:
    """Write what somebody should look at."""
    write("warning", event, **fields)


def error(event: str, **fields: Any) -> None:
    """Write what could not be done."""
    write("error", event, **fields)


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
