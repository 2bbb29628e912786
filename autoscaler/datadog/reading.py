"""The series of one answer -> the signals of each model.

The names are those of signals.py, so that they can be laid over what the scrape says. A router reports its requests in flight at
every flush: where that level is there, a count that is not there is zero; where it is not, nothing is known of the router.
A signal whose query is not asked is absent; one that is asked and not answered is Unknown. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler import signals
from autoscaler.datadog import queries as asked
from autoscaler.datadog.answer import Series
from autoscaler.datadog.buckets import Buckets, Look, clipped, mean, rate_per_s, with_zeros, without_jumps
from autoscaler.datadog.question import Query
from autoscaler.signals import Signal, Unknown, larger, scaled, total
from fleet.metrics import ARRIVALS, HELD, IN_FLIGHT, INPUT_TOKENS, LOG_BYTES, OUTPUT_TOKENS, SESSION_STARTS

Signals = Mapping[str, Signal]

OF_ROUTERS = (signals.CONCURRENCY, signals.REQUESTS_PER_MIN, signals.INPUT_TOKENS_PER_S, signals.OUTPUT_TOKENS_PER_S, signals.HELD)
"""What is asked for every model of every fleet."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What one model's series say, by the name of the query. A query that is not in it had no series."""

    look: Look
    asked: frozenset[str]
    buckets: Mapping[str, Buckets | Unknown] = field(default_factory=dict)

    def raw(self, name: str) -> Buckets | Unknown:
        return self.buckets.get(name, Unknown(f"Datadog has no data of {name} for it"))

    def of_router(self, name: str) -> Buckets | Unknown:
        """With zeros where the routers reported and this was not in it."""
        there, buckets = self.raw(asked.named(IN_FLIGHT)), self.buckets.get(name, {})
        if isinstance(there, Unknown) or isinstance(buckets, Unknown):
            return there if isinstance(there, Unknown) else buckets
        return with_zeros(buckets, there)


def readings(series: Iterable[Series], queries: Sequence[Query], models: Iterable[str], look: Look) -> Mapping[str, Signals]:
    """Signals by model and name. Every model has those of its routers; a silent Datadog makes them Unknown."""
    rows = list(series)
    return {model: _signals(_told(rows, queries, model, look)) for model in models}


def _told(rows: Sequence[Series], queries: Sequence[Query], model: str, look: Look) -> _Told:
    buckets: dict[str, Buckets | Unknown] = {}
    queries = [query for query in queries if not query.models or model in query.models]
    for query in queries:
        mine = [row for row in rows if row.query == query.name and f"{query.tag}:{query.prefix}{model}" in row.tags]
        if len(mine) > 1:
            buckets[query.name] = Unknown(f"{query.target} in Datadog has {len(mine)} series for one model")
        elif mine:
            buckets[query.name] = _believed(mine[0], query, look)
    return _Told(look, frozenset(query.name for query in queries), buckets)


def _believed(row: Series, query: Query, look: Look) -> Buckets | Unknown:
    buckets = clipped(row.points, query, look.span)
    return buckets if isinstance(buckets, Unknown) else without_jumps(buckets, query, look)


def _signals(told: _Told) -> Signals:
    return {**_of_routers(told), **_of_engines(told), **_of_logs(told)}


def _of_routers(told: _Told) -> Signals:
    found = {
        signals.CONCURRENCY: _concurrency(told),
        signals.REQUESTS_PER_MIN: scaled(_rate(told, asked.named(ARRIVALS)), _per_min),
        signals.INPUT_TOKENS_PER_S: _rate(told, asked.named(INPUT_TOKENS)),
        signals.OUTPUT_TOKENS_PER_S: _rate(told, asked.named(OUTPUT_TOKENS)),
        signals.HELD: _level(told, asked.named(HELD)),
    }
    starts = asked.named(SESSION_STARTS)
    return found | ({signals.SESSION_STARTS_PER_MIN: scaled(_rate(told, starts), _per_min)} if starts in told.buckets else {})


def _of_engines(told: _Told) -> Signals:
    if asked.QUEUED not in told.asked:
        return _of_gpus(told)
    new, old = (_plain_level(told, name) for name in (asked.KV_USE, asked.KV_USE_OLD))
    return {
        signals.QUEUED: _plain_level(told, asked.QUEUED),
        signals.KV_USE: new if not isinstance(new, Unknown) or isinstance(old, Unknown) else old,
        signals.QUEUE_TIME_S: _queue_time(told),
        **_of_gpus(told),
    }


def _of_gpus(told: _Told) -> Signals:
    if asked.GPU_USE not in told.asked:
        return {}
    return {signals.GPU_USE: scaled(_plain_level(told, asked.GPU_USE), lambda percent: percent / 100)}


def _of_logs(told: _Told) -> Signals:
    """The routers' own count where they make one; Datadog's estimate of what the engines wrote where they do not."""
    ours = asked.named(LOG_BYTES)
    volume = _rate(told, ours) if ours in told.buckets else _plain_rate(told, asked.LOGS_INGESTED)
    return {
        signals.LOG_BYTES_PER_MIN: scaled(volume, _per_min),
        signals.LOG_LINES_PER_MIN: scaled(_plain_rate(told, asked.LOG_LINES), _per_min),
    }


def _concurrency(told: _Told) -> Signal:
    """As demand.py makes it of scrapes: the larger of the levels and of Little's law."""
    levels = total([_level(told, asked.named(metric)) for metric in (IN_FLIGHT, HELD)], nobody="no level")
    return larger(levels, _little(told))


def _little(told: _Told) -> Signal:
    arriving, spent, ended = (_rate(told, name) for name in (asked.named(ARRIVALS), asked.LATENCY_SUM, asked.LATENCY_COUNT))
    if isinstance(spent, Unknown) or isinstance(ended, Unknown) or not ended.value:
        return Unknown("no request ended in the window")
    latency_s = spent.value / ended.value
    return scaled(arriving, lambda per_s: per_s * latency_s)


def _queue_time(told: _Told) -> Signal:
    spent, ended = (_plain_rate(told, name) for name in (asked.QUEUE_SUM, asked.QUEUE_COUNT))
    if isinstance(spent, Unknown) or isinstance(ended, Unknown):
        return spent if isinstance(spent, Unknown) else ended
    if not ended.value:
        return Unknown("no request began in the window")
    return scaled(spent, lambda seconds: seconds / ended.value)


def _rate(told: _Told, name: str) -> Signal:
    buckets = told.of_router(name)
    return buckets if isinstance(buckets, Unknown) else rate_per_s(buckets, told.look)


def _level(told: _Told, name: str) -> Signal:
    buckets = told.of_router(name)
    return buckets if isinstance(buckets, Unknown) else mean(buckets, told.look)


def _plain_rate(told: _Told, name: str) -> Signal:
    buckets = told.raw(name)
    return buckets if isinstance(buckets, Unknown) else rate_per_s(buckets, told.look)


def _plain_level(told: _Told, name: str) -> Signal:
    buckets = told.raw(name)
    return buckets if isinstance(buckets, Unknown) else mean(buckets, told.look)


def _per_min(per_s: float) -> float:
    return 60 * per_s
