"""What becomes a Datadog event, and what is no news."""

from __future__ import annotations

from dataclasses import dataclass, field

from autoscaler.announce import Announcer
from autoscaler.board import Status
from fleet.state import Level
from tests.autoscaler.build import NOW


@dataclass
class Told:
    events: list[tuple[str, str, str]] = field(default_factory=list)

    def send(self, title: str, text: str, kind: str, tags: tuple[str, ...]) -> None:
        assert "fleet:demo" in tags
        self.events.append((title, text, kind))


def status(*, done: str = "", level: Level = "low") -> Status:
    return Status("small-model", NOW, "the sentence", 2, done=done, level=level)


def test_only_what_was_done_and_failure_and_its_end_are_told() -> None:
    told = Told()
    announcer = Announcer("demo", told)
    for each in (
        status(),
        status(level="high"),
        status(done="1 -> 2"),
        status(level="failure"),
        status(level="failure"),
        status(level="low"),
    ):
        announcer.say(each)
    assert told.events == [
        ("small-model scaled 1 -> 2", "the sentence", "info"),
        ("small-model is at level failure", "the sentence", "error"),
        ("small-model is at level low", "the sentence", "success"),
    ]


def test_a_note_is_told() -> None:
    told = Told()
    Announcer("demo", told).note("leads, term 1")
    assert told.events == [("autoscaler of demo", "leads, term 1", "info")]
