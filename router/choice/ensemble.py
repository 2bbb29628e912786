"""The ensemble: several strategies vote with their whole order, each vote weighted.

Law: a strategy gives a candidate its weight for every candidate that it puts behind it, and half of it for every one that it finds
equal (a Borda count), so that one strategy's far-off extreme does not outweigh the others. Scores lie in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fleet.serving import Strategy
from router.choice.candidate import Candidate, Need
from router.choice.strategies import SINGLE, Scores

WEIGHTS: Final[Mapping[Strategy, float]] = {"cost": 1.0, "latency": 1.0, "quality": 1.0, "balanced": 1.0}


def ensemble(candidates: Sequence[Candidate], need: Need, weights: Mapping[Strategy, float] = WEIGHTS) -> Scores:
    """`weights`: the voters, none of them the ensemble itself; with none or only zeros every candidate is as good as any."""
    most = sum(weights.values()) * (len(candidates) - 1)
    if most <= 0:
        return [1.0] * len(candidates)
    votes = [0.0] * len(candidates)
    for voter, weight in weights.items():
        for at, points in enumerate(_borda(SINGLE[voter](candidates, need))):
            votes[at] += weight * points
    return [vote / most for vote in votes]


def _borda(scores: Scores) -> Scores:
    """For each candidate, how many it is preferred to; an equal one counts half."""
    return [
        sum(1.0 if mine > other else 0.5 for at, other in enumerate(scores) if at != own and mine >= other)
        for own, mine in enumerate(scores)
    ]
