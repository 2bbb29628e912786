"""The library: the examples that its users have, execution with fallback, limits, many threads, and configuration files."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.choice.decide import NoneFits, decide
from router.choice.window import Window
from router.choice.wish import CAPABILITIES, STRATEGIES
from router.library import (
    BadConfig,
    BalancedSelector,
    CostOptimizedSelector,
    ExecutionResult,
    LatencyOptimizedSelector,
    LeastLoadedSelector,
    LLMRouter,
    LLMRoutingManager,
    ModelConfig,
    ModelSelector,
    NeedsExecution,
    NoModelFits,
    QualityOptimizedSelector,
    QueryRequest,
    RoundRobinSelector,
    RouterEnsemble,
    UnknownModel,
)
from router.library.config import Settings
from router.library.data import candidate_of, need_of
from router.library.slots import Slots

CHEAP = ModelConfig(model_id="cheap", cost_per_1k_tokens=0.001, quality_score=0.4, avg_latency_ms=900.0)
FAST = ModelConfig(model_id="fast", cost_per_1k_tokens=0.02, quality_score=0.5, avg_latency_ms=50.0)
GOOD = ModelConfig(model_id="good", cost_per_1k_tokens=0.06, quality_score=0.95, avg_latency_ms=2000.0)
MODELS = (FAST, GOOD, CHEAP)
ASK = QueryRequest(query="hm")


def pretends(*failing: str) -> Callable[[ModelConfig, QueryRequest], ExecutionResult]:
    """An execution function that asks nobody. A test's own business: the library has none."""

    def execute(model: ModelConfig, request: QueryRequest) -> ExecutionResult:
        if model.model_id in failing:
            raise ConnectionError(f"{model.model_id} is down")
        return ExecutionResult(
            success=True, model_id=model.model_id, actual_latency_ms=20.0, actual_cost=0.01, tokens_used=7, response=f"to {request.query}"
        )

    return execute


# the users' own examples


def test_the_quick_start() -> None:
    manager = LLMRoutingManager(execution_fn=pretends())
    decision = manager.route_query(query="What is the capital of France?", capability="simple_qa", strategy="cost_optimized")
    assert decision["selected_model"]["name"] == "small-model"
    assert f"${decision['expected_cost']:.4f}" == "$0.0001"
    assert decision["expected_latency_ms"] > 0
    result = manager.execute_query(
        query="Write a Python function to sort a list", capability="code_generation", strategy="balanced", mock_execution=True
    )
    assert result["success"]
    assert result["model_used"] in {"code-model", "large-model", "gpt-4"}


def test_the_configuration_example() -> None:
    config: dict[str, Any] = {
        "enable_caching": True,
        "enable_ensemble": True,
        "cache_ttl": 300,
        "max_workers": 10,
        "models": [
            {
                "model_id": "gpt-4",
                "name": "GPT-4",
                "provider": "openai",
                "cost_per_1k_tokens": 0.03,
                "max_tokens": 8192,
                "avg_latency_ms": 2000,
                "capabilities": ["complex_reasoning", "code_generation", "analysis"],
                "quality_score": 0.95,
                "max_concurrent_requests": 50,
            }
        ],
    }
    manager = LLMRoutingManager(config=config)
    assert manager.route_query("Prove it", capability="complex_reasoning")["selected_model"]["name"] == "GPT-4"
    with pytest.raises(NoModelFits, match="gpt-4 is not described as good at translation") as caught:
        manager.route_query("Hallo", capability="translation")
    assert caught.value.field == "capability"


def test_the_example_with_constraints() -> None:
    decision = LLMRoutingManager().route_query(
        query="Analyze this data...", capability="analysis", strategy="balanced", max_cost=0.01, max_latency_ms=1000, required_quality=0.85
    )
    assert decision["selected_model"]["model_id"] == "large-model"
    assert [each for each in decision["reasoning"] if each.startswith("filter: small-model is not described")]


def test_the_example_of_fallback_and_of_statistics() -> None:
    manager = LLMRoutingManager(execution_fn=pretends("gpt-4"))
    result = manager.execute_query(query="Generate code for...", capability="code_generation", strategy="quality_optimized")
    assert (result["success"], result["response"], result["tried"]) == (True, "to Generate code for...", ["gpt-4", "large-model"])
    stats = manager.get_statistics()["model_stats"]
    assert (stats["gpt-4"]["success_rate"], stats["large-model"]["success_rate"]) == (0.0, 1.0)
    assert (stats["large-model"]["avg_latency_ms"], stats["large-model"]["avg_cost"]) == (20.0, 0.01)


