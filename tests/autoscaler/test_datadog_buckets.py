"""One series of Datadog as a signal: only whole buckets inside the span, zero never out of nothing, and nonsense is unknown."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.datadog.answer import series_of
from autoscaler.datadog.buckets import Look, clipped, mean, rate_per_s, with_zeros, without_jumps
from autoscaler.datadog.errors import MalformedAnswer
from autoscaler.datadog.queries import queries_for
from autoscaler.datadog.question import Query, Span, span_before
from autoscaler.datadog.reading import readings
from autoscaler.signals import Known, Partial, Unknown
from fleet.model import Capacity, Model, Spec

SPAN = Span(start=600.0, end=960.0, width_s=30)
LOOK = Look(SPAN, window_s=60, now=1000.0)
QUERY = Query("x", "count", "x.y", "*", "model")


def points(*values: float, last: float = 930.0) -> list[tuple[float, float]]:
    return [(last - 30 * (len(values) - 1 - i), value) for i, value in enumerate(values)]


def test_the_span_ends_before_the_points_that_still_come_in() -> None:
    assert span_before(1075.0, offset_s=45, length_s=60, width_s=30) == Span(960.0, 1020.0, 30)
    assert span_before(1065.0, offset_s=45, length_s=60, width_s=30) == Span(960.0, 1020.0, 30)
    assert span_before(1064.9, offset_s=45, length_s=60, width_s=30) == Span(930.0, 990.0, 30)


@given(st.floats(1e9, 2e9), st.floats(0, 600), st.floats(1, 5000), st.sampled_from([10.0, 30.0, 60.0, 300.0]))
def test_every_bucket_of_a_span_is_whole_and_old_enough(now: float, offset_s: float, length_s: float, width_s: float) -> None:
    span = span_before(now, offset_s=offset_s, length_s=length_s, width_s=width_s)
    assert span.start % width_s == span.end % width_s == 0
    assert now - offset_s - width_s < span.end <= now - offset_s
    assert length_s <= span.end - span.start < length_s + width_s


def test_points_outside_the_span_are_clipped() -> None:
    padded = [(570.0, 1e9), (600.0, 1.0), (930.0, 2.0), (945.0, math.nan), (960.0, 1e9), (990.0, -5.0)]
    assert clipped(padded, QUERY, SPAN) == {600.0: 1.0, 930.0: 2.0}


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (points(1, -2), "x.y in Datadog has the impossible value -2"),
        (points(1, 2e12), "x.y in Datadog has the impossible value 2e+12"),
        (points(1, math.nan), "x.y in Datadog has a value that is no number"),
        (points(1, math.inf), "x.y in Datadog has a value that is no number"),
        ([(900.0, 1.0), (915.0, 1.0)], "x.y in Datadog is not in buckets of 30 s"),
        ([(900.0, 1.0), (900.0, 2.0)], "x.y in Datadog has a time twice"),
    ],
)
def test_what_cannot_be_true_is_unknown(rows: list[tuple[float, float]], why: str) -> None:
    assert clipped(rows, QUERY, SPAN) == Unknown(why)


@pytest.mark.parametrize(
    ("values", "believed"),
    [
        ([3, 3, 3, 2999], True),
        ([3, 3, 3, 3001], False),
        ([0, 0, 0, 999], True),  # an idle fleet that begins to work
        ([0, 0, 0, 1001], False),
        ([1e6], True),  # nothing to measure it against
        ([1, 5000, 5000, 5000, 5000, 5000], True),  # it has stayed, so it is true
        ([5000, 5000, 5000, 1], True),
    ],
)
def test_a_thousandfold_jump_is_not_believed_at_once(values: list[float], believed: bool) -> None:
    buckets = dict(points(*values))
    assert (without_jumps(buckets, QUERY, LOOK) == buckets) == believed


def test_a_bucket_that_is_not_there_is_not_zero() -> None:
    assert rate_per_s({}, LOOK) == Unknown("Datadog has no data of 60 s")
    assert rate_per_s({930.0: 60.0}, LOOK) == Partial(2.0, 40.0, "Datadog has 1 of 2 buckets")
    assert mean({900.0: 4.0}, LOOK) == Partial(4.0, 70.0, "Datadog has 1 of 2 buckets")


def test_where_the_program_reported_something_else_it_is_zero() -> None:
    assert rate_per_s(with_zeros({930.0: 60.0}, [900.0, 930.0]), LOOK) == Known(1.0, 40.0)


def test_old_buckets_are_no_news() -> None:
    assert isinstance(mean({600.0: 4.0, 630.0: 4.0}, LOOK), Unknown)


values = st.one_of(st.floats(allow_nan=True), st.integers(), st.none(), st.booleans(), st.text(max_size=3))


@given(st.lists(st.tuples(st.floats(0, 2000), st.floats(allow_nan=True)), max_size=30))
def test_whatever_comes_a_known_rate_is_finite_and_not_negative(rows: list[tuple[float, float]]) -> None:
    buckets = clipped(rows, QUERY, SPAN)
    if not isinstance(buckets, Unknown):
        signal = rate_per_s(buckets, LOOK)
        assert isinstance(signal, Unknown) or (math.isfinite(signal.value) and signal.value >= 0 and signal.age_s >= 40)


@given(st.lists(st.floats(0, 1e6), min_size=12, max_size=12), st.sets(st.integers(0, 11)), st.floats(1, 400))
def test_a_window_rests_on_its_own_buckets_only(series: list[float], missing: set[int], window_s: float) -> None:
    buckets = {600.0 + 30 * i: value for i, value in enumerate(series) if i not in missing}
    look = Look(SPAN, window_s, now=1000.0)
    seen = [value for at, value in buckets.items() if at >= 960 - 30 * math.ceil(window_s / 30)]
    signal = mean(buckets, look)
    assert isinstance(signal, Unknown) == (not seen)
    if not isinstance(signal, Unknown):
        assert min(seen) - 1e-6 <= signal.value <= max(seen) + 1e-6
        assert isinstance(signal, Partial) == (len(seen) < 0.75 * min(12, math.ceil(window_s / 30)))


def answer(names: list[str], tags: list[list[str]], times: list[object], rows: list[list[object]]) -> bytes:
    series = [{"group_tags": t, "query_index": i, "unit": None} for i, t in enumerate(tags)]
    return json.dumps({"data": {"attributes": {"series": series, "times": times, "values": rows}}}).encode()


def test_a_value_that_is_no_number_spoils_its_own_series_only() -> None:
    text = answer(["a", "b", "c"], [[], [], []], [900_000, 930_000], [[1, "many"], [1, 2], [1, 10**400]])
    one, other, third = series_of(text, ["a", "b", "c"])
    assert isinstance(clipped(one.points, QUERY, SPAN), Unknown)
    assert isinstance(clipped(third.points, QUERY, SPAN), Unknown)
    assert clipped(other.points, QUERY, SPAN) == {900.0: 1.0, 930.0: 2.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (answer(["a"], [[]], [900_000], [[1, 2]]), "2 values for 1 times"),
        (answer(["a"], [[], []], [], [[], []]), "answers query 1, and 1 were asked"),
        (answer(["a"], [[]], [], []), "1 series and 0 rows"),
        (answer(["a"], [[]], ["noon"], [[1]]), "not a timeseries answer"),
        (answer(["a"], [[]], [10**400], [[1]]), "not a timeseries answer"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_columns_that_do_not_fit_are_refused(text: bytes, says: str) -> None:
    with pytest.raises(MalformedAnswer, match=says):
        series_of(text, ["a"])


def fleet() -> Spec:
    one = Capacity(concurrency=2, requests_per_min=60)
    return Spec(models=(Model(name="m", engine="vllm", weights="w", image="i", volume="v", capacity=one, cold_start_s=60),))


SETS = queries_for(fleet())


@given(
    st.lists(st.tuples(st.sampled_from(range(len(SETS))), st.sampled_from(["model:m", "service:warmfleet-m", "x"])), max_size=8),
    st.lists(values, min_size=3, max_size=3),
)
def test_no_answer_of_the_right_form_can_break_the_reader(heads: list[tuple[int, str]], row: list[object]) -> None:
    series = [{"group_tags": [tag], "query_index": index} for index, tag in heads]
    document = {"data": {"attributes": {"series": series, "times": [870_000, 900_000, 930_000], "values": [row] * len(heads)}}}
    found = readings(series_of(json.dumps(document).encode(), [q.name for q in SETS]), SETS, ["m"], LOOK)["m"]
    for signal in found.values():
        assert isinstance(signal, Unknown) or (math.isfinite(signal.value) and signal.value >= 0)


def test_two_series_for_one_model_are_unknown_and_not_added() -> None:
    index = [q.name for q in SETS].index("kv_use")
    series = [{"group_tags": ["service:warmfleet-m"], "query_index": index}] * 2
    document = {"data": {"attributes": {"series": series, "times": [900_000, 930_000], "values": [[0.1, 0.1], [0.2, 0.2]]}}}
    found = readings(series_of(json.dumps(document).encode(), [q.name for q in SETS]), SETS, ["m"], LOOK)["m"]
    assert found["kv_cache_use"] == Unknown("vllm.kv_cache_usage_perc in Datadog has 2 series for one model")
