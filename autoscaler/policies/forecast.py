"""Policy `forecast`: what is needed when a replica that is ordered now is warm (autoscaler/forecast answers, this one asks).

A forecast that rests on old numbers holds: it may ask for more, never for fewer.
"""

from __future__ import annotations

from autoscaler.policies.vote import View, Vote, hold
from autoscaler.signals import Unknown

_FRESH_MIN = 3


def vote(view: View) -> Vote:
    made = view.forecast
    if isinstance(made, Unknown):
        return hold(view, "forecast", made)
    why = f"forecast {made.low} to {made.high} in {view.lead_s / 60:.0f} min: {made.reason}"
    if made.age_min <= _FRESH_MIN:
        return Vote(made.desired, may_go_down=True, why=why)
    return Vote(max(view.current, made.desired), may_go_down=False, why=f"{why}, on numbers {made.age_min} min old")
