"""The laws of the choice: strategies, bounds, the ensemble, decisions, the window and the cache."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleet.serving import Price, Strategy
from router.choice.bounds import admitted
from router.choice.cache import DecisionCache
from router.choice.candidate import Bounds, Candidate, Need, expected_cost
from router.choice.decide import Decision, NoneFits, decide, score
from router.choice.ensemble import ensemble
from router.choice.question import question
from router.choice.strategies import SINGLE
from router.choice.window import Sample, Window
from router.choice.wish import CAPABILITIES, STRATEGIES, BadWish, Wish, parse

LIKE = Candidate(name="like", price=Price(input=0.01, output=0.02), quality=0.5, latency_ms=500.0, in_flight=2, limit=8)

capabilities = st.frozensets(st.sampled_from(CAPABILITIES), max_size=3)
prices = st.builds(Price, input=st.floats(0, 1), output=st.floats(0, 1))


def candidates(least: int = 1) -> st.SearchStrategy[list[Candidate]]:
    one = st.builds(
        Candidate,
        name=st.uuids().map(str),
        price=prices,
        quality=st.floats(0, 1),
        latency_ms=st.floats(0.1, 60_000),
        success_rate=st.floats(0, 1),
        in_flight=st.integers(0, 40),
        limit=st.integers(1, 20),
        context=st.integers(128, 100_000),
        capabilities=capabilities,
    )
    return st.lists(one, min_size=least, max_size=6)


bounds = st.builds(
    Bounds,
    max_cost=st.none() | st.floats(0, 1),
    max_latency_ms=st.none() | st.floats(0, 60_000),
    required_quality=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 100_000),
)
needs = st.builds(
    Need,
    capability=st.sampled_from(CAPABILITIES),
    is_said=st.booleans(),
    input_tokens=st.integers(0, 10_000),
    bounds=bounds,
    turn=st.integers(0, 1000),
)
strategies = st.sampled_from(STRATEGIES)


@given(candidates(), needs, strategies)
def test_a_decision_respects_every_bound_and_loses_nobody_else(among: list[Candidate], need: Need, strategy: Strategy) -> None:
    try:
        decision = decide(among, need, strategy)
    except NoneFits as error:
        assert len(error.refused) == len(among)
        return
    by_name = {candidate.name: candidate for candidate in among}
    limits = need.bounds
    for name in decision.order:
        one = by_name[name]
        assert limits.max_cost is None or expected_cost(one, need) <= limits.max_cost
        assert limits.max_latency_ms is None or one.latency_ms <= limits.max_latency_ms
        assert limits.required_quality is None or one.quality >= limits.required_quality
        assert need.input_tokens + (limits.max_tokens or 0) <= one.context
        assert not need.is_said or not one.capabilities or need.capability in {*one.capabilities, "general"}
    assert sorted((*decision.order, *(each.name for each in decision.refused))) == sorted(by_name)


@given(candidates(), needs, strategies)
def test_a_decision_is_a_function_of_what_it_is_given(among: list[Candidate], need: Need, strategy: Strategy) -> None:
    def decided() -> Decision | str:
        try:
            return decide(among, need, strategy)
        except NoneFits as error:
            return str(error)

    assert decided() == decided()


@given(candidates(), needs, strategies)
def test_scores_lie_between_nought_and_one(among: list[Candidate], need: Need, strategy: Strategy) -> None:
    scores = score(among, need, strategy)
    assert len(scores) == len(among)
    assert all(0 <= value <= 1 + 1e-9 for value in scores)


BETTER = {
    "cost": lambda one, by: replace(one, price=Price(input=one.price.input * by, output=one.price.output * by)),
    "latency": lambda one, by: replace(one, latency_ms=one.latency_ms * by),
    "quality": lambda one, by: replace(one, quality=1 - (1 - one.quality) * by),
    "balanced": lambda one, by: replace(one, latency_ms=one.latency_ms * by),
    "least_loaded": lambda one, by: replace(one, in_flight=int(one.in_flight * by)),
    "ensemble": lambda one, by: replace(one, quality=1 - (1 - one.quality) * by),
}


@pytest.mark.parametrize("strategy", BETTER)
@settings(max_examples=50)  # for each strategy
@given(among=candidates(least=2), need=needs, by=st.floats(0, 1), data=st.data())
def test_who_gets_better_at_a_strategy_s_own_criterion_never_ranks_worse_under_it(
    strategy: Strategy, among: list[Candidate], need: Need, by: float, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(among) - 1))
    better = [*among]
    better[at] = BETTER[strategy](among[at], by)
    before, after = score(among, need, strategy), score(better, need, strategy)
    for other in range(len(among)):
        if other != at and before[at] > before[other] + 1e-9:
            assert after[at] >= after[other] - 1e-9


@pytest.mark.parametrize("strategy", ["cost", "latency", "balanced", "quality"])
@settings(max_examples=50)
@given(among=candidates(), need=needs)
def test_of_two_that_are_else_alike_the_one_that_fails_more_is_never_preferred(
    strategy: Strategy, among: list[Candidate], need: Need
) -> None:
    failing = replace(among[0], name="failing", success_rate=among[0].success_rate / 2)
    scores = score([failing, *among], need, strategy)
    assert scores[0] <= scores[1] + 1e-12


@given(candidates(least=2), st.integers(0, 100))
def test_round_robin_gives_each_the_same_number_of_turns(among: list[Candidate], first: int) -> None:
    firsts = [decide(among, Need(turn=turn), "round_robin").order[0] for turn in range(first, first + 2 * len(among))]
    assert sorted(firsts) == sorted(2 * [one.name for one in among])


@given(candidates(), needs)
def test_alike_candidates_keep_their_order(among: list[Candidate], need: Need) -> None:
    clones = [replace(LIKE, name=str(at)) for at in range(len(among))]
    for strategy in STRATEGIES:
        if strategy != "round_robin":
            assert decide(clones, Need(), strategy).order == tuple(str(at) for at in range(len(among)))


@given(candidates(), needs)
def test_an_ensemble_of_one_orders_as_that_one(among: list[Candidate], need: Need) -> None:
    for strategy, single in SINGLE.items():
        alone, votes = single(among, need), ensemble(among, need, {strategy: 2.5})
        for one in range(len(among)):
            for other in range(len(among)):
                assert (alone[one] > alone[other]) == (votes[one] > votes[other])


def test_the_ensemble_goes_with_the_weight_of_its_voters() -> None:
    cheap = replace(LIKE, name="cheap", price=Price(output=0.001), quality=0.2)
    good = replace(LIKE, name="good", price=Price(output=0.1), quality=0.9)
    assert ensemble([cheap, good], Need(), {"cost": 3.0, "quality": 1.0}) == [0.75, 0.25]
    assert ensemble([cheap, good], Need(), {"cost": 1.0, "quality": 3.0}) == [0.25, 0.75]
    assert ensemble([cheap, good], Need(), {}) == [1.0, 1.0]


def test_what_is_guessed_prefers_and_what_is_said_filters() -> None:
    coder = replace(LIKE, name="coder", capabilities=frozenset(("code_generation",)), price=Price(output=1.0))
    writer = replace(LIKE, name="writer", capabilities=frozenset(("creative_writing",)), price=Price(output=0.001))
    anybody = replace(LIKE, name="anybody", price=Price(output=0.01))
    guess = Need(capability="code_generation")
    assert decide([writer, anybody, coder], guess, "cost").order == ("coder", "anybody", "writer")
    assert decide([writer, anybody, coder], replace(guess, is_said=True), "cost").order == ("anybody", "coder")
    assert decide([writer, anybody, coder], replace(guess, is_said=True), "specialty").order == ("coder", "anybody")


def test_a_refusal_names_the_field_that_most_fail_at() -> None:
    need = Need(bounds=Bounds(max_cost=0.001, max_latency_ms=100))
    dear, slow = replace(LIKE, name="dear", latency_ms=50.0), replace(LIKE, name="slow", price=Price())
    fit, refused = admitted([dear, slow], need)
    assert (fit, [(each.name, each.field) for each in refused]) == ([], [("dear", "max_cost"), ("slow", "max_latency_ms")])
    with pytest.raises(NoneFits, match="takes about 500 ms") as caught:
        decide([slow, replace(slow, name="other"), dear], need, "cost")
    assert caught.value.field == "max_latency_ms"


# window


@given(st.lists(st.builds(Sample, st.booleans(), st.floats(0, 1e5), st.floats(0, 10), st.integers(0, 9999))), st.integers(1, 20))
def test_a_window_knows_its_last_samples_only(samples: list[Sample], size: int) -> None:
    window = Window(size)
    for sample in samples:
        window.add(sample)
    last = samples[-size:]
    good = [sample for sample in last if sample.ok]
    assert (len(window), window.successes, window.total) == (len(last), len(good), len(samples))
    assert window.tokens == sum(sample.tokens for sample in good)
    if good:
        assert window.mean_latency_ms == pytest.approx(sum(s.latency_ms for s in good) / len(good), abs=1e-3)
        assert window.mean_cost == pytest.approx(sum(s.cost for s in good) / len(good), abs=1e-6)
    assert 0 < window.success_rate <= 1


def test_a_quick_failure_makes_nobody_faster() -> None:
    window = Window()
    window.add(Sample(True, 800.0))
    window.add(Sample(False, 1.0))
    assert window.mean_latency_ms == 800.0
    assert window.latency_ms(prior_ms=800.0) == pytest.approx(800.0)
    assert window.success_rate < 1


# cache


def test_a_decision_is_kept_for_its_time_and_no_longer() -> None:
    cache: DecisionCache[str] = DecisionCache(ttl_s=300)
    cache.put("q", 1, "d", now=0.0)
    assert cache.get("q", 1, 299.9) == "d"
    assert cache.get("q", 1, 300.0) is None
    assert len(cache) == 0


def test_a_decision_about_other_candidates_is_not_kept() -> None:
    cache: DecisionCache[str] = DecisionCache()
    cache.put("q", ("a", "b"), "d", now=0.0)
    assert cache.get("q", ("a",), 1.0) is None
    assert cache.get("q", ("a", "b"), 1.0) is None


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 5))
def test_the_least_recently_used_decision_goes_first(keys: list[int], size: int) -> None:
    cache: DecisionCache[int] = DecisionCache(size=size)
    used: list[int] = []
    for key in keys:
        assert (cache.get(key, 0, 0.0) is not None) == (key in used[-size:])
        cache.put(key, 0, key, 0.0)
        used = [each for each in used if each != key] + [key]
    assert cache.hits + cache.misses == len(keys)
    assert len(cache) <= size


# what callers say


@given(st.text(max_size=600) | st.text("=; .1ab_", max_size=40))
@example("=")
@example("=1;=2")
def test_any_header_is_a_wish_or_a_named_mistake(value: str) -> None:
    try:
        assert isinstance(parse(value), Wish)
    except BadWish as error:
        assert error.param
        assert len(str(error)) < 400


def test_a_wish_is_read_whole() -> None:
    read = parse(" Balanced ;max_cost=0.010; capability = CODE;max_tokens=5;required_quality=1;max_latency_ms=20.5;")
    wanted = Bounds(max_cost=0.01, max_latency_ms=20.5, required_quality=1.0, max_tokens=5)
    assert read == Wish("balanced", "code_generation", wanted)
    assert parse("") == Wish()


BODIES = [
    (
        {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]},
        "three",
    ),
    ({"messages": [{"role": "user", "content": "do it"}, {"role": "tool", "content": "42"}]}, "do it"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "what is it"}]}]}, "what is it"),
    ({"prompt": "say"}, "say"),
    ({"prompt": ["say", "this"]}, "say\nthis"),
    ({"input": "answer"}, "answer"),
    ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "look"}]}]}, "look"),
    ({"input": [{"role": "user", "content": "plain"}]}, "plain"),
    ({"messages": []}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("body", "text"), BODIES)
def test_the_words_of_the_last_thing_said_are_found(body: dict[str, object], text: str) -> None:
    assert question(json.dumps(body).encode()).text.strip() == text


def test_tokens_are_estimated_and_the_limit_is_read() -> None:
    body = {"messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 5, "max_completion_tokens": 7}
    read = question(json.dumps(body).encode())
    assert (read.input_tokens, read.max_tokens) == (100, 7)
    assert question(b'{"max_tokens": "many"}').max_tokens is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_body_breaks_the_reading(value: object) -> None:
    question(json.dumps({"messages": value, "input": value}).encode())
    question(json.dumps({"messages": [{"role": "user", "content": value}]}).encode())
    question(json.dumps(value).encode()[:-1])
