"""Snapshot, settings and memory in; a decision with its sentence out.

The order of the law, each step able to stop only what is less safe than it:
    votes       of all policies the largest answer wins; a demand that is not fully known never votes for fewer
    bounds      replicas.min <= count <= replicas.max; outside of them the count is mended whatever the signals say
    cooldown    a rest after the last scaling, per direction; mending the bounds upwards does not wait
    obstacle    Nomad would refuse (deployment, job missing or stopped): the intent is kept and decided again next pass
    drain       fewer replicas only after the victims are drained
Pure: no clock, no I/O; a simulator can drive it with a virtual one. It does not act and does not read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from autoscaler.capacity import Capacity, Replica
from autoscaler.drain import NO_DRAIN, Drain, Patience, requests_left, settle, step, survivors
from autoscaler.signals import Signal, Unknown
from autoscaler.target import Vote, vote
from fleet.model import Autoscaler, Model

Direction = Literal["up", "down", "none"]
_NOTICE_INTERVALS = 2


@dataclass(frozen=True, slots=True)
class Settings:
    model: Model
    autoscaler: Autoscaler


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model at one moment. `at` and `last_scaled_at` in seconds since the epoch, -inf where the job was never scaled.

    `obstacle` says why Nomad takes no scaling now, or is empty.
    """

    at: float
    capacity: Capacity
    signals: Mapping[str, Signal] = field(default_factory=dict)
    last_scaled_at: float = -math.inf
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next. Cooldowns are not here: they are read from Nomad's own scaling events."""

    drain: Drain = NO_DRAIN


@dataclass(frozen=True, slots=True)
class Decision:
    """`desired` is the count that is wanted after bounds and cooldowns, `order` the one to ask Nomad for in this pass.

    `order` stays at `current` while an obstacle or a drain stands before it. `clamps` name what changed the policies' answer.
    """

    model: str
    current: int
    desired: int
    order: int
    direction: Direction
    sentence: str
    clamps: tuple[str, ...]
    memory: Memory

    @property
    def scales(self) -> bool:
        return self.order != self.current

    @property
    def key(self) -> tuple[object, ...]:
        """Two decisions with the same key are the same news."""
        return (self.current, self.desired, self.order, self.clamps, self.memory.drain.phase)


@dataclass(frozen=True, slots=True)
class _Want:
    """A count on its way through the law. `must` is set where the bounds demand it."""

    count: int
    why: str
    clamps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    must: bool = False


def decide(snapshot: Snapshot, settings: Settings, memory: Memory) -> Decision:
    """Never raises; the same arguments give the same decision."""
    spared = survivors(memory.drain, snapshot.capacity)
    memory = Memory(settle(memory.drain, snapshot.capacity))
    want = _rested(_bounded(_voted(snapshot, settings), snapshot, settings.model), snapshot, settings.autoscaler)
    if spared:
        want = replace(want, notes=(*want.notes, f"Nomad stopped others than {_indexes(spared)}, which serve again"))
    current = snapshot.capacity.desired
    direction: Direction = "up" if want.count > current else "down" if want.count < current else "none"
    if direction != "none" and snapshot.obstacle:
        return _decision(snapshot, settings, want, Memory(_abandoned(memory.drain)), order=current, direction=direction)
    if settings.autoscaler.shadow:
        return _decision(snapshot, settings, want, Memory(), order=current, direction=direction)
    drain = _drained(snapshot, settings.autoscaler, want, direction, memory.drain)
    order = want.count if direction != "down" or drain.phase in ("due", "none") else current
    return _decision(snapshot, settings, want, Memory(drain), order=order, direction=direction)


def _voted(snapshot: Snapshot, settings: Settings) -> _Want:
    votes = [
        vote(
            policy,
            settings.model.capacity,
            snapshot.signals.get(policy.signal, Unknown("was not read")),
            current=snapshot.capacity.desired,
            window_s=settings.autoscaler.window_s,
        )
        for policy in settings.model.policy
    ]
    if not votes:
        return _Want(settings.model.replicas.min, "no policy, the minimum is kept")
    safest = max(votes, key=_safety)
    return _Want(safest.wanted, safest.why)


