"""From what routers and engines said to the demand for a model."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from autoscaler.demand import CONCURRENCY, REQUESTS_PER_MIN, demand, load_now
from autoscaler.history import Failed, History, Key, Scrape, extend
from autoscaler.signals import (
    ANSWERS_PER_MIN,
    HELD,
    INPUT_TOKENS_PER_S,
    KV_USE,
    LOG_BYTES_PER_MIN,
    OUTPUT_TOKENS_PER_S,
    QUEUE_TIME_S,
    QUEUED,
    RUNNING,
    SESSION_STARTS_PER_MIN,
    TTFT_S,
    Known,
    Partial,
    Signal,
    Unknown,
)
from autoscaler.text import (
    ARRIVED,
    ENGINE_BEGUN,
    ENGINE_KV,
    ENGINE_LOAD,
    ENGINE_QUEUE,
    ENGINE_QUEUED_S,
    ENGINE_RUNNING,
    FLYING,
    LATENCY_COUNT,
    LATENCY_SUM,
    LOGGED,
    STARTED,
    TOKENS_IN,
    TOKENS_OUT,
    TTFT_COUNT,
    TTFT_SUM,
    WAITING,
)
from autoscaler.window import Window

M = "small-model"
WINDOW = Window(now=60.0, window_s=60, max_age_s=45)
Values = Mapping[Key, float]


def told(names: tuple[str, ...], speak: object) -> History:
    """Seven passes, ten seconds apart; `speak(name, second)` gives a target's values, or the reason of its silence."""
    history = History()
    for at in range(0, 61, 10):
        answers = [speak(name, at) for name in names]  # type: ignore[operator]
        said = [Failed(n, a) if isinstance(a, str) else Scrape(n, at, a) for n, a in zip(names, answers, strict=True)]
        history = extend(history, names, said, now=at, keep_s=150)
    return history


def router(at: int, *, per_s: float = 1.0, latency_s: float = 2.0, flying: float = 0.0, held: float = 0.0) -> Values:
    done = per_s * at
    return {
        (ARRIVED, M): done,
        (LATENCY_COUNT, M): done,
        (LATENCY_SUM, M): done * latency_s,
        (FLYING, M): flying,
        (WAITING, M): held,
    }


def asked(history: History, *, routers: tuple[str, ...] = ("r1",), engines: tuple[str, ...] = ()) -> Mapping[str, Signal]:
    return demand(history, M, routers, engines, WINDOW)


def test_short_requests_between_two_scrapes_are_found_by_littles_law() -> None:
    """One request a second of two seconds: two at a time, though the gauge happened to be zero at every scrape."""
    seen = asked(told(("r1",), lambda _, at: router(at)))
    assert (seen[CONCURRENCY], seen[REQUESTS_PER_MIN]) == (Known(2.0, 0.0), Known(60.0, 0.0))


def test_long_requests_that_have_not_ended_are_found_by_the_gauge() -> None:
    seen = asked(told(("r1",), lambda _, at: router(at, per_s=0, flying=3, held=2)))
    assert seen[CONCURRENCY] == Known(5.0, 0.0)


def test_routers_add_up() -> None:
    seen = asked(told(("r1", "r2"), lambda _, at: router(at)), routers=("r1", "r2"))
    assert (seen[CONCURRENCY], seen[REQUESTS_PER_MIN]) == (Known(4.0, 0.0), Known(120.0, 0.0))
    assert (seen[ANSWERS_PER_MIN], seen[HELD]) == (Known(120.0, 0.0), Known(0.0, 0.0))


def test_one_silent_router_leaves_a_lower_bound() -> None:
    seen = asked(told(("r1", "r2"), lambda name, at: router(at) if name == "r1" else "did not answer"), routers=("r1", "r2"))
    assert seen[REQUESTS_PER_MIN] == Partial(60.0, 0.0, "r2 did not answer")
    assert seen[CONCURRENCY] == Partial(2.0, 0.0, "r2 did not answer")


def test_a_router_that_fell_silent_just_now_is_known_in_part_only() -> None:
    seen = asked(told(("r1",), lambda _, at: router(at) if at < 60 else "did not answer"))
    assert seen[REQUESTS_PER_MIN] == Partial(60.0, 10.0, "r1 did not answer")


def test_without_a_router_the_demand_is_unknown_not_zero() -> None:
    assert asked(History(), routers=())[REQUESTS_PER_MIN] == Unknown("no router is registered in Consul")


def test_engines_are_the_second_source_for_scaling_up_only() -> None:
    history = told(("r1", "e1"), lambda name, at: "did not answer" if name == "r1" else {(ENGINE_LOAD, M): 6.0})
    assert asked(history, engines=("e1",))[CONCURRENCY] == Partial(6.0, 0.0, "r1 did not answer")


