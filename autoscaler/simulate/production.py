"""The autoscaler's own decide() on a virtual clock, as a policy of the replay: one decision a minute on a fleet that starts slowly.

What the product has is here: the rules of the model together, bounds, cooldowns, scalings an hour, GPU budget, draining. What is not
here is what a trace does not have: other models, failed starts, refusals of Nomad. Laws of the virtual world:
    clock     minute m is m x 60 s after the epoch; a decision sees what was observed before its minute
    signals   of the last minute, if it is known, else Unknown; a request takes the same part of a replica in every unit of demand
    fleet     `lead_min` from order to ready; the youngest goes first; what the first decision wants is there and warm
    drain     the requests of a victim end within its minute, so a scale-in takes effect in the minute that decides it
Pure but for the learner's own state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaler.capacity import Capacity, Replica
from autoscaler.decide import Case, Decision, Memory, Snapshot, decide_all
from autoscaler.drain import NO_DRAIN
from autoscaler.forecast.question import Forecast
from autoscaler.signals import CONCURRENCY, REQUESTS_PER_MIN, Known, Signal, Unknown
from autoscaler.simulate.forecasting import Forecasting
from fleet.model import Autoscaler, Model

REPLAYED = frozenset({CONCURRENCY, REQUESTS_PER_MIN})
"""Signals that a trace knows."""

_NOTICE_INTERVALS = 2
_NO_REQUEST = Known(0.0, 0.0)
_UNSEEN = Unknown("telemetry is missing in the trace")
_NO_FORECAST = Unknown("no policy of this model forecasts")
_MINUTE_S = 60.0
_HOUR_S = 3600.0
_LONG_BEFORE_S = 7 * 86400.0


@dataclass(slots=True)
class VirtualFleet:
    """Replicas as a stack of start times, in seconds since the epoch: the youngest is stopped first."""

    lead_s: float
    _started: list[float] = field(default_factory=list)
    _seen: tuple[Replica, ...] = ()
    _warming: float = 0.0

    def scale(self, count: int, at: float) -> None:
        """`at`: when replicas that this adds are ordered."""
        kept = self._started[:count]
        self._started = kept + [at] * (count - len(kept))
        self._seen, self._warming = (), 0.0

    def capacity(self, at: float) -> Capacity:
        """Built anew only when a replica came, went, or got warm: most minutes are like the one before."""
        if at >= self._warming:
            self._seen = tuple(self._replica(index, since, at) for index, since in enumerate(self._started))
            self._warming = min((since + self.lead_s for since in self._started if since + self.lead_s > at), default=float("inf"))
        return Capacity(len(self._started), self._seen)

    def _replica(self, index: int, since: float, at: float) -> Replica:
        is_warm = since + self.lead_s <= at
        return Replica(f"virtual-{index}", index, "ready" if is_warm else "loading", is_warm, since, requests=_NO_REQUEST)


@dataclass(slots=True)
class Production:
    """`forecasting` is None where no rule of the model forecasts. `gpus_elsewhere`: of the models that are not replayed."""

    model: Model
    autoscaler: Autoscaler
    lead_min: int
    forecasting: Forecasting | None = None
    gpus_elsewhere: int = 0
    _fleet: VirtualFleet = field(init=False)
    _memory: Memory = Memory()
    _scaled_at: tuple[float, ...] = ()
    _latest: float | None = None
    _begun: bool = False

    def __post_init__(self) -> None:
        self._fleet = VirtualFleet(_MINUTE_S * self.lead_min)

    def observe(self, minute: int, requests: float | None) -> None:
        self._latest = requests
        if self.forecasting is not None:
            self.forecasting.observe(minute, requests)

    def desired(self, minute: int) -> int:
        at, notice_s = _MINUTE_S * minute, _NOTICE_INTERVALS * self.autoscaler.interval_s
        forecast = self.forecasting.desired(minute) if self.forecasting is not None else _NO_FORECAST
        if not self._begun:
            self._begin(at, forecast)
        made = self._pass(at, forecast)
        if made.memory.drain.phase == "draining" and notice_s < _MINUTE_S:
            made = self._pass(at, forecast, later_s=notice_s)
        return made.order

    def _begin(self, at: float, forecast: Forecast | Unknown) -> None:
        """The fleet as if it had long been what is wanted now."""
        self._begun = True
        self._fleet.scale(self.model.replicas.min, at - _LONG_BEFORE_S)
        self._fleet.scale(self._decided(at, forecast).desired, at - _LONG_BEFORE_S)

    def _pass(self, at: float, forecast: Forecast | Unknown, later_s: float = 0.0) -> Decision:
        """`later_s` into the minute `at`; what is ordered counts as ordered when the minute begins."""
        made = self._decided(at + later_s, forecast)
        self._memory = made.memory
        if made.scales:
            self._fleet.scale(made.order, at)
            self._scaled_at = (*(before for before in self._scaled_at if at - before < _HOUR_S), at)
            self._memory = Memory(NO_DRAIN, made.memory.busy_at)
        return made

    def _decided(self, at: float, forecast: Forecast | Unknown) -> Decision:
        snapshot = Snapshot(
            at=at,
            capacity=self._fleet.capacity(at),
            signals=self._signals(),
            scaled_at=self._scaled_at,
            lead_s=_MINUTE_S * self.lead_min,
            forecast=forecast,
        )
        return decide_all([Case(self.model, snapshot, self._memory)], self.autoscaler, gpus_elsewhere=self.gpus_elsewhere)[0]

    def _signals(self) -> Mapping[str, Signal]:
        if self._latest is None:
            return dict.fromkeys(REPLAYED, _UNSEEN)
        one = self.model.capacity
        share = self._latest / one.requests_per_min
        return {REQUESTS_PER_MIN: Known(self._latest, 0.0), CONCURRENCY: Known(share * one.concurrency, 0.0)}