def _safety(ballot: Vote) -> tuple[int, bool]:
    """More replicas are safer; of equal answers the one that forbids to go down says why."""
    return ballot.wanted, not ballot.may_go_down


def _bounded(want: _Want, snapshot: Snapshot, model: Model) -> _Want:
    low, high = model.replicas.min, model.replicas.max
    current = snapshot.capacity.desired
    count = min(max(want.count, low), high)
    must = not low <= current <= high
    if count == want.count:
        return replace(want, must=must)
    limit = f"raised to the minimum {low}" if count > want.count else f"limited to the maximum {high}"
    return replace(want, count=count, must=must, clamps=("min" if count > want.count else "max",), notes=(f"{want.count} {limit}",))


def _rested(want: _Want, snapshot: Snapshot, autoscaler: Autoscaler) -> _Want:
    current = snapshot.capacity.desired
    if want.count == current or (want.must and want.count > current):
        return want
    rest_s = autoscaler.cooldown_up_s if want.count > current else autoscaler.cooldown_down_s
    left_s = rest_s - max(0.0, snapshot.at - snapshot.last_scaled_at)
    if left_s <= 0:
        return want
    note = f"wants {want.count}, cooldown for {math.ceil(left_s)} s more"
    return replace(want, count=current, clamps=(*want.clamps, "cooldown"), notes=(*want.notes, note))


def _drained(snapshot: Snapshot, autoscaler: Autoscaler, want: _Want, direction: Direction, drain: Drain) -> Drain:
    victims = snapshot.capacity.victims(want.count) if direction == "down" else ()
    patience = Patience(notice_s=_NOTICE_INTERVALS * autoscaler.interval_s, longest_s=autoscaler.drain_s)
    return step(drain, victims, snapshot.at, patience)


def _abandoned(drain: Drain) -> Drain:
    return drain if drain.phase == "stopping" else NO_DRAIN


def _decision(snapshot: Snapshot, settings: Settings, want: _Want, memory: Memory, *, order: int, direction: Direction) -> Decision:
    return Decision(
        model=settings.model.name,
        current=snapshot.capacity.desired,
        desired=want.count,
        order=order,
        direction=direction,
        sentence=_sentence(snapshot, settings, want, memory.drain),
        clamps=want.clamps,
        memory=memory,
    )


def _sentence(snapshot: Snapshot, settings: Settings, want: _Want, drain: Drain) -> str:
    current = snapshot.capacity.desired
    change = f"{current} -> {want.count}" if want.count != current else f"stays at {current}"
    shadow = ("shadow mode, nothing is changed",) if settings.autoscaler.shadow else ()
    rest = (*want.notes, *_hindrances(snapshot, settings.autoscaler, want, drain), *shadow)
    return "; ".join((f"{settings.model.name} {change}: {want.why}", *rest))


def _hindrances(snapshot: Snapshot, autoscaler: Autoscaler, want: _Want, drain: Drain) -> tuple[str, ...]:
    capacity = snapshot.capacity
    said: list[str] = []
    if snapshot.obstacle:
        said.append(f"waits: {snapshot.obstacle}" if want.count != capacity.desired else snapshot.obstacle)
    if capacity.missing:
        said.append(f"{capacity.missing} of {capacity.desired} not placed: {capacity.missing_why}")
    if drain.phase in ("draining", "due"):
        said.append(_drain_told(snapshot, autoscaler, drain))
    return tuple(said)


def _drain_told(snapshot: Snapshot, autoscaler: Autoscaler, drain: Drain) -> str:
    victims = [r for r in snapshot.capacity.replicas if r.alloc_id in drain.victims]
    which = _indexes(victims)
    waited_s = snapshot.at - drain.since
    left = requests_left(victims)
    told = "1 request" if left == 1 else f"{left:g} requests"
    if drain.phase == "draining":
        return f"draining {which} first, {told} left, {waited_s:.0f} s of at most {autoscaler.drain_s:g} s"
    return f"drained {which} in {waited_s:.0f} s" if not left else f"stops {which} with {told} after {waited_s:.0f} s"


def _indexes(replicas: Sequence[Replica]) -> str:
    return ", ".join(f"[{replica.index}]" for replica in replicas)
