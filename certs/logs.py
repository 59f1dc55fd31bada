"""One JSON object a line on stderr: time, level, event, and the fields of the event."""

import sys
from datetime import UTC, datetime
from typing import Any

import msgspec


def info(event: str, **fields: Any) -> None:
    """Something was changed, or begins, or ends."""
    _write("info", event, **fields)


def error(event: str, **fields: Any) -> None:
    """Something could not be done."""
    _write("error", event, **fields)


def _write(level: str, event: str, **fields: Any) -> None:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    sys.stderr.buffer.write(msgspec.json.encode({"time": time, "level": level, "event": event, **fields}) + b"\n")
    sys.stderr.buffer.flush()
