"""The log: one JSON object a line, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("fourhands.serving")
_QUIET = ("python_multipart", "PIL")  # what they say about a body or a picture, its answer says
NAMES = (
    *(LOGGER.name, "fourhands", "common", "uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access", "asyncio"),
    *("fastapi", *_QUIET),
)
"""The loggers that `set_up` changes."""


class JsonLines(logging.Formatter):
    """A record as one line: `time`, `level`, `message`, the fields of `extra={"fields": ...}`, and `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        row |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=True, default=str)


def log(level: int, message: str, *, error: BaseException | None = None, **fields: Any) -> None:
    """Write one line.

    Args:
        level: such as `logging.INFO`.
        message: what happened.
        error: an unexpected exception, whose traceback the line has.
        fields: what else the line says; None is left out.
    """
    kept = {name: value for name, value in fields.items() if value is not None}
    LOGGER.log(level, message, exc_info=error, extra={"fields": kept})


def set_up() -> None:
    """Send the log of the service, and of the libraries that it stands on, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in NAMES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.CRITICAL if name in _QUIET else logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").handlers = [logging.NullHandler()]  # the service writes a line of its own
