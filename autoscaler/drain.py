"""Scale-in without losing a turn: a table machine that says when the victims may be stopped.

    state      event     next       meaning
    none       shrink    draining   publish the victims: routers send them nothing new
    draining   shrink    draining   still busy, or the routers had no time yet to see it
    draining   idle      due        no request left: scale now
    draining   overdue   due        the longest wait is over: scale now
    due        *         as draining: the order did not go through, it is decided afresh
    draining   grow      none       rebound, or no longer sure: publish an empty list
    stopping   *         stopping   the count is lowered, Nomad has not acted yet; `settle` ends it

`due` becomes `stopping` only by `ordered()`, when Nomad took the order. Pure; does not choose how many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.capacity import Capacity, Replica
from autoscaler.signals import Unknown

Phase = Literal["none", "draining", "due", "stopping"]
Event = Literal["shrink", "idle", "overdue", "grow"]

TABLE: Mapping[tuple[Phase, Event], Phase] = {
    ("none", "shrink"): "draining",
    ("none", "idle"): "draining",  # idle already, but the routers do not know yet
    ("none", "overdue"): "draining",
    ("none", "grow"): "none",
    ("draining", "shrink"): "draining",
    ("draining", "idle"): "due",
    ("draining", "overdue"): "due",
    ("draining", "grow"): "none",
    ("due", "shrink"): "draining",
    ("due", "idle"): "due",
    ("due", "overdue"): "due",
    ("due", "grow"): "none",
    ("stopping", "shrink"): "stopping",
    ("stopping", "idle"): "stopping",
    ("stopping", "overdue"): "stopping",
    ("stopping", "grow"): "stopping",
}


@dataclass(frozen=True, slots=True)
class Drain:
    """`victims` are allocation ids; `since` is when they were first published, in seconds since the epoch."""

    phase: Phase = "none"
    victims: tuple[str, ...] = ()
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Patience:
    """`notice_s`: routers need this long to see the list. `longest_s`: then the victims are stopped with what they still run."""

    notice_s: float
    longest_s: float


NO_DRAIN = Drain()


def step(drain: Drain, victims: Sequence[Replica], now: float, patience: Patience) -> Drain:
    """The next state. `victims` are those of the scale-in that is wanted now; none: it is not wanted."""
    ids = tuple(sorted(victim.alloc_id for victim in victims))
    if not set(ids) <= set(drain.victims):
        return Drain("draining", ids, now)  # the routers have not seen all of them, so the wait begins afresh
    drain = replace(drain, since=min(drain.since, now))  # the clock may have been put back
    phase = TABLE[drain.phase, _event(drain, victims, now, patience)]
    if phase == "stopping":
        return drain
    return Drain(phase, ids, drain.since) if phase != "none" else NO_DRAIN


def settle(drain: Drain, capacity: Capacity) -> Drain:
    """Ends `stopping` once no more replicas are placed than desired: a victim that is still there serves again."""
    if drain.phase == "stopping" and capacity.placed <= capacity.desired:
        return NO_DRAIN
    return drain


def survivors(drain: Drain, capacity: Capacity) -> tuple[Replica, ...]:
    """Victims that are still placed although the scale-in has ended: Nomad stopped others in their stead."""
    if drain.phase != "stopping" or settle(drain, capacity).phase != "none":
        return ()
    return tuple(replica for replica in capacity.replicas if replica.alloc_id in drain.victims)


def ordered(drain: Drain) -> Drain:
    return replace(drain, phase="stopping") if drain.phase == "due" else drain


def requests_left(victims: Sequence[Replica]) -> float:
    """Of the victims that answered."""
    return sum(v.requests.value for v in victims if v.passing and not isinstance(v.requests, Unknown))


def _event(drain: Drain, victims: Sequence[Replica], now: float, patience: Patience) -> Event:
    if not victims:
        return "grow"
    waited_s = now - drain.since
    if waited_s >= max(patience.longest_s, patience.notice_s):
        return "overdue"
    return "idle" if waited_s >= patience.notice_s and all(map(_is_idle, victims)) else "shrink"


def _is_idle(victim: Replica) -> bool:
    """A victim that Consul does not report passing gets no request; of the others silence is not idleness."""
    return not victim.passing or (not isinstance(victim.requests, Unknown) and victim.requests.value == 0)