def test_work_that_came_past_the_routers_counts() -> None:
    history = told(("r1", "e1"), lambda name, at: router(at) if name == "r1" else {(ENGINE_LOAD, M): 6.0})
    assert asked(history, engines=("e1",))[CONCURRENCY] == Known(6.0, 0.0)


def test_a_router_that_left_is_forgotten_with_its_load() -> None:
    history = told(("r1", "r2"), lambda _, at: router(at, flying=9))
    left = extend(history, ["r1"], [Scrape("r1", 60.0, router(60))], now=60.0, keep_s=150)
    assert set(left.tracks) == {"r1"}


def test_a_model_that_a_router_has_never_heard_of_has_no_demand() -> None:
    history = told(("r1",), lambda _, at: {})
    assert asked(history)[REQUESTS_PER_MIN] == Known(0.0, 0.0)


def test_scrapes_older_than_wanted_are_dropped() -> None:
    history = extend(History(), ["r1"], [Scrape("r1", 0.0, {})], now=0.0, keep_s=50)
    assert extend(history, ["r1"], [Scrape("r1", 60.0, {})], now=60.0, keep_s=50).track("r1").scrapes == (Scrape("r1", 60.0, {}),)


@pytest.mark.parametrize(
    ("last", "load"),
    [({(ENGINE_LOAD, M): 3.0}, Known(3.0, 0.0)), ("did not answer", Unknown("did not answer"))],
)
def test_the_load_of_one_engine_is_that_of_its_last_scrape(last: Values | str, load: Signal) -> None:
    history = told(("e1",), lambda _, at: last if at == 60 else {(ENGINE_LOAD, M): 0.0})
    assert load_now(history, M, "e1", WINDOW) == load


def test_what_nobody_tells_is_no_signal_and_not_zero() -> None:
    assert set(asked(told(("r1",), lambda _, at: {(ARRIVED, M): at}))) == {CONCURRENCY, REQUESTS_PER_MIN}


def test_tokens_sessions_and_log_bytes_are_rates_of_the_routers_counters() -> None:
    history = told(("r1", "r2"), lambda _, at: {(TOKENS_IN, M): 50 * at, (TOKENS_OUT, M): 20 * at, (STARTED, M): at, (LOGGED, M): 10 * at})
    seen = asked(history, routers=("r1", "r2"))
    assert seen[INPUT_TOKENS_PER_S] == Known(100.0, 0.0)
    assert seen[OUTPUT_TOKENS_PER_S] == Known(40.0, 0.0)
    assert seen[SESSION_STARTS_PER_MIN] == Known(120.0, 0.0)
    assert seen[LOG_BYTES_PER_MIN] == Known(1200.0, 0.0)


def test_a_router_that_does_not_count_what_others_count_leaves_a_lower_bound() -> None:
    history = told(("r1", "r2"), lambda name, at: {(LOGGED, M): 10 * at} if name == "r1" else {})
    assert asked(history, routers=("r1", "r2"))[LOG_BYTES_PER_MIN] == Partial(600.0, 0.0, "r2 no answer yet")


def engine(at: int, *, queue: float, kv: float, queued_s: float) -> Values:
    return {
        (ENGINE_RUNNING, M): 1.0,
        (ENGINE_QUEUE, M): queue,
        (ENGINE_KV, M): kv,
        (ENGINE_QUEUED_S, M): queued_s * at,
        (ENGINE_BEGUN, M): at,
    }


def test_engines_tell_their_queue_their_cache_and_the_time_in_the_queue() -> None:
    """Queues add up, cache use does not, and the mean time is that of all requests."""
    histories = {"e1": {"queue": 2.0, "kv": 0.9, "queued_s": 3.0}, "e2": {"queue": 0.0, "kv": 0.3, "queued_s": 0.0}}
    seen = asked(told(("e1", "e2"), lambda name, at: engine(at, **histories[name])), routers=(), engines=("e1", "e2"))
    assert (seen[RUNNING], seen[QUEUED]) == (Known(2.0, 0.0), Known(2.0, 0.0))
    assert seen[KV_USE] == Known(pytest.approx(0.6), 0.0)  # type: ignore[arg-type]
    assert seen[QUEUE_TIME_S] == Known(pytest.approx(1.5), 0.0)  # type: ignore[arg-type]


def test_without_a_request_there_is_no_time_in_the_queue() -> None:
    history = told(("e1",), lambda _, at: {(ENGINE_QUEUED_S, M): 0.0, (ENGINE_BEGUN, M): 5.0})
    assert asked(history, routers=(), engines=("e1",))[QUEUE_TIME_S] == Unknown("no request began in the window")


def test_the_time_to_the_first_token_is_the_mean_of_all_streams() -> None:
    history = told(("r1", "r2"), lambda name, at: {(TTFT_SUM, M): at * (3.0 if name == "r1" else 1.0), (TTFT_COUNT, M): at})
    assert asked(history, routers=("r1", "r2"))[TTFT_S] == Known(pytest.approx(2.0), 0.0)  # type: ignore[arg-type]
