"""The drain machine, row by row of its table."""

from __future__ import annotations

import typing

import pytest

from autoscaler.capacity import Capacity, Replica
from autoscaler.drain import NO_DRAIN, TABLE, Drain, Event, Patience, Phase, ordered, settle, step, survivors
from autoscaler.signals import Known, Unknown
from tests.autoscaler.build import NOW, replica

PATIENCE = Patience(notice_s=20, longest_s=120)
IDLE, BUSY, SILENT = (replica(1, requests=signal) for signal in (Known(0, 0), Known(2, 0), Unknown("timed out")))
LOADING = replica(1, passing=False, requests=Unknown("was not asked yet"))


def at(phase: Phase) -> Drain:
    return NO_DRAIN if phase == "none" else Drain(phase, ("alloc-1",), NOW)


@pytest.mark.parametrize(
    ("phase", "victim", "waited_s", "after"),
    [
        ("none", IDLE, 0, "draining"),
        ("draining", BUSY, 60, "draining"),
        ("draining", SILENT, 60, "draining"),  # silence is not idleness
        ("draining", IDLE, 10, "draining"),  # the routers may not know yet
        ("draining", IDLE, 20, "due"),
        ("draining", LOADING, 20, "due"),  # nothing is sent to what does not pass
        ("draining", BUSY, 120, "due"),
        ("draining", None, 60, "none"),
        ("due", IDLE, 60, "due"),  # the order did not go through
        ("due", BUSY, 60, "draining"),
        ("due", None, 60, "none"),
        ("stopping", IDLE, 60, "stopping"),
        ("stopping", None, 60, "stopping"),
        ("none", None, 0, "none"),
    ],
)
def test_next_phase(phase: Phase, victim: Replica | None, waited_s: float, after: Phase) -> None:
    assert step(at(phase), [victim] if victim else [], NOW + waited_s, PATIENCE).phase == after


def test_the_table_answers_every_event_in_every_phase() -> None:
    assert set(TABLE) == {(phase, event) for phase in typing.get_args(Phase) for event in typing.get_args(Event)}


def test_a_new_victim_starts_the_wait_afresh() -> None:
    drain = step(at("draining"), [replica(1), replica(2)], NOW + 100, PATIENCE)
    assert (drain.victims, drain.since) == (("alloc-1", "alloc-2"), NOW + 100)


def test_a_victim_less_keeps_the_wait() -> None:
    both = Drain("draining", ("alloc-1", "alloc-2"), NOW)
    assert step(both, [replica(2)], NOW + 20, PATIENCE) == Drain("due", ("alloc-2",), NOW)


def test_only_a_due_drain_becomes_stopping() -> None:
    assert [ordered(at(phase)).phase for phase in ("none", "draining", "due")] == ["none", "draining", "stopping"]


def test_stopping_ends_when_no_more_are_placed_than_desired() -> None:
    stopping = at("stopping")
    assert settle(stopping, Capacity(1, (replica(0), replica(1)))) == stopping
    assert settle(stopping, Capacity(1, (replica(0),))) == NO_DRAIN


def test_survivors_are_victims_that_outlived_the_scale_in() -> None:
    assert survivors(at("stopping"), Capacity(1, (replica(0),))) == ()
    assert survivors(at("stopping"), Capacity(1, (replica(1),))) == (replica(1),)
