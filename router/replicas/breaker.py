"""The breaker of one replica: passive ejection, whatever Consul says.

                 3rd FAILURE in a row
      ┌────────┐ ───────────────────► ┌──────┐   60 s *, then PROBE ┌───────────┐
      │ CLOSED │                      │ OPEN │ ───────────────────► │ HALF_OPEN │
      └────────┘ ◄──────────┐         └──────┘ ◄─────────────────── └─────┬─────┘
        │  ▲                │            ▲        PROBE_FAILED (60 s more) │
        └──┘ SUCCESS        │            └──────── PROBE_LEFT (at once) ───┤
        (failures = 0)      └───────────────────────── PROBE_OK ───────────┘

* or as soon as it is REACHED again after it had refused connections.

Law: OPEN lets nobody through before its time and then exactly one; HALF_OPEN lets nobody through, a pinned session neither.
What ends late (begun before the ejection) changes nothing while OPEN or HALF_OPEN. Values only: time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

FAILURES = 3
OPEN_S = 60.0


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Event(Enum):
    SUCCESS = "success"
    FAILURE = "failure"
    REACHED = "reached"
    """It had refused connections and takes them again: see router.following.knock."""
    PROBE = "probe"
    """The one request of a half-open breaker starts."""
    PROBE_OK = "probe-ok"
    PROBE_FAILED = "probe-failed"
    PROBE_LEFT = "probe-left"
    """The probe ended without a verdict: its caller went away."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """`open_until` is in the caller's monotonic seconds."""

    state: State = State.CLOSED
    failures: int = 0
    open_until: float = 0.0


CLEAN: Final = Breaker()
_HALF: Final = Breaker(State.HALF_OPEN)
_Step = Callable[[Breaker, float], Breaker]


def allows(breaker: Breaker, now: float) -> bool:
    """A request may start."""
    if breaker.state is State.CLOSED:
        return True
    return breaker.state is State.OPEN and now >= breaker.open_until


def step(breaker: Breaker, event: Event, now: float) -> Breaker:
    """The breaker after an event; the same one where the table has no row."""
    row = _TABLE.get((breaker.state, event))
    return breaker if row is None else row(breaker, now)


def _clean(_breaker: Breaker, _now: float) -> Breaker:
    return CLEAN


def _strike(breaker: Breaker, now: float) -> Breaker:
    failures = breaker.failures + 1
    return _open(breaker, now) if failures >= FAILURES else Breaker(State.CLOSED, failures)


def _open(_breaker: Breaker, now: float) -> Breaker:
    return Breaker(State.OPEN, FAILURES, now + OPEN_S)


def _half(_breaker: Breaker, _now: float) -> Breaker:
    return _HALF


def _open_again_now(_breaker: Breaker, now: float) -> Breaker:
    return Breaker(State.OPEN, FAILURES, now)


_TABLE: Final[dict[tuple[State, Event], _Step]] = {
    (State.CLOSED, Event.SUCCESS): _clean,
    (State.CLOSED, Event.FAILURE): _strike,
    (State.OPEN, Event.PROBE): _half,
    (State.OPEN, Event.REACHED): _open_again_now,
    (State.HALF_OPEN, Event.PROBE_OK): _clean,
    (State.HALF_OPEN, Event.PROBE_FAILED): _open,
    (State.HALF_OPEN, Event.PROBE_LEFT): _open_again_now,
}
