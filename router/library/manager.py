"""The library's front: dictionaries in and out, over one LLMRouter.

Law: it adds no decision of its own. A configuration that is taken over replaces everything at once or, where it is wrong, nothing.
Thread-safe, as the router below it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from fleet.serving import Strategy
from router.choice.ensemble import WEIGHTS
from router.choice.wish import BadWish, strategy_of
from router.library import config as files
from router.library.config import Settings, settings
from router.library.data import ExecutionFn, ModelConfig, QueryRequest, RoutingDecision
from router.library.defaults import MODELS
from router.library.errors import BadConfig, NeedsExecution, NoModelFits
from router.library.router import LLMRouter
from router.library.slots import Slots

STRATEGIES: Final = (
    "cost_optimized",
    "latency_optimized",
    "quality_optimized",
    "balanced",
    "round_robin",
    "least_loaded",
    "ensemble",
)
_MOST_ITERATIONS: Final = 1_000_000


class LLMRoutingManager:
    """`config`: see router.library.config; without one, a few example models. `execution_fn`: asks a model, where a query names none."""

    def __init__(self, config: dict[str, Any] | None = None, *, execution_fn: ExecutionFn | None = None) -> None:
        """Raises: BadConfig"""
        self._execution_fn = execution_fn
        self._settings, self.router = _made(settings(config or {}))

    def route_query(self, query: str, capability: str = "general", strategy: str = "balanced", **bounds: Any) -> dict[str, Any]:
        """The decision, with `selected_model`, `fallback_models`, `expected_cost`, `expected_latency_ms` and `reasoning`.

        Args:
            capability: what is needed; "auto": what the words say.
            bounds: max_tokens, max_cost (dollars), max_latency_ms, required_quality (0..1).

        Raises:
            BadConfig: a word or number that is none.
            NoModelFits: no model meets what is demanded.
        """
        return _as_dict(self.router.route(self._request(query, capability, strategy, bounds)))

    def execute_query(
        self,
        query: str,
        capability: str = "general",
        strategy: str = "balanced",
        mock_execution: bool = False,  # noqa: ARG002 - there is no pretending in here: see NeedsExecution
        *,
        execution_fn: ExecutionFn | None = None,
        **bounds: Any,
    ) -> dict[str, Any]:
        """Asks the best model, on failure the next ones. `success` says whether one has answered, `error` why not.

        `mock_execution` is taken so that calls which say it go on working; what is executed is `execution_fn` in any case.

        Raises:
            NeedsExecution: there is no function to ask a model with.
            BadConfig, NoModelFits: as in route_query.
        """
        execute = execution_fn or self._execution_fn
        if execute is None:
            raise NeedsExecution
        result = self.router.execute_with_fallback(self._request(query, capability, strategy, bounds), execute)
        return {**asdict(result), "tried": list(result.tried), "model_used": result.model_id}

    def get_statistics(self) -> dict[str, Any]:
        return self.router.get_statistics()

    def benchmark_strategies(self, test_queries: Sequence[Mapping[str, Any]], iterations: int = 100) -> dict[str, dict[str, float]]:
        """What each strategy would come to over these queries, as expected: nobody is asked, and nothing is learned or kept.

        Of each: `avg_cost` (dollars), `avg_latency` (ms), `avg_quality` of the chosen models, and `success_rate`: of the queries, those for
        which a model fits, times the odds that it answers.

        Args:
            test_queries: each with `query`, and whatever route_query takes beside it but the strategy.
        """
        if not 1 <= iterations <= _MOST_ITERATIONS:
            raise BadConfig(f"iterations is {iterations}; it lies between 1 and {_MOST_ITERATIONS}")
        return {name: self._benchmark(name, test_queries, iterations) for name in STRATEGIES if self._allows(strategy_of(name))}

    def export_config(self, filepath: str | os.PathLike[str]) -> None:
        """Writes what `import_config` reads, models as they are now. Raises: BadConfig: it cannot be written."""
        files.save(filepath, self.config())

    def import_config(self, filepath: str | os.PathLike[str]) -> None:
        """Begins anew with a file's configuration; what was learned of the old models is forgotten. Raises: BadConfig"""
        self._settings, self.router = _made(settings(files.load(filepath)))

    def config(self) -> dict[str, Any]:
        """What `LLMRoutingManager(config=...)` takes."""
        return self._settings.model_dump(exclude={"models"}, exclude_none=True) | {
            "models": [model.as_dict() for model in self.router.models]
        }

    def _request(self, query: str, capability: str, strategy: str, bounds: Mapping[str, Any]) -> QueryRequest:
        try:
            request = QueryRequest(query=query, capability=capability, strategy=strategy, **bounds)
        except TypeError as error:
            raise BadConfig(f"the query cannot be routed: {error}") from error
        if not self._allows(strategy_of(request.strategy)):
            raise BadConfig("strategy is ensemble, and enable_ensemble is off; choose another one")
        return request

    def _allows(self, strategy: Strategy) -> bool:
        return strategy != "ensemble" or self._settings.enable_ensemble

    def _benchmark(self, strategy: str, queries: Sequence[Mapping[str, Any]], iterations: int) -> dict[str, float]:
        trial = self.router.copy()
        found: list[tuple[float, float, float, float]] = []
        for _ in range(iterations):
            for query in queries:
                request = self._request(strategy=strategy, **{"capability": "general", "bounds": _bounds(query), **_words(query)})
                try:
                    made = trial.route(request)
                except NoModelFits:
                    continue
                odds = trial.expected_success(made.selected_model.model_id)
                found.append((made.expected_cost, made.expected_latency_ms, made.expected_quality, odds))
        cost, latency, quality, odds = (sum(column) for column in zip(*found, strict=True)) if found else (0.0,) * 4
        count = len(found) or 1
        asked = iterations * len(queries) or 1
        return {"avg_cost": cost / count, "avg_latency": latency / count, "avg_quality": quality / count, "success_rate": odds / asked}