def test_the_example_of_a_benchmark() -> None:
    queries = [
        {"query": "Simple question", "capability": "simple_qa"},
        {"query": "Complex analysis", "capability": "complex_reasoning"},
        {"query": "Code task", "capability": "code_generation"},
    ]
    manager = LLMRoutingManager()
    found = manager.benchmark_strategies(queries, iterations=5)
    assert found["cost_optimized"]["avg_cost"] == min(each["avg_cost"] for each in found.values())
    assert found["latency_optimized"]["avg_latency"] == min(each["avg_latency"] for each in found.values())
    assert found["quality_optimized"]["avg_quality"] == max(each["avg_quality"] for each in found.values())
    assert all(each["success_rate"] == 1.0 for each in found.values())
    assert manager.get_statistics()["decisions"] == {}


def test_without_a_function_nothing_is_executed_and_nothing_is_pretended() -> None:
    for mock in (True, False):
        with pytest.raises(NeedsExecution, match="execution_fn"):
            LLMRoutingManager().execute_query("hm", mock_execution=mock)


# decisions


requests = st.builds(
    QueryRequest,
    query=st.text(max_size=200),
    capability=st.sampled_from([*CAPABILITIES, "auto"]),
    strategy=st.sampled_from(STRATEGIES),
    max_tokens=st.none() | st.integers(1, 20_000),
    max_cost=st.none() | st.floats(0, 1),
    max_latency_ms=st.none() | st.floats(0, 5000),
    required_quality=st.none() | st.floats(0, 1),
)
models = st.builds(
    ModelConfig,
    model_id=st.uuids().map(str),
    cost_per_1k_tokens=st.floats(0, 1),
    max_tokens=st.integers(1, 40_000),
    avg_latency_ms=st.floats(0, 5000),
    capabilities=st.lists(st.sampled_from(CAPABILITIES), max_size=3).map(tuple),
    quality_score=st.floats(0, 1),
)


@given(st.lists(models, max_size=5), requests)
def test_its_decisions_are_those_of_the_router(among: list[ModelConfig], request: QueryRequest) -> None:
    candidates = [candidate_of(model, Window(), 0) for model in among]
    try:
        wanted = decide(candidates, need_of(request, 0), request.strategy).order  # type: ignore[arg-type]
    except NoneFits:
        with pytest.raises(NoModelFits):
            LLMRouter(among).route(request)
        return
    assert tuple(model.model_id for model in LLMRouter(among).route(request).models) == wanted


SELECTORS: list[tuple[ModelSelector, list[str]]] = [
    (CostOptimizedSelector(), ["cheap", "fast", "good"]),
    (LatencyOptimizedSelector(), ["fast", "cheap", "good"]),
    (QualityOptimizedSelector(), ["good", "fast", "cheap"]),
    (BalancedSelector(), ["fast", "cheap", "good"]),
    (LeastLoadedSelector(), ["good", "cheap", "fast"]),
    (RouterEnsemble({"quality_optimized": 1.0}), ["good", "fast", "cheap"]),
    (RouterEnsemble(), ["fast", "cheap", "good"]),
]


@pytest.mark.parametrize(("selector", "wanted"), SELECTORS)
def test_a_selector_ranks_by_its_strategy(selector: ModelSelector, wanted: list[str]) -> None:
    load = {"fast": 20, "good": 0, "cheap": 5}
    candidates = [candidate_of(model, Window(), load[model.model_id]) for model in MODELS]
    assert [one.name for one in selector.rank(candidates, need_of(ASK, 0))] == wanted
    assert selector.select([], need_of(ASK, 0)) is None


def test_a_round_robin_selector_takes_each_in_turn() -> None:
    selector, candidates = RoundRobinSelector(), [candidate_of(model, Window(), 0) for model in MODELS]
    firsts = [selector.rank(candidates, need_of(ASK, 0))[0].name for _ in range(6)]
    assert firsts == ["fast", "good", "cheap"] * 2


def test_models_come_and_go_and_the_kept_decisions_with_them() -> None:
    router, ask = LLMRouter(MODELS), QueryRequest(query="hm", strategy="cost")

    def first() -> str:
        return router.route(ask).selected_model.model_id

    assert [first(), first()] == ["cheap", "cheap"]
    assert router.get_statistics()["cache"]["hits"] == 1
    router.update_model_availability("cheap", False)
    assert first() == "fast"
    router.update_model_availability("cheap", True)
    router.add_model(ModelConfig(model_id="free"))
    assert first() == "free"
    router.remove_model("free")
    assert first() == "cheap"
    for change in (lambda: router.remove_model("free"), lambda: router.update_model_availability("free", True)):
        with pytest.raises(UnknownModel, match="free"):
            change()


