"""One JSON object a line on stderr: time, level, event, and the fields of the event."""

import logging
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


class JsonFormatter(logging.Formatter):
    """Fields come with `extra=fields(…)`, whose values msgspec can encode."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line).decode()


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """What `extra` takes: fields of a line may have any name."""
    return {"fields": values}


def configure() -> None:
    """Log to stderr; libraries only where something is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("webhook").setLevel(logging.INFO)
    # A line a Pod: what no line shows need not be found out (docs.python.org, logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
