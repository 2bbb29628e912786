"""How long a replica of a model takes from placed to passing, as measured here, and which replicas are on that way now.

A start is measured only if the replica was seen loading first: one that was already warm when the autoscaler came up tells
nothing. Its end lies between the pass that saw it loading last and the one that saw it passing; the middle is taken.
A replica that fails its check after it has passed is broken, not loading, and so is one that is far too old when first seen.
A task restarted in place loads again, but with warm caches: it has an ETA and is not measured. A start that ends in a failure
before it passed is no measurement either; it is counted, and told for an hour: replicas that never become warm are to be explained.
Until something was measured the prior of fleet.toml stands. The measured starts travel in ModelState, so a restart keeps them. What is
longer than any cold start (a suspended machine, a clock put forward, rubbish in Consul) counts as the longest one that is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.capacity import Failure, Replica

_REMEMBERED = 20
_TOO_OLD = 2.0
_FAILURES_TOLD_S = 3600.0
_LONGEST_S, _LONGEST_OF_PRIOR = 7200.0, 10.0


@dataclass(frozen=True, slots=True)
class FailedStart:
    """Seen `at` seconds since the epoch; `why` in Nomad's words."""

    at: float
    why: str


@dataclass(frozen=True, slots=True)
class ColdStarts:
    """`measured_s`: the last starts, oldest first. `loading`: incarnations on their way, and when each was seen last."""

    prior_s: float
    measured_s: tuple[float, ...] = ()
    loading: Mapping[str, float] = field(default_factory=dict)
    passed: frozenset[str] = frozenset()
    failed: tuple[FailedStart, ...] = ()
    """Those of the last hour, oldest first."""

    @property
    def trouble(self) -> str:
        """The failed starts of the last hour as a clause of a sentence, or empty."""
        if not self.failed:
            return ""
        many = "1 start" if len(self.failed) == 1 else f"{len(self.failed)} starts"
        return f"{many} failed in the last hour, the last one: {self.failed[-1].why}"

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


def measure(
    known: ColdStarts, replicas: Sequence[Replica], now: float, failures: Sequence[Failure] = ()
) -> tuple[ColdStarts, tuple[float, ...]]:
    """Takes in what one pass saw. Returns: the new state, and the cold starts that have just ended, in seconds.

    Of the `failures` those count whose replica was loading in the pass before: their starts are in `failed`, with `at == now`.
    """
    ended = [r for r in replicas if r.passing and r.incarnation in known.loading]
    durations = tuple((known.loading[r.incarnation] + now) / 2 - r.since for r in ended if r.restarts == 0)
    after = replace(
        known,
        measured_s=(*known.measured_s, *(_believed(known.prior_s, seconds) for seconds in durations))[-_REMEMBERED:],
        loading={r.incarnation: now for r in replicas if _is_loading(known, r, now)},
        passed=frozenset(r.incarnation for r in replicas if r.passing or r.incarnation in known.passed),
        failed=(*(f for f in known.failed if f.at > now - _FAILURES_TOLD_S), *_failed_now(known, failures, now)),
    )
    return after, durations


def restored(prior_s: float, measured_s: Sequence[float]) -> ColdStarts:
    """What was measured before, as far as it can be."""
    return ColdStarts(prior_s, tuple(_believed(prior_s, seconds) for seconds in measured_s[-_REMEMBERED:]))


def _believed(prior_s: float, seconds: float) -> float:
    return min(max(0.0, seconds), max(_LONGEST_S, _LONGEST_OF_PRIOR * prior_s))


def _is_loading(known: ColdStarts, replica: Replica, now: float) -> bool:
    if replica.passing or replica.incarnation in known.passed:
        return False
    return replica.incarnation in known.loading or now - replica.since <= _TOO_OLD * known.p90_s


def _failed_now(known: ColdStarts, failures: Sequence[Failure], now: float) -> tuple[FailedStart, ...]:
    loading = [(alloc_id, int(restarts)) for alloc_id, _, restarts in (key.rpartition(".") for key in known.loading)]
    return tuple(FailedStart(now, f.why) for alloc_id, restarts in loading for f in failures if _ended(f, alloc_id, restarts))


def _ended(failure: Failure, alloc_id: str, restarts: int) -> bool:
    """The incarnation is over: restarted in place, or ended as a whole."""
    return failure.alloc_id == alloc_id and (restarts < failure.restarts or (failure.has_ended and restarts == failure.restarts))
