"""A decision in words: one sentence for each of its steps, for people. Pure."""

from __future__ import annotations

from router.choice.candidate import Need
from router.choice.decide import Decision


def reasons(decision: Decision, need: Need) -> tuple[str, ...]:
    """One sentence for each step: classify, filter, rank, boost, fallback."""
    said = "named by the caller" if need.is_said else "guessed from the words"
    refused = "; ".join(f"{each.name} {each.why}" for each in decision.refused) or "nobody is left out"
    ranked = ", ".join(f"{name} {value:.3f}" for name, value in decision.ranked)
    return (
        f"classify: {need.capability}, {said}",
        f"filter: {refused}",
        f"rank by {decision.strategy}: {ranked}",
        f"boost: {', '.join(decision.boosted) or 'nobody'}",
        f"fallback: {' -> '.join(decision.order)}",
    )
