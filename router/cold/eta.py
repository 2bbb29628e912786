"""When a model of a chain is expected to be warm, from what the autoscaler published.

    a replica is loading              its ETA, or now where that has passed: it is late, not lost
    none loads, none is ready         a whole cold start from now: the request that asks is what wakes it
    the autoscaler says nothing       unknown

Of several models the earliest counts. An estimate, never a promise. Pure; times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fleet.state import ModelState

_STALE_S: Final = 300.0  # a document this old says nothing of a replica that is not loading yet


@dataclass(frozen=True, slots=True)
class Warmth:
    """`in_s`: seconds until the first replica is expected; `known` is False where nothing says, and `in_s` is then 0."""

    in_s: float
    known: bool


UNKNOWN: Final = Warmth(0.0, known=False)


def warmth(chain: Iterable[str], states: Mapping[str, ModelState], now: float) -> Warmth:
    """The earliest of the chain's models that the autoscaler knows something of."""
    expected = [in_s for model in chain if (in_s := _of(states.get(model), now)) is not None]
    return Warmth(min(expected), known=True) if expected else UNKNOWN


def _of(state: ModelState | None, now: float) -> float | None:
    if state is None:
        return None
    if state.loading:
        return max(0.0, min(loading.eta for loading in state.loading) - now)
    if state.ready or now - state.updated_at > _STALE_S:
        return None  # ready and yet not with us: it has just left, or just come
    return state.cold_start_p50_s
