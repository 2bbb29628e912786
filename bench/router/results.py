"""What was measured, and the bars it is held against. Pure.

A reading is one number about one proxy; several of one subject are rounds, of which the median counts. A bar is a ratio to the lower
of the peers in the same run, or a growth within our own numbers; an absolute time is never one, because machines differ.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OURS = "warmfleet"
LIMITED = "warmfleet-tenant"
TRACED = "warmfleet-traced"
JSON = "json"
STREAM = "stream"
MEMORY = "memory"
JSON_PER_S = "json/s"
STREAMS_PER_S = "streams/s"
CURVE = (1, 10, 100, 1000)
REPLICAS = (10, 100, 1000)
MANY_SESSIONS = 100_000

RATIOS = {JSON: 0.75, STREAM: 0.95}
LIMITS_US = 40  # what tenant, limits, budget and strategy may add to a JSON request
MEMORY_BYTES = 25_000
FLAT = 1.25


def curve(streams: int) -> str:
    return f"curve {streams}"


def replicas(count: int) -> str:
    return f"replicas {count}"


SESSIONS = f"sessions {MANY_SESSIONS}"


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU microseconds for JSON, STREAM, curve, replicas and SESSIONS; bytes for MEMORY; a rate for the others."""

    proxy: str
    subject: str
    value: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the rounds of one proxy and subject."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """`bar` in words, with its limit; `value` is what we have."""

    bar: str
    value: float
    limit: float

    @property
    def is_met(self) -> bool:
        return self.value <= self.limit

    def __str__(self) -> str:
        if self.is_met:
            return f"met     {self.bar}: {self.value:.2f}"
        return f"MISSED  {self.bar}: {self.value:.2f}, {self.value / self.limit - 1:.0%} over"


def spreads(readings: Iterable[Reading]) -> dict[tuple[str, str], Spread]:
    """By (proxy, subject)."""
    values: dict[tuple[str, str], list[float]] = {}
    for reading in readings:
        values.setdefault((reading.proxy, reading.subject), []).append(reading.value)
    return {key: Spread(statistics.median(v), min(v), max(v)) for key, v in values.items()}


def per_round(readings: Iterable[Reading], proxy: str, subject: str, peers: Sequence[str]) -> Spread | None:
    """Of the ratios of the rounds, each to the lower peer of the same round, which met the same machine. None: not measured."""
    rounds: dict[str, list[float]] = {}
    for reading in readings:
        if reading.subject == subject:
            rounds.setdefault(reading.proxy, []).append(reading.value)
    there = list(zip(*(rounds[peer] for peer in peers if peer in rounds), strict=False))
    ratios = [own / min(others) for own, others in zip(rounds.get(proxy, []), there, strict=False)]
    return Spread(statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def ratio(of: dict[tuple[str, str], Spread], proxy: str, subject: str, peers: Sequence[str]) -> float | None:
    """Median against the lowest median of the peers; None where one of the two is missing."""
    there = [of[peer, subject].median for peer in peers if (peer, subject) in of]
    own = of.get((proxy, subject))
    return own.median / min(there) if own and there else None


def added_us(readings: Iterable[Reading]) -> float | None:
    """What a tenant adds to a JSON request: the least of its rounds against the least of the bare relay.

    Whatever else a machine does only ever adds to a time, and it adds to a difference of two medians more than is to be seen.
    """
    of = spreads(readings)
    bare, limited = of.get((OURS, JSON)), of.get((LIMITED, JSON))
    return limited.low - bare.low if bare and limited else None


def verdicts(readings: Sequence[Reading], peers: Sequence[str]) -> tuple[Verdict, ...]:
    """One for each bar that the run has numbers for."""
    of = spreads(readings)
    found = [Verdict(f"{_with(proxy)}{subject}: at most {limit} x the lower peer", value, limit)
             for proxy in (OURS, TRACED) for subject, limit in RATIOS.items()
             if (value := ratio(of, proxy, subject, peers)) is not None]  # fmt: skip
    if (more_us := added_us(readings)) is not None:
        found.append(Verdict(f"tenant with limits, budget and strategy: at most {LIMITS_US} us more, least of rounds", more_us, LIMITS_US))
    if memory := of.get((OURS, MEMORY)):
        found.append(Verdict(f"memory: at most {MEMORY_BYTES / 1000:.0f} kB per open stream", memory.median / 1000, MEMORY_BYTES / 1000))
    return (*found, *_flat(readings))


def _with(proxy: str) -> str:
    return "" if proxy == OURS else "with traces, "


def _flat(readings: Sequence[Reading]) -> Iterable[Verdict]:
    for subject in (*map(replicas, REPLICAS[1:]), SESSIONS):
        if (value := grown(readings, OURS, subject)) is not None:
            yield Verdict(f"{subject}: at most {FLAT} x the cost with {REPLICAS[0]} replicas", value, FLAT)


def grown(readings: Iterable[Reading], proxy: str, subject: str) -> float | None:
    """Cost of a subject against that with the fewest replicas: the median over the rounds, whose two halves met the same machine."""
    rounds: dict[str, list[float]] = {}
    for reading in readings:
        if reading.proxy == proxy:
            rounds.setdefault(reading.subject, []).append(reading.value)
    pairs = list(zip(rounds.get(subject, []), rounds.get(replicas(REPLICAS[0]), []), strict=False))
    return statistics.median(now / base for now, base in pairs) if pairs else None
