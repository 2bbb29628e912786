"""What becomes a Datadog event, and what is no news."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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


def test_a_replica_that_became_warm_is_told_with_its_cold_start_and_one_that_never_did_with_the_reason() -> None:
    told = Told()
    Announcer("demo", told).say(replace(status(), started_s=(612.4,), failed=("exit code 1",)))
    assert told.events == [
        ("small-model has a replica more that is warm", "placed to passing in 612s", "success"),
        ("small-model: a replica never became warm", "exit code 1", "warning"),
    ]


def test_of_several_autoscalers_the_one_that_leads_tells_and_a_new_leader_knows_what_was_before() -> None:
    told, leads = Told(), [False]
    announcer = Announcer("demo", told, lambda: leads[0])
    announcer.say(status())
    announcer.say(status(level="failure"))
    assert told.events == []
    leads[0] = True
    announcer.say(status(level="low"))
    assert [title for title, _, _ in told.events] == ["small-model is at level low"]


def test_a_note_is_told() -> None:
    told = Told()
    Announcer("demo", told).note("leads, term 1")
    assert told.events == [("autoscaler of demo", "leads, term 1", "info")]