def test_kept_decisions_end_with_their_time() -> None:
    now = [0.0]
    router = LLMRouter(MODELS, clock=lambda: now[0])
    for at in (0.0, 299.0, 301.0):
        now[0] = at
        router.route(ASK)
    assert router.get_statistics()["cache"] == {"entries": 1, "hits": 1, "misses": 2}


def test_a_model_that_fails_often_loses_its_rank() -> None:
    router = LLMRouter(MODELS)
    ask = QueryRequest(query="hm", strategy="quality")
    assert router.route(ask).selected_model.model_id == "good"
    for _ in range(30):
        assert router.execute_with_fallback(ask, pretends("good")).success
    assert router.route(ask).selected_model.model_id == "fast"


def test_when_all_fail_the_last_failure_and_all_names_are_told() -> None:
    result = LLMRouter(MODELS).execute_with_fallback(ASK, pretends("fast", "good", "cheap"))
    assert not result.success
    assert sorted(result.tried) == ["cheap", "fast", "good"]
    assert result.error == f"ConnectionError: {result.model_id} is down"


def test_a_result_that_says_no_goes_on_to_the_next_model() -> None:
    def refuses(model: ModelConfig, _request: QueryRequest) -> ExecutionResult:
        return ExecutionResult(success=model.model_id == "cheap", model_id=model.model_id, error="not today")

    result = LLMRouter(MODELS).execute_with_fallback(QueryRequest(query="hm", strategy="latency"), refuses)
    assert (result.success, result.tried) == (True, ("fast", "cheap"))


def test_a_function_that_returns_no_result_is_said_to_be_wrong() -> None:
    router = LLMRouter(MODELS)
    with pytest.raises(BadConfig, match="returned NoneType"):
        router.execute_with_fallback(ASK, lambda _model, _request: None)  # type: ignore[arg-type,return-value]
    assert all(row["active_requests"] == 0 for row in router.get_statistics()["model_stats"].values())


# limits


def test_whoever_finds_a_model_and_its_queue_full_goes_elsewhere() -> None:
    one = ModelConfig(model_id="one", max_concurrent_requests=1, quality_score=1.0)
    router = LLMRouter((one, GOOD), slots=Slots(most=10, most_waiting=0, wait_s=60.0))
    ask, inside, leave = QueryRequest(query="hm", strategy="quality"), threading.Event(), threading.Event()

    def slow(model: ModelConfig, request: QueryRequest) -> ExecutionResult:
        inside.set()
        assert leave.wait(60)
        return pretends()(model, request)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(router.execute_with_fallback, ask, slow)
        assert inside.wait(60)
        assert router.get_statistics()["model_stats"]["one"]["active_requests"] == 1
        second = router.execute_with_fallback(ask, pretends())
        leave.set()
        assert first.result(60).model_id == "one"
    assert (second.model_id, second.tried) == ("good", ("good",))


def test_who_may_wait_gets_the_slot_when_it_is_free() -> None:
    slots = Slots(most=10, most_waiting=1, wait_s=60.0)
    assert slots.take("m", 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slots.take, "m", 1)
        while not slots.waiting():
            assert not waiting.done()
        assert not slots.take("m", 1)  # the queue is full
        slots.give_back("m")
        assert waiting.result(60)
    assert slots.active() == {"m": 1}


def test_nobody_waits_for_ever_and_all_models_together_have_a_limit() -> None:
    slots = Slots(most=1, most_waiting=1, wait_s=0.0)
    assert slots.take("a", 5)
    assert not slots.take("b", 5)
    busy = LLMRouter(MODELS, slots=slots).execute_with_fallback(ASK, pretends())
    assert (busy.success, busy.error) == (False, "every model that fits is busy, and none had room in time")


