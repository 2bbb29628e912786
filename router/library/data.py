"""What goes into the library and comes out of it, as values: models, requests, decisions, results.

Law: a value is checked when it is made, so that nothing inside has to be; capabilities and strategies are taken by the router's names and
by their longer ones (`cost_optimized`). Money in dollars, times in milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

from fleet.serving import Capability, Price, Strategy
from router.choice.candidate import Bounds, Candidate, Need
from router.choice.classify import classify
from router.choice.window import Window
from router.choice.wish import BadWish, capability_of, strategy_of, wish
from router.library.errors import BadConfig

AUTO: Final = "auto"
_CHARS_PER_TOKEN: Final = 4
_LONGEST_QUERY: Final = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model that may be chosen. `max_tokens`: its context, of prompt and answer together. Raises: BadConfig"""

    model_id: str
    name: str = ""
    provider: str = ""
    cost_per_1k_tokens: float = 0.0
    max_tokens: int = 8192
    avg_latency_ms: float = 1000.0
    capabilities: tuple[str, ...] = ()
    quality_score: float = 0.5
    max_concurrent_requests: int = 50
    is_available: bool = True

    def __post_init__(self) -> None:
        if not self.model_id:
            raise BadConfig("model_id is empty; every model needs one of its own")
        object.__setattr__(self, "name", self.name or self.model_id)
        object.__setattr__(self, "capabilities", tuple(_known_capability(each) for each in self.capabilities))
        for field in ("cost_per_1k_tokens", "avg_latency_ms"):
            if not _is_amount(getattr(self, field)):
                raise BadConfig(f"{self.model_id}: {field} is {getattr(self, field)!r}; it must be 0 or more")
        if not 0 <= self.quality_score <= 1:
            raise BadConfig(f"{self.model_id}: quality_score is {self.quality_score!r}; it lies between 0 and 1")
        if self.max_tokens < 1 or self.max_concurrent_requests < 1:
            raise BadConfig(f"{self.model_id}: max_tokens and max_concurrent_requests must be at least 1")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"capabilities": list(self.capabilities)}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRequest:
    """What is asked, and what is not accepted. `capability`: "auto": what the words say. `max_tokens`: of the answer.

    Raises: BadConfig
    """

    query: str
    capability: str = "general"
    strategy: str = "balanced"
    max_tokens: int | None = None
    max_cost: float | None = None
    max_latency_ms: float | None = None
    required_quality: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.query, str) or len(self.query) > _LONGEST_QUERY:
            raise BadConfig(f"query must be text of at most {_LONGEST_QUERY} characters")
        if self.capability != AUTO:
            object.__setattr__(self, "capability", _known_capability(self.capability))
        object.__setattr__(self, "strategy", _known_strategy(self.strategy))
        self.bounds  # noqa: B018 - judged now, by whoever says it

    @property
    def bounds(self) -> Bounds:
        said = {name: getattr(self, name) for name in ("max_cost", "max_latency_ms", "required_quality", "max_tokens")}
        try:
            return wish({name: _plain(value) for name, value in said.items()}).bounds
        except BadWish as error:
            raise BadConfig(f"the query cannot be routed: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDecision:
    """`fallback_models`: who is asked when the selected one fails, in order. `reasoning`: one sentence a step."""

    selected_model: ModelConfig
    fallback_models: tuple[ModelConfig, ...]
    strategy: Strategy
    capability: Capability
    expected_cost: float
    expected_latency_ms: float
    expected_quality: float
    reasoning: tuple[str, ...]

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        return (self.selected_model, *self.fallback_models)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """What asking a model came to. `tried`: the ids of all models that were asked, filled in by the router."""

    success: bool
    model_id: str
    actual_latency_ms: float = 0.0
    actual_cost: float = 0.0
    tokens_used: int = 0
    response: str | None = None
    error: str | None = None
    tried: tuple[str, ...] = ()


ExecutionFn: TypeAlias = Callable[[ModelConfig, QueryRequest], ExecutionResult]
"""Asks one model. What it raises is a failure of that model, and the next one is asked."""


def need_of(request: QueryRequest, turn: int) -> Need:
    """The request as the strategies see it. `turn`: for round robin."""
    is_said = request.capability != AUTO
    capability = capability_of(request.capability) if is_said else classify(request.query).capability
    tokens = len(request.query) // _CHARS_PER_TOKEN
    return Need(capability=capability, is_said=is_said, input_tokens=tokens, bounds=request.bounds, turn=turn)


def candidate_of(model: ModelConfig, window: Window, active: int) -> Candidate:
    """The model as the strategies see it. `active`: requests that it has now."""
    return Candidate(
        name=model.model_id,
        price=Price(input=model.cost_per_1k_tokens, output=model.cost_per_1k_tokens),
        quality=model.quality_score,
        latency_ms=window.latency_ms(model.avg_latency_ms),
        success_rate=window.success_rate,
        in_flight=active,
        limit=model.max_concurrent_requests,
        context=model.max_tokens,
        capabilities=frozenset(capability_of(each) for each in model.capabilities),
    )


def _known_capability(text: str) -> str:
    try:
        return capability_of(str(text))
    except BadWish as error:
        raise BadConfig(str(error)) from error


def _known_strategy(text: str) -> str:
    try:
        return strategy_of(str(text))
    except BadWish as error:
        raise BadConfig(str(error)) from error


def _is_amount(value: float) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _plain(value: float | None) -> str | None:
    """A number as the rules of the header want it, without an exponent."""
    if value is None:
        return None
    return f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) and math.isfinite(value) else str(value)
