"""Decisions as Datadog events: what was done, what became warm or did not, what fell into failure, and who leads.

Without an agent nothing is sent. Of several autoscalers all see what happens to a model, and the one that leads says so.

Only news: an event is something a person looks at beside a graph, and what happens every ten seconds stands in metrics and log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from autoscaler.board import Status
from fleet.state import Level
from fleet.units import format_duration

Kind = Literal["info", "success", "warning", "error"]


class Events(Protocol):
    """`fleet.statsd.Events` is one."""

    def send(self, title: str, text: str, kind: Kind, tags: tuple[str, ...]) -> None: ...


@dataclass(slots=True)
class Announcer:
    fleet: str
    events: Events
    leads: Callable[[], bool] = lambda: True
    _levels: dict[str, Level] = field(default_factory=dict)

    def say(self, status: Status) -> None:
        before = self._levels.get(status.model)
        self._levels[status.model] = status.level
        if self.leads():
            for title, text, kind in _news(status, before):
                self.events.send(title, text, kind, (f"fleet:{self.fleet}", f"model:{status.model}"))

    def note(self, text: str) -> None:
        self.events.send(f"autoscaler of {self.fleet}", text, "info", (f"fleet:{self.fleet}",))


def _news(status: Status, before: Level | None) -> Iterator[tuple[str, str, Kind]]:
    """Title, text and kind of what people should see. `before`: the level until now."""
    model = status.model
    if status.done:
        yield f"{model} scaled {status.done}", status.sentence, "info"
    for seconds in status.started_s:
        yield f"{model} has a replica more that is warm", f"placed to passing in {format_duration(round(seconds))}", "success"
    for why in status.failed:
        yield f"{model}: a replica never became warm", why, "warning"
    if before is not None and before != status.level and "failure" in (before, status.level):
        yield f"{model} is at level {status.level}", status.sentence, "error" if status.level == "failure" else "success"
