"""How long a replica of a model takes from placed to passing, as measured here.

A start is measured only if the replica was seen loading first: one that was already warm when the autoscaler came up tells
nothing. Its end lies between the pass that saw it loading last and the one that saw it passing; the middle is taken. Until
something was measured the prior of fleet.toml stands. The measured starts travel in ModelState, so a restart keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class Start:
    """A replica as one pass sees it; times in seconds since the epoch."""

    alloc_id: str
    placed_at: float
    passing: bool


@dataclass(frozen=True, slots=True)
class ColdStarts:
    """`measured_s`: the last starts, oldest first. `loading`: when each replica that was never seen passing was seen last."""

    prior_s: float
    measured_s: tuple[float, ...] = ()
    loading: Mapping[str, float] = field(default_factory=dict)

    @property
    def p50_s(self) -> float:
        return self._quantile(0.5)

    @property
    def p90_s(self) -> float:
        return self._quantile(0.9)

    def _quantile(self, q: float) -> float:
        ordered = sorted(self.measured_s) or [self.prior_s]
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

    def eta(self, placed_at: float, now: float) -> float:
        """When a loading replica will pass. One later than nine of ten is expected to need as long again as it is late."""
        for likely_s in (self.p50_s, self.p90_s):
            if placed_at + likely_s > now:
                return placed_at + likely_s
        return now + (now - placed_at - self.p90_s)


def measure(known: ColdStarts, starts: tuple[Start, ...], now: float, seen: frozenset[str]) -> tuple[ColdStarts, tuple[float, ...]]:
    """Takes in what one pass saw. `seen`: replicas that have passed before, which are not loading when they fail a check.

    Returns: the new state, and the starts that have just ended, in seconds.
    """
    ended = tuple((known.loading[s.alloc_id] + now) / 2 - s.placed_at for s in starts if s.passing and s.alloc_id in known.loading)
    loading = {s.alloc_id: now for s in starts if not s.passing and s.alloc_id not in seen}
    durations = tuple(max(0.0, seconds) for seconds in ended)
    return replace(known, measured_s=(*known.measured_s, *durations)[-_REMEMBERED:], loading=loading), durations
