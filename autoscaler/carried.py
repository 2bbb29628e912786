"""What one replica really carries, learned in service from fleet.toml's word for it.

    seen                                    concurrency becomes        requests_per_min becomes
    full: requests wait in the engines      what is run, if less       what is answered, if less
    more is run than believed, no queue,
      first tokens within the SLO           what is run                by Little's law
    at least half of it is run, no queue    stays                      by Little's law
    anything else                           drifts to the prior        drifts to the prior

Little's law: run = answers x time of each, so a replica that runs r of c and answers a carries a x c / r: longer answers lower it
before anything queues. Learned slowly (down in minutes, up in an hour, forgotten in a day) and within half and twice the prior: a
wrong lesson costs a factor of two at most, and one that no longer holds is not kept for ever. Only a steady fleet teaches: the same
replicas for a whole window, none draining, and every number wholly known. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from autoscaler import signals
from autoscaler.capacity import Capacity
from autoscaler.signals import CONCURRENCY, REQUESTS_PER_MIN, Known, Signal, Unknown
from fleet.model import Model
from fleet.state import Carries

BOUNDS = (0.5, 2.0)
_DOWN_S, _UP_S, _FORGET_S = 600.0, 3600.0, 86400.0
_QUEUED_PER_REPLICA = 0.5
_KV_FULL = 0.95
_BUSY = 0.5
_LONGEST_STEP_S = 60.0
_WORTH_TELLING = 0.05


@dataclass(frozen=True, slots=True)
class Carrying:
    """What is believed of one replica. `fleet`: the incarnations that served since `steady_since`; `why`: the last lesson."""

    carries: Carries
    why: str = ""
    fleet: frozenset[str] = frozenset()
    steady_since: float = math.inf
    at: float = -math.inf

    @property
    def one(self) -> Mapping[str, float]:
        """By the name of the demand."""
        return {CONCURRENCY: self.carries.concurrency, REQUESTS_PER_MIN: self.carries.requests_per_min}

    @property
    def factors(self) -> Mapping[str, float]:
        """Against the prior, by the name of the demand."""
        prior = self.carries
        return {
            CONCURRENCY: prior.concurrency / prior.prior_concurrency,
            REQUESTS_PER_MIN: prior.requests_per_min / prior.prior_requests_per_min,
        }

    @property
    def sentence(self) -> str:
        """Empty where the prior still stands, within 5 %."""
        if all(abs(factor - 1) < _WORTH_TELLING for factor in self.factors.values()):
            return ""
        c = self.carries
        now = f"a replica carries {c.concurrency:.3g} at once and {c.requests_per_min:.3g} a minute"
        return f"{now} instead of {c.prior_concurrency:g} and {c.prior_requests_per_min:g}: {self.why or 'as learned before'}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one pass saw of a model. `window_s` is what the signals rest on, `ttft_s` the promised time to the first token."""

    at: float
    capacity: Capacity
    signals: Mapping[str, Signal]
    window_s: float
    ttft_s: float

    def known(self, name: str) -> float | None:
        """None where it is not wholly known."""
        signal = self.signals.get(name, Unknown("was not read"))
        return signal.value if isinstance(signal, Known) else None


@dataclass(frozen=True, slots=True)
class _Lesson:
    concurrency: float
    requests_per_min: float
    why: str


def restored(model: Model, saved: Carries | None) -> Carrying:
    """What the autoscaler before this one learned, unless fleet.toml says something else since."""
    prior = float(model.capacity.concurrency), model.capacity.requests_per_min
    if saved is not None and (saved.prior_concurrency, saved.prior_requests_per_min) == prior:
        return Carrying(_within(saved))
    return Carrying(Carries(concurrency=prior[0], requests_per_min=prior[1], prior_concurrency=prior[0], prior_requests_per_min=prior[1]))


def learn(known: Carrying, seen: Evidence) -> Carrying:
    """One pass further. A pass that teaches nothing only forgets a little."""
    serving = frozenset(replica.incarnation for replica in seen.capacity.replicas if replica.passing)
    steady_since = known.steady_since if serving == known.fleet else seen.at
    step_s = min(_LONGEST_STEP_S, max(0.0, seen.at - known.at)) if math.isfinite(known.at) else 0.0
    known = replace(known, fleet=serving, steady_since=steady_since, at=seen.at)
    if seen.at - steady_since < seen.window_s or seen.capacity.count("draining"):
        return known
    lesson = _lesson(known.carries, len(serving), seen) if serving else None
    return _forgotten(known, step_s) if lesson is None else _taken(known, lesson, step_s)


def _lesson(carries: Carries, serving: int, seen: Evidence) -> _Lesson | None:
    running, answers, queued = (seen.known(name) for name in (signals.RUNNING, signals.ANSWERS_PER_MIN, signals.QUEUED))
    if running is None or answers is None or queued is None or not running:
        return None
    run, answered = running / serving, answers / serving
    if full := _full(seen, queued / serving):
        return _Lesson(min(run, carries.concurrency), min(answered, carries.requests_per_min), f"{full} while it ran {run:.3g}")
    if run < _BUSY * carries.concurrency or not answers:
        return None
    concurrency = run if run > carries.concurrency and _in_time(seen) else carries.concurrency
    why = f"it ran {run:.3g} and answered {answered:.3g} a minute without a queue"
    return _Lesson(concurrency, answered * concurrency / run, why)


def _full(seen: Evidence, queued: float) -> str:
    """Why the replicas can take no more, or nothing."""
    kv_use, queue_time_s = seen.known(signals.KV_USE), seen.known(signals.QUEUE_TIME_S)
    if queued >= _QUEUED_PER_REPLICA:
        return f"{queued:.3g} waited in its queue"
    if kv_use is not None and kv_use >= _KV_FULL:
        return f"its KV cache was {kv_use:.0%} full"
    if queue_time_s is not None and queue_time_s > seen.ttft_s:
        return f"requests waited {queue_time_s:.3g} s in its queue"
    return ""


def _in_time(seen: Evidence) -> bool:
    """First tokens came within the SLO. Requests that are held would blame the replica for a wait that is not its own."""
    ttft_s, held = seen.known(signals.TTFT_S), seen.known(signals.HELD)
    return ttft_s is not None and ttft_s <= seen.ttft_s and not held


def _taken(known: Carrying, lesson: _Lesson, step_s: float) -> Carrying:
    old = known.carries
    after = replace(
        old,
        concurrency=_moved(old.concurrency, lesson.concurrency, step_s),
        requests_per_min=_moved(old.requests_per_min, lesson.requests_per_min, step_s),
    )
    return replace(known, carries=_within(after), why=lesson.why)


def _forgotten(known: Carrying, step_s: float) -> Carrying:
    old, share = known.carries, 1 - math.exp(-step_s / _FORGET_S)
    after = replace(
        old,
        concurrency=old.concurrency + share * (old.prior_concurrency - old.concurrency),
        requests_per_min=old.requests_per_min + share * (old.prior_requests_per_min - old.requests_per_min),
    )
    return replace(known, carries=after)


def _moved(old: float, new: float, step_s: float) -> float:
    return old + (1 - math.exp(-step_s / (_DOWN_S if new < old else _UP_S))) * (new - old)


def _within(carries: Carries) -> Carries:
    low, high = BOUNDS
    return replace(
        carries,
        concurrency=min(max(carries.concurrency, low * carries.prior_concurrency), high * carries.prior_concurrency),
        requests_per_min=min(max(carries.requests_per_min, low * carries.prior_requests_per_min), high * carries.prior_requests_per_min),
    )
