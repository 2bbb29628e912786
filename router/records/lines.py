"""The router's log: one JSON object a line, so that Datadog need not guess.

Errors and changes of state go through `logging`; answered requests have a log of their own (access.py). Where ddtrace runs, its
correlation fields (dd.trace_id, dd.span_id, dd.service, dd.env, dd.version) are passed on. Nobody's prompt is ever in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, TextIO

import msgspec

from router.tally import UNKNOWN

_TRACE: Final = ("dd.trace_id", "dd.span_id", "dd.service", "dd.env", "dd.version")


class JsonLines(logging.Formatter):
    """A log record as one line; `extra={"event": ..., "model": ...}` become fields of it. `counted(model, bytes)` hears of each."""

    counted: Callable[[str, int], None] | None = None

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("event", "model", *_TRACE):
            if (value := getattr(record, name, None)) is not None:
                line[name] = value
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        data = msgspec.json.encode(line, enc_hook=str)
        if self.counted is not None:
            self.counted(line.get("model", UNKNOWN), len(data) + 1)
        return data.decode()


def speak_json(stream: TextIO) -> JsonLines:
    """Makes the whole process log in this form."""
    handler = logging.StreamHandler(stream)
    form = JsonLines()
    handler.setFormatter(form)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return form
