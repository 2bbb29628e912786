"""The signals of one model, from what routers and engines said.

concurrency, per router, is the larger of two estimates. The mean of the gauges (in flight + held) sees long requests while they
last, but scrapes seconds apart miss short ones. Little's law (arrival rate x mean latency) sees every request that ended, but a
long one only after its end. Each errs low where the other does not. Engines (running + queued) are the second source: they see
work that came past the routers, and nothing of requests that are held.
requests_per_min is the rate of arrivals, which the routers count before admission, so it does not fall when the fleet does.
The other signals are there only if somebody tells them: not every engine knows its KV cache, not every router its log bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from autoscaler import signals, text
from autoscaler.history import History, Track
from autoscaler.signals import CONCURRENCY, REQUESTS_PER_MIN, Known, Partial, Signal, Unknown, average, larger, scaled, total
from autoscaler.text import ARRIVED, ENGINE_LOAD, FLYING, LATENCY_COUNT, LATENCY_SUM, WAITING
from autoscaler.window import USUAL, Window, mean, rate_per_s

__all__ = ["CONCURRENCY", "REQUESTS_PER_MIN", "demand", "load_now"]

_USUAL_TOKENS = _USUAL_BYTES = 1e5


@dataclass(frozen=True, slots=True)
class _Rate:
    """A counter of the routers that becomes the signal `name`, its increase in `of_s` seconds."""

    name: str
    counter: str
    of_s: float = 1.0
    usual: float = USUAL

    def signal(self, per_s: float) -> float:
        return self.of_s * per_s


@dataclass(frozen=True, slots=True)
class _Level:
    """A gauge of routers or engines that adds up to the signal `name`."""

    name: str
    gauge: str
    of_routers: bool = False


_LEVELS = (
    _Level(signals.HELD, WAITING, of_routers=True),
    _Level(signals.RUNNING, text.ENGINE_RUNNING),
    _Level(signals.QUEUED, text.ENGINE_QUEUE),
)
_RATES = (
    _Rate(signals.INPUT_TOKENS_PER_S, text.TOKENS_IN, usual=_USUAL_TOKENS),
    _Rate(signals.OUTPUT_TOKENS_PER_S, text.TOKENS_OUT, usual=_USUAL_TOKENS),
    _Rate(signals.SESSION_STARTS_PER_MIN, text.STARTED, 60),
    _Rate(signals.ANSWERS_PER_MIN, text.LATENCY_COUNT, 60),
    _Rate(signals.LOG_BYTES_PER_MIN, text.LOGGED, 60, _USUAL_BYTES),
)


def demand(history: History, model: str, routers: Sequence[str], engines: Sequence[str], window: Window) -> Mapping[str, Signal]:
    """Signals by the names of signals.py; concurrency and requests_per_min always. `routers` and `engines` are target ids."""
    arriving = _over(history, routers, lambda track: rate_per_s(track.points((ARRIVED, model)), window))
    inside = _over(history, routers, lambda track: _router_concurrency(track, model, window))
    working = _over(history, engines, lambda track: mean(track.points((ENGINE_LOAD, model)), window))
    no_router = "no router is registered in Consul"
    return {
        CONCURRENCY: larger(total(inside, nobody=no_router), total(working, nobody="no replica is passing")),
        REQUESTS_PER_MIN: scaled(total(arriving, nobody=no_router), lambda per_s: 60 * per_s),
        **dict(_further(_Told(history, model, window), routers, engines)),
    }


@dataclass(frozen=True, slots=True)
class _Told:
    """Series that not everybody has: a target that lacks what others tell is Unknown, and nothing at all is no signal."""

    history: History
    model: str
    window: Window

    def parts(self, targets: Sequence[str], series: str, read: Callable[[Track], Signal]) -> list[Signal]:
        """Empty where no target has ever told the series."""
        if not any(self.history.track(target).tells((series, self.model)) for target in targets):
            return []
        return _over(self.history, targets, read)

    def levels(self, targets: Sequence[str], series: str) -> list[Signal]:
        return self.parts(targets, series, lambda track: mean(track.told((series, self.model)), self.window))

    def rates(self, targets: Sequence[str], series: str, usual: float = USUAL) -> list[Signal]:
        return self.parts(targets, series, lambda track: rate_per_s(track.told((series, self.model)), self.window, usual=usual))


def _further(told: _Told, routers: Sequence[str], engines: Sequence[str]) -> Iterator[tuple[str, Signal]]:
    for rate in _RATES:
        if parts := told.rates(routers, rate.counter, rate.usual):
            yield rate.name, scaled(total(parts, nobody=""), rate.signal)
    for level in _LEVELS:
        if parts := told.levels(routers if level.of_routers else engines, level.gauge):
            yield level.name, total(parts, nobody="")
    if parts := told.levels(engines, text.ENGINE_KV):
        yield signals.KV_USE, average(parts, nobody="")
    for name, targets, seconds, number in (
        (signals.QUEUE_TIME_S, engines, text.ENGINE_QUEUED_S, text.ENGINE_BEGUN),
        (signals.TTFT_S, routers, text.TTFT_SUM, text.TTFT_COUNT),
    ):
        if parts := told.rates(targets, seconds):
            yield name, _each(total(parts, nobody=""), total(told.rates(targets, number), nobody=""))


def _each(spent: Signal, begun: Signal) -> Signal:
    """Seconds of each one, from seconds and requests per second."""
    if isinstance(begun, Unknown) or not begun.value:
        return Unknown(begun.why if isinstance(begun, Unknown) else "no request began in the window")
    return scaled(spent, lambda seconds: seconds / begun.value)


def load_now(history: History, model: str, engine: str, window: Window) -> Signal:
    """Requests that one engine ran or queued at its last scrape; Unknown if that failed or is old."""
    track = history.track(engine)
    points = track.points((ENGINE_LOAD, model))
    if track.trouble or not points:
        return Unknown(track.trouble or "was not asked yet")
    age_s = max(0.0, window.now - points[-1].at)
    return Known(points[-1].value, age_s) if age_s <= window.max_age_s else Unknown(f"the last answer is {age_s:.0f} s old")


def _over(history: History, targets: Sequence[str], read: Callable[[Track], Signal]) -> list[Signal]:
    return [_with_trouble(target, history.track(target), read) for target in targets]


def _with_trouble(target: str, track: Track, read: Callable[[Track], Signal]) -> Signal:
    """A target that failed just now is known in part even while its last answer is young."""
    signal = read(track)
    if isinstance(signal, Unknown):
        return Unknown(f"{target} {track.trouble or signal.why}")
    if track.trouble:
        return Partial(signal.value, signal.age_s, f"{target} {track.trouble}")
    return signal


def _router_concurrency(track: Track, model: str, window: Window) -> Signal:
    gauges = total([mean(track.points((name, model)), window) for name in (FLYING, WAITING)], nobody="no gauge")
    return larger(gauges, _little(track, model, window))


def _little(track: Track, model: str, window: Window) -> Signal:
    """Arrival rate x mean latency of the requests that ended in the window; Unknown when none did."""
    arriving, spent, ended = (rate_per_s(track.points((name, model)), window) for name in (ARRIVED, LATENCY_SUM, LATENCY_COUNT))
    if isinstance(spent, Unknown) or isinstance(ended, Unknown) or not ended.value:
        return Unknown("no request ended in the window")
    latency_s = spent.value / ended.value
    return scaled(arriving, lambda per_s: per_s * latency_s)
