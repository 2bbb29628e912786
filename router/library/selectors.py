"""The strategies as objects, for those who want to hold one: each ranks candidates by the router's own pure function.

Law: nothing is decided here. RoundRobinSelector counts its own turns, thread-safe; all others have no state.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from fleet.serving import Strategy
from router.choice.candidate import Candidate, Need
from router.choice.ensemble import WEIGHTS, ensemble
from router.choice.strategies import SINGLE, Scores, by_score
from router.choice.wish import strategy_of


class ModelSelector(ABC):
    """`rank` puts candidates in order, `select` takes the first. Filtering by bounds is LLMRouter's step before it."""

    @abstractmethod
    def scores(self, candidates: Sequence[Candidate], need: Need) -> Scores:
        """0..1 for each, the higher the better."""

    def rank(self, candidates: Sequence[Candidate], need: Need) -> list[Candidate]:
        return by_score(candidates, self.scores(candidates, need)) if candidates else []

    def select(self, candidates: Sequence[Candidate], need: Need) -> Candidate | None:
        """None: there are no candidates."""
        return next(iter(self.rank(candidates, need)), None)


class _Single(ModelSelector):
    strategy: ClassVar[Strategy]

    def scores(self, candidates: Sequence[Candidate], need: Need) -> Scores:
        return SINGLE[self.strategy](candidates, need)


class CostOptimizedSelector(_Single):
    strategy = "cost"


class LatencyOptimizedSelector(_Single):
    strategy = "latency"


class QualityOptimizedSelector(_Single):
    strategy = "quality"


class BalancedSelector(_Single):
    strategy = "balanced"


class LeastLoadedSelector(_Single):
    strategy = "least_loaded"


class RoundRobinSelector(_Single):
    strategy = "round_robin"

    def __init__(self) -> None:
        self._turns = itertools.count()

    def scores(self, candidates: Sequence[Candidate], need: Need) -> Scores:
        return super().scores(candidates, replace(need, turn=next(self._turns)))


class RouterEnsemble(ModelSelector):
    """`weights`: by the name of a strategy, the longer ones too; None: the usual ones."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.weights = dict(WEIGHTS) if weights is None else {strategy_of(name): weight for name, weight in weights.items()}

    def scores(self, candidates: Sequence[Candidate], need: Need) -> Scores:
        return ensemble(candidates, need, self.weights)
