"""Decisions as Datadog events: what was done, what fell into failure, and who leads. Without an agent nothing is sent.

Only news: an event is something a person looks at beside a graph, and what happens every ten seconds stands in metrics and log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from autoscaler.board import Status
from fleet.state import Level

Kind = Literal["info", "success", "warning", "error"]


class Events(Protocol):
    """`fleet.statsd.Events` is one."""

    def send(self, title: str, text: str, kind: Kind, tags: tuple[str, ...]) -> None: ...


@dataclass(slots=True)
class Announcer:
    fleet: str
    events: Events
    _levels: dict[str, Level] = field(default_factory=dict)

    def say(self, status: Status) -> None:
        tags = (f"fleet:{self.fleet}", f"model:{status.model}")
        if status.done:
            self.events.send(f"{status.model} scaled {status.done}", status.sentence, "info", tags)
        before = self._levels.get(status.model)
        self._levels[status.model] = status.level
        if before is not None and before != status.level and "failure" in (before, status.level):
            kind: Kind = "error" if status.level == "failure" else "success"
            self.events.send(f"{status.model} is at level {status.level}", status.sentence, kind, tags)

    def note(self, text: str) -> None:
        self.events.send(f"autoscaler of {self.fleet}", text, "info", (f"fleet:{self.fleet}",))
