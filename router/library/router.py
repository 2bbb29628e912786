"""The routing engine of the library: models that come and go, decisions, and execution with fallback.

    route ─► available models ─► router.choice.decide ─► RoutingDecision
    execute_with_fallback ─► route ─► a slot at the first model ─► execution_fn ─► failed, or no slot: the next one

Law: every public method may be called from any thread. One lock guards models, windows, cache and turns and is never held while a model
is asked or waited for. What is learned from results changes later decisions. No network, no sleep.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from fleet.serving import Strategy
from router.choice.cache import SIZE, TTL_S, DecisionCache, alike, fingerprint
from router.choice.candidate import Candidate, expected_cost
from router.choice.classify import ends
from router.choice.decide import NoneFits, decide
from router.choice.ensemble import WEIGHTS
from router.choice.reasons import reasons
from router.choice.strategies import LIVE
from router.choice.window import SIZE as WINDOW
from router.choice.window import Sample, Window
from router.choice.wish import strategy_of
from router.library.data import ExecutionFn, ExecutionResult, ModelConfig, QueryRequest, RoutingDecision, candidate_of, need_of
from router.library.errors import BadConfig, NoModelFits, UnknownModel
from router.library.slots import Slots


class LLMRouter:
    """`weights`: of the ensemble's voters. `cache_ttl_s` 0: decisions are not kept. `clock`: monotonic seconds."""

    def __init__(
        self,
        models: Iterable[ModelConfig] = (),
        *,
        cache_ttl_s: float = TTL_S,
        cache_size: int = SIZE,
        window_size: int = WINDOW,
        weights: Mapping[Strategy, float] = WEIGHTS,
        slots: Slots | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._slots = slots or Slots(most=1000, most_waiting=100, wait_s=30.0)
        self._cache: DecisionCache[RoutingDecision] = DecisionCache(cache_ttl_s, cache_size)
        self._window_size = window_size
        self._weights = weights
        self._clock = clock
        self._models = {model.model_id: model for model in models}
        self._windows: dict[str, Window] = {}
        self._epoch = self._turns = 0
        self._routed: Counter[Strategy] = Counter()

    # models

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        with self._lock:
            return tuple(self._models.values())

    def add_model(self, model: ModelConfig) -> None:
        """Adds a model, or changes the one with its id."""
        with self._lock:
            self._models[model.model_id] = model
            self._epoch += 1

    def remove_model(self, model_id: str) -> None:
        """What it is asked now is finished. Raises: UnknownModel"""
        with self._lock:
            if self._models.pop(model_id, None) is None:
                raise UnknownModel(model_id)
            self._windows.pop(model_id, None)
            self._epoch += 1

    def update_model_availability(self, model_id: str, is_available: bool) -> None:
        """Raises: UnknownModel"""
        with self._lock:
            if model_id not in self._models:
                raise UnknownModel(model_id)
            self._models[model_id] = replace(self._models[model_id], is_available=is_available)
            self._epoch += 1

    # decisions

    def route(self, request: QueryRequest) -> RoutingDecision:
        """Raises: NoModelFits"""
        strategy = strategy_of(request.strategy)
        active = self._slots.active()
        with self._lock:
            candidates = self._candidates(active)
            self._routed[strategy] += 1
            if strategy in LIVE:
                return self._decide(request, strategy, candidates)
            key = (alike(ends(request.query)), replace(request, query=""), len(request.query))
            version = (self._epoch, *map(fingerprint, candidates))
            known = self._cache.get(key, version, self._clock())
            if known is None:
                known = self._decide(request, strategy, candidates)
                self._cache.put(key, version, known, self._clock())
            return known

    def copy(self) -> LLMRouter:
        """The same models with what was learned of them; what is decided and learned there stays there. It keeps no decisions."""
        with self._lock:
            twin = LLMRouter(self._models.values(), cache_ttl_s=0.0, weights=self._weights, clock=self._clock)
            twin._windows = {model_id: window.copy() for model_id, window in self._windows.items()}
            return twin

    def expected_success(self, model_id: str) -> float:
        """0..1, from what was seen of it."""
        with self._lock:
            return self._window(model_id).success_rate

    def _candidates(self, active: Mapping[str, int]) -> list[Candidate]:
        available = (model for model in self._models.values() if model.is_available)
        return [candidate_of(model, self._window(model.model_id), active.get(model.model_id, 0)) for model in available]

    def _window(self, model_id: str) -> Window:
        window = self._windows.get(model_id)
        if window is None:
            window = self._windows[model_id] = Window(self._window_size)
        return window

    def _decide(self, request: QueryRequest, strategy: Strategy, candidates: list[Candidate]) -> RoutingDecision:
        need = need_of(request, self._turns)
        self._turns += strategy == "round_robin"
        try:
            decision = decide(candidates, need, strategy, self._weights)
        except NoneFits as error:
            raise NoModelFits(f"no available model fits: {error}", error.field) from error
        first = next(candidate for candidate in candidates if candidate.name == decision.order[0])
        models = tuple(self._models[name] for name in decision.order)
        return RoutingDecision(
            selected_model=models[0],
            fallback_models=models[1:],
            strategy=strategy,
            capability=need.capability,
            expected_cost=expected_cost(first, need),
            expected_latency_ms=first.latency_ms,
            expected_quality=first.quality,
            reasoning=reasons(decision, need),
        )

    # execution

    def execute_with_fallback(self, request: QueryRequest, execution_fn: ExecutionFn) -> ExecutionResult:
        """Asks the best model, and on failure the next. The last failure is returned, with all that were tried.

        Raises:
            NoModelFits: no model meets what is demanded. What `execution_fn` raises is a failure of the model, not raised.
            BadConfig: `execution_fn` returns something else than a result.
        """
        tried: tuple[str, ...] = ()
        last: ExecutionResult | None = None
        for model in self.route(request).models:
            result = self._at(model, request, execution_fn)
            if result is None:
                continue
            last, tried = result, (*tried, model.model_id)
            if result.success:
                break
        if last is None:
            return ExecutionResult(success=False, model_id="", error="every model that fits is busy, and none had room in time")
        return replace(last, tried=tried)

    def _at(self, model: ModelConfig, request: QueryRequest, execution_fn: ExecutionFn) -> ExecutionResult | None:
        """None: it has no room."""
        if not self._slots.take(model.model_id, model.max_concurrent_requests):
            return None
        try:
            began = self._clock()
            result = _asked(model, request, execution_fn)
            took_ms = result.actual_latency_ms or (self._clock() - began) * 1000
        finally:
            self._slots.give_back(model.model_id)
        sample = Sample(result.success, took_ms, result.actual_cost, result.tokens_used)
        with self._lock:
            if model.model_id in self._models:
                self._window(model.model_id).add(sample)
        return replace(result, model_id=model.model_id, actual_latency_ms=took_ms)

    # numbers

    def get_statistics(self) -> dict[str, Any]:
        """`model_stats` by id; rates are of the last 1,000 results, `total_requests` of all."""
        active, waiting = self._slots.active(), self._slots.waiting()
        with self._lock:
            windows = {model_id: self._window(model_id) for model_id in self._models}
            stats = {model_id: _statistics(window) for model_id, window in windows.items()}
            for model_id, numbers in stats.items():
                numbers |= {"active_requests": active.get(model_id, 0), "waiting_requests": waiting.get(model_id, 0)}
                numbers["is_available"] = self._models[model_id].is_available
            return {
                "total_requests": sum(window.total for window in windows.values()),
                "decisions": dict(self._routed),
                "cache": {"entries": len(self._cache), "hits": self._cache.hits, "misses": self._cache.misses},
                "model_stats": stats,
            }


def _asked(model: ModelConfig, request: QueryRequest, execution_fn: ExecutionFn) -> ExecutionResult:
    try:
        result = execution_fn(model, request)
    except Exception as error:  # a caller's function: whatever it raises is why this model did not answer
        return ExecutionResult(success=False, model_id=model.model_id, error=f"{type(error).__name__}: {error}")
    if not isinstance(result, ExecutionResult):
        raise BadConfig(f"execution_fn returned {type(result).__name__} for {model.model_id}; it must return an ExecutionResult")
    return result


def _statistics(window: Window) -> dict[str, Any]:
    return {
        "total_requests": window.total,
        "avg_latency_ms": window.mean_latency_ms,
        "avg_cost": window.mean_cost,
        "success_rate": window.seen_success_rate,
        "tokens_used": window.tokens,
    }
