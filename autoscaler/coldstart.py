"""How long a replica of a model takes from placed to passing, as measured here, and which replicas are on that way now.

A start is measured only if the replica was seen loading first: one that was already warm when the autoscaler came up tells
nothing. Its end lies between the pass that saw it loading last and the one that saw it passing; the middle is taken.
A replica that fails its check after it has passed is broken, not loading, and so is one that is far too old when first seen.
A task restarted in place loads again, but with warm caches: it has an ETA and is not measured.
Until something was measured the prior of fleet.toml stands. The measured starts travel in ModelState, so a restart keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.capacity import Replica

_REMEMBERED = 20
_TOO_OLD = 2.0


@dataclass(frozen=True, slots=True)
class ColdStarts:
    """`measured_s`: the last starts, oldest first. `loading`: incarnations on their way, and when each was seen last."""

    prior_s: float
    measured_s: tuple[float, ...] = ()
    loading: Mapping[str, float] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()

    @property
    def p50_s(self) -> float:
        return self._quantile(0.5)

    @property
    def p90_s(self) -> float:
        return self._quantile(0.9)

    def _quantile(self, q: float) -> float:
        ordered = sorted(self.measured_s) or [self.prior_s]
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

    def eta(self, since: float, now: float) -> float:
        """When a loading replica will pass. One later than nine of ten is expected to need as long again as it is late."""
        for likely_s in (self.p50_s, self.p90_s):
            if since + likely_s > now:
                return since + likely_s
        return now + (now - since - self.p90_s)


def measure(known: ColdStarts, replicas: Sequence[Replica], now: float) -> tuple[ColdStarts, tuple[float, ...]]:
    """Takes in what one pass saw. Returns: the new state, and the cold starts that have just ended, in seconds."""
    ended = [r for r in replicas if r.passing and r.incarnation in known.loading]
    durations = tuple((known.loading[r.incarnation] + now) / 2 - r.since for r in ended if r.restarts == 0)
    after = replace(
        known,
        measured_s=(*known.measured_s, *(max(0.0, seconds) for seconds in durations))[-_REMEMBERED:],
        loading={r.incarnation: now for r in replicas if _is_loading(known, r, now)},
        passed=frozenset(r.incarnation for r in replicas if r.passing or r.incarnation in known.passed),
    )
    return after, durations


def _is_loading(known: ColdStarts, replica: Replica, now: float) -> bool:
    if replica.passing or replica.incarnation in known.passed:
        return False
    return replica.incarnation in known.loading or now - replica.since <= _TOO_OLD * known.p90_s