def _words(query: Mapping[str, Any]) -> dict[str, Any]:
    if "query" not in query:
        raise BadConfig(f"a test query has no `query`: {str(dict(query))[:100]}")
    return {name: query[name] for name in ("query", "capability") if name in query}


def _bounds(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if name not in ("query", "capability", "strategy")}


def _made(now: Settings) -> tuple[Settings, LLMRouter]:
    """Raises: BadConfig"""
    models: tuple[ModelConfig, ...] | None = now.model_configs()
    router = LLMRouter(
        MODELS if models is None else models,
        cache_ttl_s=now.cache_ttl if now.enable_caching else 0.0,
        cache_size=now.cache_size,
        window_size=now.window_size,
        weights=_weights(now),
        slots=Slots(now.max_workers, now.max_queue, now.queue_timeout),
    )
    return now, router


def _weights(now: Settings) -> Mapping[Strategy, float]:
    if now.ensemble_weights is None:
        return WEIGHTS
    try:
        weights = {strategy_of(name): weight for name, weight in now.ensemble_weights.items()}
    except BadWish as error:
        raise BadConfig(f"ensemble_weights: {error}") from error
    if "ensemble" in weights or any(not weight >= 0 or weight == float("inf") for weight in weights.values()):
        raise BadConfig("ensemble_weights: each is a strategy other than the ensemble, with a weight of 0 or more")
    return weights


def _as_dict(decision: RoutingDecision) -> dict[str, Any]:
    return {
        "selected_model": decision.selected_model.as_dict(),
        "fallback_models": [model.as_dict() for model in decision.fallback_models],
        "strategy": decision.strategy,
        "capability": decision.capability,
        "expected_cost": decision.expected_cost,
        "expected_latency_ms": decision.expected_latency_ms,
        "expected_quality": decision.expected_quality,
        "reasoning": list(decision.reasoning),
    }
