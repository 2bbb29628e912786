"""What the last pass knew and did, per model: the one source of /status, the log and the metrics.

Values only. `sentence` is the same text in the log, in Nomad's scaling event, in Consul and on the status page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.capacity import Capacity
from autoscaler.coldstart import ColdStarts
from autoscaler.decide import Direction
from autoscaler.forecast.question import Forecast
from autoscaler.policies.vote import Vote
from autoscaler.signals import Partial, Signal, Unknown
from fleet.state import Carries, Level, Loading, ModelState

_RECENT = 50


@dataclass(frozen=True, slots=True)
class Status:
    """One model after one pass, `at` seconds since the epoch. `done` is what Nomad took, or empty."""

    model: str
    at: float
    sentence: str
    desired: int
    direction: Direction = "none"
    done: str = ""
    capacity: Capacity | Unknown = Unknown("Nomad was not read")
    signals: Mapping[str, Signal] = field(default_factory=dict)
    level: Level = "low"
    clamps: tuple[str, ...] = ()
    votes: tuple[Vote, ...] = ()
    forecast: Forecast | Unknown = Unknown("no policy of this model forecasts")
    news: tuple[object, ...] = ()
    """Two statuses with equal `news` say the same."""
    reason: str = ""
    """What had the last word; empty where nothing was decided."""
    load: Mapping[str, float | None] = field(default_factory=dict)
    """Demand by its name, in full replicas; None: not known."""
    started_s: tuple[float, ...] = ()
    """Cold starts that ended in this pass, in seconds."""
    failed: tuple[str, ...] = ()
    """Starts that failed in this pass, in Nomad's words."""
    is_blocked: bool = False
    """Nomad takes no scaling now."""


@dataclass(slots=True)
class Board:
    """Written by the loop alone. `passed_at`: end of the last pass, seconds since the epoch; 0: none yet.

    `recent`: the last statuses of each model that said something new, oldest first. `paused`: why, or empty.
    """

    statuses: dict[str, Status] = field(default_factory=dict)
    recent: dict[str, deque[Status]] = field(default_factory=dict)
    passed_at: float = 0.0
    leads: bool = False
    paused: str = ""

    def tell(self, status: Status) -> None:
        before = self.statuses.get(status.model)
        self.statuses[status.model] = status
        if before is None or status.done or status.news != before.news:
            self.recent.setdefault(status.model, deque(maxlen=_RECENT)).append(status)

    def story(self, model: str) -> Sequence[Status]:
        """What was new of a model, oldest first, and the last pass where it was not: what was decided hours ago rests on numbers of then.

        Raises: KeyError: nothing was decided about it.
        """
        news, now = self.recent[model], self.statuses[model]
        return [*news] if news[-1] is now else [*news, now]


def inputs(status: Status) -> Mapping[str, object]:
    """The numbers behind a sentence, as JSON values."""
    return {
        "model": status.model,
        "desired": status.desired,
        "direction": status.direction,
        "done": status.done,
        "level": status.level,
        "clamps": list(status.clamps),
        "capacity": _capacity_told(status.capacity),
        "signals": {name: _told(signal) for name, signal in status.signals.items()},
        "votes": [{"wanted": vote.wanted, "may_go_down": vote.may_go_down, "why": vote.why} for vote in status.votes],
        "forecast": _forecast_told(status.forecast),
    }


def counts(capacity: Capacity) -> Mapping[str, int]:
    """Replicas by state; every state is there."""
    return {
        "desired": capacity.desired,
        "placed": capacity.placed,
        "missing": capacity.missing,
        "loading": capacity.count("loading"),
        "ready": capacity.ready,
        "draining": capacity.count("draining"),
    }


def _capacity_told(capacity: Capacity | Unknown) -> Mapping[str, object]:
    return {"unknown": capacity.why} if isinstance(capacity, Unknown) else counts(capacity)


def _forecast_told(made: Forecast | Unknown) -> Mapping[str, object]:
    if isinstance(made, Unknown):
        return {"unknown": made.why}
    return {"desired": made.desired, "low": made.low, "high": made.high, "age_min": made.age_min, "reason": made.reason}


def model_state(status: Status, capacity: Capacity, cold: ColdStarts, carries: Carries, draining: tuple[str, ...]) -> ModelState:
    """What the routers are told. `capacity` already shows `draining` as such."""
    waiting = [replica for replica in capacity.replicas if replica.incarnation in cold.loading and replica.state == "loading"]
    return ModelState(
        model=status.model,
        desired=status.desired,
        placed=capacity.placed,
        ready=capacity.ready,
        loading=tuple(Loading(alloc_id=r.alloc_id, since=r.since, eta=cold.eta(r.since, status.at)) for r in waiting),
        draining=draining,
        cold_start_p50_s=cold.p50_s,
        cold_start_p90_s=cold.p90_s,
        level=status.level,
        reason=status.sentence,
        updated_at=status.at,
        cold_starts_s=cold.measured_s,
        carries=carries,
    )


def _told(signal: Signal) -> Mapping[str, object]:
    if isinstance(signal, Unknown):
        return {"unknown": signal.why}
    told: dict[str, object] = {"value": round(signal.value, 4), "age_s": round(signal.age_s, 1)}
    return told | {"partial": signal.why} if isinstance(signal, Partial) else told
