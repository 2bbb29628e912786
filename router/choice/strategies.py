"""The strategies: each one scores candidates for a request, and the higher score goes first.

    cost          dollars of an answer, divided by the odds that there is one
    latency       milliseconds of an answer, more under load, divided by the odds
    quality       quality times the odds
    balanced      0.4 x cost + 0.3 x latency + 0.3 x quality
    round_robin   each in turn, whoever it is
    least_loaded  requests in flight against what it carries
    specialty     the order in which the candidates came
    ensemble      what the others' votes come to (router.choice.ensemble)

Law: scores lie in [0, 1], the best candidate of a criterion has 1 and the worst 0, all have 1 where they are alike; what is cheaper
(faster, better, idler) and else alike never scores lower. Equal scores keep the order in which the candidates came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from fleet.serving import Strategy
from router.choice.candidate import Candidate, Need, expected_cost

Scores: TypeAlias = list[float]
Scorer: TypeAlias = Callable[[Sequence[Candidate], Need], Scores]

BALANCE: Final = {"cost": 0.4, "latency": 0.3, "quality": 0.3}
LIVE: Final[frozenset[Strategy]] = frozenset(("round_robin", "least_loaded"))
"""What they say holds for one decision only."""


def least(values: Sequence[float]) -> Scores:
    """1 for the least value, 0 for the largest, in proportion between."""
    low, high = min(values), max(values)
    if high <= low:
        return [1.0] * len(values)
    return [(high - value) / (high - low) for value in values]


def cost(candidates: Sequence[Candidate], need: Need) -> Scores:
    return least([expected_cost(candidate, need) / candidate.odds for candidate in candidates])


def latency(candidates: Sequence[Candidate], _need: Need) -> Scores:
    return least([candidate.latency_ms * (1 + candidate.load) / candidate.odds for candidate in candidates])


def quality(candidates: Sequence[Candidate], _need: Need) -> Scores:
    return least([-candidate.quality * candidate.odds for candidate in candidates])


def balanced(candidates: Sequence[Candidate], need: Need) -> Scores:
    parts = zip(cost(candidates, need), latency(candidates, need), quality(candidates, need), strict=True)
    return [BALANCE["cost"] * c + BALANCE["latency"] * t + BALANCE["quality"] * q for c, t, q in parts]


def round_robin(candidates: Sequence[Candidate], need: Need) -> Scores:
    count = len(candidates)
    return least([(at - need.turn) % count for at in range(count)])


def least_loaded(candidates: Sequence[Candidate], _need: Need) -> Scores:
    return least([candidate.load for candidate in candidates])


def specialty(candidates: Sequence[Candidate], _need: Need) -> Scores:
    return least(list(range(len(candidates))))


SINGLE: Final[Mapping[Strategy, Scorer]] = {
    "cost": cost,
    "latency": latency,
    "quality": quality,
    "balanced": balanced,
    "round_robin": round_robin,
    "least_loaded": least_loaded,
    "specialty": specialty,
}


def by_score(candidates: Sequence[Candidate], scores: Scores) -> list[Candidate]:
    """The highest first; equal ones keep their order."""
    order = sorted(range(len(candidates)), key=lambda at: -scores[at])
    return [candidates[at] for at in order]
