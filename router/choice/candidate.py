"""Who may answer a request, and what the request needs.

Law: a candidate is a value, made for one decision: what is described about a model or provider, and what has been measured of it.
What a caller says it needs is a demand, what was guessed from its words a preference only: `is_said` keeps the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fleet.serving import Capability, Price

USUAL_ANSWER_TOKENS: Final = 256
"""Of an answer whose length nobody has limited: what costs are compared by."""
_LEAST_SUCCESS: Final = 0.01  # one that always fails is dear, not infinitely so


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """`latency_ms`: of a whole answer. `success_rate`: 0..1. `limit`: requests that it carries at once. `context`: in tokens.

    `capabilities`: what it is good at; empty: everything alike.
    """

    name: str
    price: Price = field(default_factory=Price)
    quality: float = 0.5
    latency_ms: float = 1000.0
    success_rate: float = 1.0
    in_flight: int = 0
    limit: int = 1
    context: int = 8192
    capabilities: frozenset[Capability] = frozenset()

    @property
    def load(self) -> float:
        """1: it has as much as it carries."""
        return self.in_flight / max(self.limit, 1)

    @property
    def odds(self) -> float:
        """Of success, never zero."""
        return max(self.success_rate, _LEAST_SUCCESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a caller does not accept. None: it does not care."""

    max_cost: float | None = None
    """Dollars."""
    max_latency_ms: float | None = None
    required_quality: float | None = None
    max_tokens: int | None = None
    """Of the answer."""


NO_BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """`is_said`: the caller named the capability, nothing was guessed. `turn` counts decisions, for round robin."""

    capability: Capability = "general"
    is_said: bool = False
    input_tokens: int = 0
    bounds: Bounds = NO_BOUNDS
    turn: int = 0

    @property
    def answer_tokens(self) -> int:
        return USUAL_ANSWER_TOKENS if self.bounds.max_tokens is None else self.bounds.max_tokens


def expected_cost(candidate: Candidate, need: Need) -> float:
    """Dollars of one answer."""
    price = candidate.price
    return (need.input_tokens * price.input + need.answer_tokens * price.output) / 1000


def is_fit(candidate: Candidate, capability: Capability) -> bool:
    """It is good at that, or at everything alike."""
    return capability == "general" or not candidate.capabilities or capability in candidate.capabilities


def is_specialist(candidate: Candidate, capability: Capability) -> bool:
    """It names that among what it is good at."""
    return capability != "general" and capability in candidate.capabilities
