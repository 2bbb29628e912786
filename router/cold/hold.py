"""What becomes of a request for which no replica has room now: it is held, downgraded to the next warm model, or shed.

    on_cold     another model of the chain is warm      none is
    downgrade   downgrade                               hold if it may be warm in time, else shed
    hold        hold if in time, else downgrade         hold if it may be warm in time, else shed
    shed        shed                                    shed

In time: the expected warmth lies within the request's patience, or is unknown: a replica that has just died has no ETA yet and is
usually back soon. Patience is the route's hold, or what the caller's own deadline leaves if that is less. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from router.cold.eta import Warmth

OnCold = Literal["downgrade", "hold", "shed"]

_MARGIN_S: Final = 0.5  # an answer that says no must still reach the caller before its deadline; the sweep looks every 0.25 s


class Fate(Enum):
    HOLD = "hold"
    DOWNGRADE = "downgrade"
    SHED = "shed"


@dataclass(frozen=True, slots=True)
class Cold:
    """What a route does while its model has no room."""

    on_cold: OnCold = "downgrade"
    hold_s: float = 20.0


DEFAULT: Final = Cold()
"""For a model that no route names."""


def fate(on_cold: OnCold, warmth: Warmth, patience_s: float, *, another: bool) -> Fate:
    """`another`: a further model of the chain is warm."""
    if on_cold == "shed":
        return Fate.SHED
    if on_cold == "downgrade" and another:
        return Fate.DOWNGRADE
    if patience_s > 0 and warmth.in_s <= patience_s:
        return Fate.HOLD
    return Fate.DOWNGRADE if another else Fate.SHED


def patience_s(hold_s: float, deadline_s: float | None, age_s: float) -> float:
    """How long a request may wait from now. `deadline_s`: the caller's own, from its start; None: it named none."""
    return hold_s if deadline_s is None else min(hold_s, deadline_s - age_s - _MARGIN_S)
