"""Snapshots, settings and memories in; decisions with their sentences out.

The order of the law, each step able to stop only what is less safe than it:
    votes       of all policies the largest answer wins; a demand that is not fully known never votes for fewer
    bounds      replicas.min <= count <= replicas.max; outside of them the count is mended whatever the signals say
    budget      GPUs of all models together, shared by priority
    rest        cooldown after the last scaling, per direction; after as many in an hour as Nomad can go back over, the way down
                takes its share of an hour for each step. Mending the bounds upwards does not wait, nor does the first request
                after an idle time
    warm        Nomad stops the highest indexes, whoever serves: no warm replica goes for one that does not pass
    obstacle    Nomad would refuse (deployment, job missing or stopped): the intent is kept and decided again next pass
    again       where Nomad gave up placing what is missing, the same count is ordered anew: it would not be placed when there is room
    drain       fewer replicas only after the victims are drained
Where hands are off (shadow mode, paused, another one leads) everything is decided and nothing ordered.
Pure: no clock, no I/O; a simulator can drive it with a virtual one. It does not act and does not read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from autoscaler.budget import Wish, shares
from autoscaler.capacity import Capacity, Replica
from autoscaler.drain import NO_DRAIN, Drain, Patience, requests_left, settle, step, survivors
from autoscaler.forecast.question import Forecast
from autoscaler.policies import idle
from autoscaler.policies.ballot import votes
from autoscaler.policies.vote import View, Vote, safest
from autoscaler.signals import CONCURRENCY, REQUESTS_PER_MIN, Signal, Unknown
from fleet.model import Autoscaler, Model

Direction = Literal["up", "down", "none"]
_NOTICE_INTERVALS = 2
_HOUR_S = 3600.0
_AGAIN_S = 1200.0
_SKEW_S = 60.0  # between the clocks of machines that are well
_TOO_OLD = 2.0  # cold starts; a replica that does not pass by then is broken


@dataclass(frozen=True, slots=True)
class Settings:
    model: Model
    autoscaler: Autoscaler


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model at one moment; times in seconds since the epoch.

    scaled_at: when the job was last scaled, oldest first, as far back as Nomad knows; empty where it never was.
    obstacle: why Nomad takes no scaling now, or empty. hands_off: why we order none now, or empty.
    gave_up: why Nomad no longer tries to place what is missing, or empty.
    one: what one replica carries, by demand; empty: what fleet.toml says. lead_s: order to warm; 0: what fleet.toml says.
    rules: votes of rules over several models. remarks: what a reader of the sentence should know besides.
    """

    at: float
    capacity: Capacity
    signals: Mapping[str, Signal] = field(default_factory=dict)
    scaled_at: tuple[float, ...] = ()
    obstacle: str = ""
    hands_off: str = ""
    gave_up: str = ""
    one: Mapping[str, float] = field(default_factory=dict)
    lead_s: float = 0.0
    forecast: Forecast | Unknown = Unknown("nobody forecasts this model")
    rules: tuple[Vote, ...] = ()
    remarks: tuple[str, ...] = ()

    def carries(self, model: Model) -> Mapping[str, float]:
        return self.one or {CONCURRENCY: float(model.capacity.concurrency), REQUESTS_PER_MIN: model.capacity.requests_per_min}


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next. Cooldowns are not here: they are read from Nomad's own scaling events.

    `busy_at`: of policies.idle.
    """

    drain: Drain = NO_DRAIN
    busy_at: float = idle.NEVER


@dataclass(frozen=True, slots=True)
class Case:
    """One model to be decided about."""

    model: Model
    snapshot: Snapshot
    memory: Memory


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
    votes: tuple[Vote, ...] = ()
    reason: str = "minimum"
    """What had the last word, for counting: the kind of the policy that won, or the clamp that changed its answer."""
    again: bool = False
    """The count that there is is ordered anew."""

    @property
    def scales(self) -> bool:
        return self.order != self.current or self.again

    @property
    def key(self) -> tuple[object, ...]:
        """Two decisions with the same key are the same news."""
        return (self.current, self.desired, self.order, self.clamps, self.memory.drain.phase)


@dataclass(frozen=True, slots=True)
class _Want:
    """A count on its way through the law. `must` is set where the bounds demand it, or somebody waits for the first replica."""

    count: int
    why: str
    may_go_down: bool = True
    clamps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    must: bool = False
    votes: tuple[Vote, ...] = ()
    rule: str = "minimum"


def decide(snapshot: Snapshot, settings: Settings, memory: Memory) -> Decision:
    """One model by itself. Never raises; the same arguments give the same decision."""
    return decide_all([Case(settings.model, snapshot, memory)], settings.autoscaler)[0]


def decide_all(cases: Sequence[Case], autoscaler: Autoscaler, *, gpus_elsewhere: int = 0) -> tuple[Decision, ...]:
    """One decision per case, in order. `gpus_elsewhere`: GPUs of models that are not among the cases, because they were not read."""
    remembered = [_remembered(case) for case in cases]
    wants = [_bounded(_voted(case, autoscaler), case.snapshot, case.model) for case in remembered]
    if autoscaler.gpu_budget:
        wants = _within_budget(remembered, wants, autoscaler, gpus_elsewhere)
    return tuple(_decided(case, want, autoscaler) for case, want in zip(remembered, wants, strict=True))


def _decided(case: Case, want: _Want, autoscaler: Autoscaler) -> Decision:
    snapshot, drain = case.snapshot, settle(case.memory.drain, case.snapshot.capacity)
    want = _kept_warm(_rested(want, snapshot, autoscaler), snapshot.capacity)
    if spared := survivors(case.memory.drain, snapshot.capacity):
        want = replace(want, notes=(*want.notes, f"Nomad stopped others than {_indexes(spared)}, which serve again"))
    current = snapshot.capacity.desired
    direction: Direction = "up" if want.count > current else "down" if want.count < current else "none"
    if direction != "none" and snapshot.obstacle:
        return _decision(case, autoscaler, want, _abandoned(drain), order=current, direction=direction)
    if _hands_off(snapshot, autoscaler):
        return _decision(case, autoscaler, want, NO_DRAIN, order=current, direction=direction)
    drain = _drained(snapshot, autoscaler, want, direction, drain)
    order = want.count if direction != "down" or drain.phase in ("due", "none") else current
    made = _decision(case, autoscaler, want, drain, order=order, direction=direction)
    return replace(made, again=direction == "none" and not snapshot.obstacle and _again_in_s(snapshot) <= 0)


def _remembered(case: Case) -> Case:
    """The same case where nothing changes: most passes change nothing, and a replay has tens of thousands of them."""
    drain, last = case.memory.drain, case.memory.busy_at
    busy_at = idle.NEVER if case.model.replicas.min else idle.busy_at(last, _view(case, 0.0))
    return case if busy_at == last else Case(case.model, case.snapshot, Memory(drain, busy_at))


def _view(case: Case, window_s: float) -> View:
    model, snapshot = case.model, case.snapshot
    lead_s = snapshot.lead_s or model.cold_start_s
    return View(
        at=snapshot.at,
        current=snapshot.capacity.desired,
        ready=snapshot.capacity.ready,
        signals=snapshot.signals,
        one=snapshot.carries(model),
        window_s=window_s,
        lead_s=lead_s,
        forecast=snapshot.forecast,
        loading=sum(replica.state == "loading" for replica in snapshot.capacity.replicas) - len(_broken(snapshot, lead_s)),
    )


def _broken(snapshot: Snapshot, lead_s: float) -> Sequence[Replica]:
    """Those that have a node and do not pass, long after a cold start."""
    return [r for r in snapshot.capacity.replicas if r.state == "loading" and snapshot.at - r.since > _TOO_OLD * lead_s]


def _voted(case: Case, autoscaler: Autoscaler) -> _Want:
    ballots = (*votes(case.model, _view(case, autoscaler.window_s), case.memory.busy_at), *case.snapshot.rules)
    if not ballots:
        return _Want(case.model.replicas.min, "no policy, the minimum is kept")
    chosen = safest(ballots)
    wakes = chosen.at_once and chosen.wanted > case.snapshot.capacity.desired
    sure = all(vote.may_go_down for vote in ballots)
    return _Want(chosen.wanted, chosen.why, may_go_down=sure, must=wakes, votes=ballots, rule=chosen.rule)


def _bounded(want: _Want, snapshot: Snapshot, model: Model) -> _Want:
    low, high = model.replicas.min, model.replicas.max
    current = snapshot.capacity.desired
    count = min(max(want.count, low), high)
    must = want.must or not low <= current <= high
    if count == want.count:
        return want if must == want.must else replace(want, must=must)
    limit = f"raised to the minimum {low}" if count > want.count else f"limited to the maximum {high}"
    return replace(want, count=count, must=must, clamps=("min" if count > want.count else "max",), notes=(f"{want.count} {limit}",))


def _within_budget(cases: Sequence[Case], wants: Sequence[_Want], autoscaler: Autoscaler, elsewhere: int) -> list[_Want]:
    granted = shares([_wish(case, want) for case, want in zip(cases, wants, strict=True)], autoscaler.gpu_budget - elsewhere)
    return [_granted(want, count, autoscaler.gpu_budget) for want, count in zip(wants, granted, strict=True)]


def _wish(case: Case, want: _Want) -> Wish:
    current = case.snapshot.capacity.desired
    must = case.model.replicas.min if want.may_go_down else max(current, case.model.replicas.min)
    return Wish(case.model.gpus, case.model.priority, min(must, want.count), current, want.count)


def _granted(want: _Want, count: int, budget: int) -> _Want:
    if count == want.count:
        return want
    note = f"{want.count} limited to {count} by the budget of {budget} GPUs"
    return replace(want, count=count, clamps=(*want.clamps, "gpus"), notes=(*want.notes, note))


def _rested(want: _Want, snapshot: Snapshot, autoscaler: Autoscaler) -> _Want:
    current = snapshot.capacity.desired
    if want.count == current:
        return want
    scaled_at, ahead_s = _scaled_at(snapshot)
    if ahead_s:
        note = f"a scaling {ahead_s / 60:.0f} min ahead in Nomad is not counted: see to the clocks of its servers and of this machine"
        want = replace(want, notes=(*want.notes, note))
    within_hour = [at for at in scaled_at if snapshot.at - at < _HOUR_S]
    are_many = len(within_hour) >= autoscaler.scalings_per_hour
    if want.count > current:
        told = f"scaled {len(within_hour)} times in the last hour, more often than Nomad keeps versions to go back to"
        want = replace(want, notes=(*want.notes, *((told,) if are_many else ())))
        return want if want.must else _cooled(want, snapshot, autoscaler.cooldown_up_s)
    if not are_many:
        return _cooled(want, snapshot, autoscaler.cooldown_down_s)
    return _spaced(want, snapshot, within_hour, max(autoscaler.cooldown_down_s, _HOUR_S / autoscaler.scalings_per_hour))


def _spaced(want: _Want, snapshot: Snapshot, within_hour: Sequence[float], rest_s: float) -> _Want:
    """Fewer replicas once `rest_s` are over since the last scaling; a whole hour of what a spike had ordered would be dear."""
    left_s = rest_s - max(0.0, snapshot.at - max(within_hour))
    if left_s <= 0:
        return want
    note = f"wants {want.count}, but {len(within_hour)} scalings in the last hour are many: again in {math.ceil(left_s / 60)} min"
    return replace(want, count=snapshot.capacity.desired, clamps=(*want.clamps, "scalings"), notes=(*want.notes, note))


def _kept_warm(want: _Want, capacity: Capacity) -> _Want:
    """Fewer replicas only as far as those that stay pass: the lowest count above the wanted one for which as many do."""
    if want.must or want.count >= capacity.desired:
        return want
    needed = min(want.count, sum(replica.passing for replica in capacity.replicas))
    count = next((n for n in range(want.count, capacity.desired) if capacity.passing_below(n) >= needed), capacity.desired)
    if count == want.count:
        return want
    going = capacity.victims(want.count)
    cold = [replica for replica in capacity.replicas if not replica.passing and replica not in going]
    note = f"wants {want.count}, but {_indexes(cold)} would stay without passing"
    return replace(want, count=count, clamps=(*want.clamps, "warm"), notes=(*want.notes, note))


def _scaled_at(snapshot: Snapshot) -> tuple[Sequence[float], float]:
    """Times of scalings that can be, and how far ahead the latest other one is, or 0: one of a wrong clock would rest a model for long."""
    ahead_s = max(snapshot.scaled_at, default=-math.inf) - snapshot.at
    if ahead_s <= _SKEW_S:
        return snapshot.scaled_at, 0.0
    return [at for at in snapshot.scaled_at if at - snapshot.at <= _SKEW_S], ahead_s


def _cooled(want: _Want, snapshot: Snapshot, rest_s: float) -> _Want:
    left_s = rest_s - max(0.0, snapshot.at - max(_scaled_at(snapshot)[0], default=-math.inf))
    if left_s <= 0:
        return want
    note = f"wants {want.count}, cooldown for {math.ceil(left_s)} s more"
    return replace(want, count=snapshot.capacity.desired, clamps=(*want.clamps, "cooldown"), notes=(*want.notes, note))


def _again_in_s(snapshot: Snapshot) -> float:
    """Until what Nomad gave up placing is ordered anew: each order is a version of the job, and may be given up again."""
    if not (snapshot.gave_up and snapshot.capacity.missing):
        return math.inf
    return _AGAIN_S - max(0.0, snapshot.at - max(_scaled_at(snapshot)[0], default=-math.inf))


def _drained(snapshot: Snapshot, autoscaler: Autoscaler, want: _Want, direction: Direction, drain: Drain) -> Drain:
    victims = snapshot.capacity.victims(want.count) if direction == "down" else ()
    patience = Patience(notice_s=_NOTICE_INTERVALS * autoscaler.interval_s, longest_s=autoscaler.drain_s)
    return step(drain, victims, snapshot.at, patience)


def _abandoned(drain: Drain) -> Drain:
    return drain if drain.phase == "stopping" else NO_DRAIN


def _hands_off(snapshot: Snapshot, autoscaler: Autoscaler) -> str:
    return snapshot.hands_off or ("shadow mode, nothing is changed" if autoscaler.shadow else "")


def _decision(case: Case, autoscaler: Autoscaler, want: _Want, drain: Drain, *, order: int, direction: Direction) -> Decision:
    return Decision(
        model=case.model.name,
        current=case.snapshot.capacity.desired,
        desired=want.count,
        order=order,
        direction=direction,
        sentence=_sentence(case, autoscaler, want, drain),
        clamps=want.clamps,
        memory=Memory(drain, case.memory.busy_at),
        votes=want.votes,
        reason=want.clamps[-1] if want.clamps else want.rule,
    )


def _sentence(case: Case, autoscaler: Autoscaler, want: _Want, drain: Drain) -> str:
    current = case.snapshot.capacity.desired
    change = f"{current} -> {want.count}" if want.count != current else f"stays at {current}"
    off = _hands_off(case.snapshot, autoscaler)
    hindrances = (*_hindrances(case.snapshot, autoscaler, want, drain), *_broken_told(case))
    rest = (*want.notes, *hindrances, *case.snapshot.remarks, *((off,) if off else ()))
    return "; ".join((f"{case.model.name} {change}: {want.why}", *rest))


def _hindrances(snapshot: Snapshot, autoscaler: Autoscaler, want: _Want, drain: Drain) -> tuple[str, ...]:
    capacity = snapshot.capacity
    said: list[str] = []
    if snapshot.obstacle:
        said.append(f"waits: {snapshot.obstacle}" if want.count != capacity.desired else snapshot.obstacle)
    if capacity.missing:
        said.append(f"{capacity.missing} of {capacity.desired} not placed: {_missing_why(snapshot)}")
    if drain.phase in ("draining", "due"):
        said.append(_drain_told(snapshot, autoscaler, drain))
    return tuple(said)


def _broken_told(case: Case) -> Sequence[str]:
    """Nobody restarts an engine that runs and answers no check: Nomad is told not to, because cold starts look like that."""
    broken = _broken(case.snapshot, case.snapshot.lead_s or case.model.cold_start_s)
    stops = ", ".join(f"`nomad alloc stop {replica.alloc_id[:8]}`" for replica in broken)
    return (
        [f"{_indexes(broken)} does not pass, long after a cold start: look at the engine, or have it started anew: {stops}"]
        if broken
        else []
    )


def _missing_why(snapshot: Snapshot) -> str:
    if not snapshot.gave_up:
        return snapshot.capacity.missing_why
    left_min = math.ceil(max(0.0, _again_in_s(snapshot)) / 60)
    return f"Nomad gave up ({snapshot.gave_up}), ordered again" + (f" in {left_min} min" if left_min else "")


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