def test_many_threads_break_nothing() -> None:
    limit = 3
    models = [ModelConfig(model_id=name, max_concurrent_requests=limit) for name in ("a", "b", "c")]
    router = LLMRouter(models, slots=Slots(most=8, most_waiting=1000, wait_s=60.0), cache_size=4)
    inside: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()

    def execute(model: ModelConfig, request: QueryRequest) -> ExecutionResult:
        with lock:
            inside[model.model_id] += 1
            most[model.model_id] = max(most[model.model_id], inside[model.model_id])
            assert inside.total() <= 8
        with lock:
            inside[model.model_id] -= 1
        return ExecutionResult(success=True, model_id=model.model_id)

    def work(number: int) -> bool:
        if number % 20 == 0:
            router.update_model_availability("c", number % 40 == 0)
            router.add_model(ModelConfig(model_id=f"extra-{number}"))
            router.remove_model(f"extra-{number}")
            router.get_statistics()
        strategy = STRATEGIES[number % len(STRATEGIES)]
        return router.execute_with_fallback(QueryRequest(query=str(number % 7), strategy=strategy), execute).success

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(800)))
    stats = router.get_statistics()
    assert max(most[name] for name in "abc") <= limit
    assert stats["total_requests"] <= 800
    assert sum(stats["decisions"].values()) == 800
    assert {name: row["active_requests"] for name, row in stats["model_stats"].items()} == dict.fromkeys("abc", 0)


# configuration


def test_a_configuration_goes_out_and_comes_in_the_same(tmp_path: Path) -> None:
    first = LLMRoutingManager({"cache_ttl": 60, "ensemble_weights": {"cost": 2.0}, "models": [CHEAP.as_dict(), GOOD.as_dict()]})
    first.router.update_model_availability("good", False)
    first.export_config(tmp_path / "config.json")
    second = LLMRoutingManager()
    second.import_config(tmp_path / "config.json")
    assert second.config() == first.config() == json.loads((tmp_path / "config.json").read_text())
    assert [(model.model_id, model.is_available) for model in second.router.models] == [("cheap", True), ("good", False)]


WRONG = [
    ({"modles": []}, "modles"),
    ({"cache_ttl": -1}, "cache_ttl"),
    ({"models": [{"name": "nameless"}]}, "models.0.model_id"),
    ({"models": [{"model_id": "a"}, {"model_id": "a"}]}, "twice"),
    ({"models": [{"model_id": "a", "quality_score": 2}]}, "quality_score"),
    ({"models": [{"model_id": "a", "cost_per_1k_tokens": float("nan")}]}, "cost_per_1k_tokens"),
    ({"models": [{"model_id": "a", "capabilities": ["magic"]}]}, "magic"),
    ({"ensemble_weights": {"ensemble": 1.0}}, "ensemble_weights"),
    ({"ensemble_weights": {"luck": 1.0}}, "luck"),
]


@pytest.mark.parametrize(("config", "named"), WRONG)
def test_a_wrong_configuration_is_refused_with_its_key_and_changes_nothing(config: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=named):
        LLMRoutingManager(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    manager = LLMRoutingManager({"models": [CHEAP.as_dict()]})
    with pytest.raises(BadConfig):
        manager.import_config(tmp_path / "config.json")
    assert [model.model_id for model in manager.router.models] == ["cheap"]


@pytest.mark.parametrize("text", ["", "[]", "[" * 50_000, "\udcff", "{"])
def test_a_file_that_is_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadConfig, match=r"config\.json"):
        LLMRoutingManager().import_config(tmp_path / "config.json")


QUERIES: list[dict[str, Any]] = [
    {"capability": "magic"},
    {"strategy": "fastest"},
    {"max_cost": -1},
    {"max_cost": float("nan")},
    {"required_quality": 1.1},
    {"max_tokens": 0},
    {"temperature": 1},
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, Any]) -> None:
    with pytest.raises(BadConfig):
        LLMRoutingManager().route_query("hm", **query)


def test_auto_lets_the_words_say_what_is_needed() -> None:
    decision = LLMRoutingManager().route_query("Write a Python function that sorts a list", capability="auto", strategy="cost")
    assert (decision["capability"], decision["selected_model"]["model_id"]) == ("code_generation", "code-model")


def test_without_the_ensemble_it_cannot_be_asked_for() -> None:
    manager = LLMRoutingManager({"enable_ensemble": False})
    with pytest.raises(BadConfig, match="enable_ensemble"):
        manager.route_query("hm", strategy="ensemble")
    assert "ensemble" not in manager.benchmark_strategies([{"query": "hm"}], iterations=1)


def test_every_block_of_its_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), "docs/library.md", "exec"), {"__name__": "page"})


def test_the_page_names_every_key_of_the_configuration_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "library.md").read_text("utf-8")
    assert set(Settings.model_fields) == {
        key for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }
