"""The log: one JSON line per decision that says something new, one every so often where nothing changes, and notes between them.

`sentence` is the text of Nomad's scaling event and of /status. A line is written at once, so that it survives a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from autoscaler.board import Status, inputs


@dataclass(slots=True)
class Journal:
    """Writes a model's status when its news differ, and each `every`-th status all the same."""

    out: TextIO
    every: int = 30
    _news: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _silent: dict[str, int] = field(default_factory=dict)

    def say(self, status: Status) -> None:
        silent = self._silent.get(status.model, 0) + 1
        if status.done or self._news.get(status.model) != status.news or silent >= self.every:
            self.out.write(line(status) + "\n")
            self.out.flush()
            silent = 0
        self._news[status.model], self._silent[status.model] = status.news, silent

    def note(self, event: str, text: str, at: float) -> None:
        """Something that is no decision: who leads, a refit. `at`: seconds since the epoch."""
        self.out.write(_encoded({"at": _time(at), "event": event, "sentence": text}) + "\n")
        self.out.flush()


def line(status: Status) -> str:
    return _encoded({"at": _time(status.at), "event": "decision", "sentence": status.sentence, **inputs(status)})


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _encoded(told: Mapping[str, object]) -> str:
    return msgspec.json.encode(told).decode()
