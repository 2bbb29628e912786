"""A decision: the order of candidates for one request, and what each step made of them.

    filter    bounds refuse candidates; none is left: NoneFits
    rank      the strategy's order of the others
    boost     where the capability was guessed, or the strategy is specialty: specialists go first, those that are good at other
              things only go last, each group in its order; where the caller named it, the filter has seen to it
    fallback  the first answers; the rest, in order, are for failures

Law: a deterministic function of its arguments. Classifying is the caller's step before it (router.choice.classify), because what a
caller says it needs is not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.serving import Capability, Strategy
from router.choice.bounds import Field, Refusal, admitted, blamed
from router.choice.candidate import Candidate, Need, is_fit, is_specialist
from router.choice.ensemble import WEIGHTS, ensemble
from router.choice.strategies import SINGLE, Scores, by_score


class NoneFits(Exception):
    """No candidate meets what the caller demands; `field` is what to loosen, `refused` says who failed at what."""

    def __init__(self, refused: Sequence[Refusal]) -> None:
        super().__init__("; ".join(f"{each.name} {each.why}" for each in refused) or "there is nobody to choose from")
        self.refused = tuple(refused)
        self.field: Field = blamed(refused) if refused else "capability"


@dataclass(frozen=True, slots=True)
class Decision:
    """`order`: names, the first answers. `ranked`: by the strategy alone, with its scores. `boosted`: specialists that were moved ahead."""

    order: tuple[str, ...]
    strategy: Strategy
    capability: Capability
    refused: tuple[Refusal, ...]
    ranked: tuple[tuple[str, float], ...]
    boosted: tuple[str, ...]


def decide(candidates: Sequence[Candidate], need: Need, strategy: Strategy, weights: Mapping[Strategy, float] = WEIGHTS) -> Decision:
    """Raises: NoneFits"""
    fit, refused = admitted(candidates, need)
    if not fit:
        raise NoneFits(refused)
    scores = score(fit, need, strategy, weights)
    ranked = by_score(fit, scores)
    order = boosted(ranked, need.capability) if strategy == "specialty" or not need.is_said else ranked
    return Decision(
        order=tuple(candidate.name for candidate in order),
        strategy=strategy,
        capability=need.capability,
        refused=tuple(refused),
        ranked=tuple((candidate.name, value) for candidate, value in zip(ranked, sorted(scores, reverse=True), strict=True)),
        boosted=tuple(candidate.name for candidate in order if order != ranked and is_specialist(candidate, need.capability)),
    )


def score(candidates: Sequence[Candidate], need: Need, strategy: Strategy, weights: Mapping[Strategy, float] = WEIGHTS) -> Scores:
    return ensemble(candidates, need, weights) if strategy == "ensemble" else SINGLE[strategy](candidates, need)


def boosted(ranked: Sequence[Candidate], capability: Capability) -> list[Candidate]:
    """Specialists, then those that are good at everything alike, then the others."""
    return sorted(ranked, key=lambda candidate: -(is_specialist(candidate, capability) + is_fit(candidate, capability)))
