"""Asks Datadog beside the loop and holds what it said last; the loop looks at that and never waits.

A question fails as a whole and leaves the last answer standing, which grows old until it is Unknown: an outage costs knowledge and
nothing else. After a 429 the reader waits as long as Datadog says, and a little longer at random, so that several askers of one
organisation do not come back at the same moment. Where the limit is used up it waits without being told.
What is refused for long is no outage: refusal.py says what becomes of it.
What the numbers mean is reading.py's business, and what is done with them the policies'.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from autoscaler.datadog.answer import series_of
from autoscaler.datadog.buckets import Look
from autoscaler.datadog.client import Heard
from autoscaler.datadog.errors import DatadogError, Limited, MalformedAnswer, NoAnswer
from autoscaler.datadog.queries import queries_for
from autoscaler.datadog.question import Span, body, span_before
from autoscaler.datadog.reading import OF_ROUTERS, Signals, readings
from autoscaler.datadog.refusal import ANSWERED, PATIENCE_S, Refusal
from autoscaler.signals import Known, Signal, Unknown
from fleet.metrics import DATADOG_AGE, DATADOG_QUERIES, DATADOG_REMAINING
from fleet.model import Spec
from fleet.recorder import Recorder

_LOOK_BACK_S = 300.0  # what a jump is measured against
_LONGEST_PAUSE_S = 3600.0
_UNTOLD_INTERVALS = 4
_JITTER = 0.1


class Asks(Protocol):
    """`autoscaler.datadog.client.Client` is one."""

    async def ask(self, question: bytes) -> Heard:
        """Raises: DatadogError."""


@dataclass(frozen=True, slots=True)
class _Answer:
    span: Span
    at: float
    signals: Mapping[str, Signals] = field(default_factory=dict)


@dataclass(slots=True)
class Reader:
    """`clock`: seconds since the epoch; `chance`: a number in [0, 1). `tell` hears when Datadog refuses, and when it no longer does.

    One task runs it.
    """

    spec: Spec
    asks: Asks
    recorder: Recorder
    clock: Callable[[], float]
    chance: Callable[[], float]
    tell: Callable[[str], None] = lambda _: None
    _refusal: Refusal = ANSWERED
    _last: _Answer | None = None
    _trouble: str = "it was not asked yet"

    def __post_init__(self) -> None:
        self.recorder.collectors.append(self._tell_age)

    async def run(self) -> None:
        """Asks until it is cancelled."""
        while True:
            pause_s = await self.ask_once()
            await asyncio.sleep(pause_s)

    async def ask_once(self) -> float:
        """One question. Returns: seconds to wait before the next one."""
        interval_s = self.spec.datadog.read_interval_s
        try:
            heard = await self._ask()
        except DatadogError as error:
            self._trouble = str(error)
            self._refused(self._refusal.after(error, self.clock()))
            self.recorder.count(DATADOG_QUERIES, _outcome(error))
            self.recorder.gauges.pop((DATADOG_REMAINING, ()), None)
            return pause_after(error, interval_s, self.chance())
        self._trouble = ""
        self._refused(ANSWERED)
        self.recorder.count(DATADOG_QUERIES, "ok")
        if isinstance(heard.remaining, Known):
            self.recorder.gauge(DATADOG_REMAINING, value=heard.remaining.value)
        return pause_after(heard, interval_s, self.chance())

    def signals(self, model: str, now: float, /) -> Signals:
        """What Datadog said last of a model, as old as it is now; once under the names of the signals, once as `datadog.NAME` to show.

        Where it is not needed to scale in, only what is Known counts: the rest must not make another source less than Known.
        """
        aged = {name: self._aged(signal, now) for name, signal in self._signals(model).items()}
        needed = self.spec.datadog.needed_to_scale_in and not self._refusal.lasts(now)
        counts = {name: signal for name, signal in aged.items() if needed or isinstance(signal, Known)}
        return counts | {f"datadog.{name}": signal for name, signal in aged.items()}

    def remark(self, now: float, /) -> str:
        return self._refusal.told(now) if self.spec.datadog.needed_to_scale_in else ""

    def _refused(self, after: Refusal) -> None:
        before, self._refusal = self._refusal, after
        if after.why and not math.isfinite(before.since):
            needed = f"; nothing is scaled in for {PATIENCE_S / 60:.0f} min, then it is left out"
            self.tell(after.why + (needed if self.spec.datadog.needed_to_scale_in else ""))
        if not math.isfinite(after.since) and math.isfinite(before.since):
            self.tell("Datadog answers again")

    async def _ask(self) -> Heard:
        settings, queries = self.spec.datadog, queries_for(self.spec)
        window_s = self.spec.autoscaler.window_s
        length_s = _LOOK_BACK_S + max(window_s, settings.rollup_s)
        span = span_before(self.clock(), offset_s=settings.offset_s, length_s=length_s, width_s=settings.rollup_s)
        heard = await self.asks.ask(body(queries, span))
        series = series_of(heard.text, [query.name for query in queries])
        now = self.clock()
        found = readings(series, queries, [model.name for model in self.spec.models], Look(span, window_s, now))
        self._last = _Answer(span, now, found)
        return heard

    def _signals(self, model: str) -> Signals:
        if self._last is None:
            return dict.fromkeys(OF_ROUTERS, Unknown(f"Datadog: {self._trouble}"))
        return self._last.signals.get(model, {})

    def _aged(self, signal: Signal, now: float) -> Signal:
        if isinstance(signal, Unknown) or self._last is None:
            return signal
        age_s = signal.age_s + max(0.0, now - self._last.at)
        if age_s <= self.spec.datadog.max_age_s:
            return replace(signal, age_s=age_s)
        because = f" ({self._trouble})" if self._trouble else ""
        return Unknown(f"Datadog's last data is {age_s:.0f} s old, more than {self.spec.datadog.max_age_s:.0f} s{because}")

    def _tell_age(self, recorder: Recorder) -> None:
        if self._last is not None:
            recorder.gauge(DATADOG_AGE, value=max(0.0, self.clock() - self._last.span.end))


def pause_after(outcome: Heard | DatadogError, interval_s: float, chance: float) -> float:
    """Seconds until the next question; `chance` in [0, 1) spreads it."""
    wait_s = interval_s
    if isinstance(outcome, Limited):
        wait_s = _UNTOLD_INTERVALS * interval_s if outcome.wait_s is None else max(interval_s, outcome.wait_s)
    elif isinstance(outcome, Heard) and isinstance(outcome.remaining, Known) and outcome.remaining.value < 1:
        wait_s = max(interval_s, outcome.reset_s)
    return min(wait_s, _LONGEST_PAUSE_S) + _JITTER * interval_s * chance


def _outcome(error: DatadogError) -> str:
    if isinstance(error, Limited):
        return "limited"
    if isinstance(error, MalformedAnswer):
        return "malformed"
    return "unreachable" if isinstance(error, NoAnswer) else "refused"
