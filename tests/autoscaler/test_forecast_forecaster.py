"""The forecaster as its owner sees it: it looks at the past only, whatever comes, and goes on after a restart."""

import functools
import zlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from autoscaler.forecast.errors import UnreadableMemory
from autoscaler.forecast.forecaster import Forecaster, Memory
from autoscaler.forecast.holding import Held
from autoscaler.forecast.learner import Learner, lightgbm_learner
from autoscaler.forecast.question import Forecast, Question
from autoscaler.forecast.saved import load, save
from autoscaler.forecast.training import Fitted, refit
from autoscaler.simulate.ahead import DayAhead
from autoscaler.simulate.fleet import Replicas
from autoscaler.simulate.forecasting import Forecasting
from autoscaler.simulate.production import Production
from autoscaler.simulate.replay import replay
from autoscaler.simulate.trace import Trace
from fleet.model import Autoscaler, Capacity, Policy
from tests.autoscaler.build import settings

DAY = 1440
ASKED = Question(capacity=100, lead_min=15, hold_s=30, least=1, most=30)
START = 2 * DAY
CHANGE = START + 90
MINUTES = START + 180


def demand(minutes: int = MINUTES) -> np.ndarray:
    """Whole counts with a day, noise and steps in them: 1 to 8 replicas."""
    random = np.random.default_rng(5)
    hours = np.arange(minutes) / 60
    steps = np.repeat(random.choice([1.0, 1.0, 1.3], minutes // 90 + 1), 90)[:minutes]
    return np.round((350 - 250 * np.cos(hours / 24 * 2 * np.pi)) * steps * random.normal(1, 0.05, minutes).clip(0.5, 1.5))


@functools.cache
def learner() -> Learner:
    found = lightgbm_learner()
    assert found is not None, "the tests need the extra `forecast`"
    return found


@functools.cache
def fitted() -> Fitted:
    """A model of the first two days."""
    forecaster = told(demand(START), ASKED)
    found = refit(forecaster.window(), ASKED, learner())
    assert found is not None
    return found


def told(requests: np.ndarray, question: Question, memory: Memory | None = None) -> Forecaster:
    forecaster = Forecaster(question, memory)
    for minute, count in enumerate(requests.tolist()):
        forecaster.observe(minute, count)
    return forecaster


def modelled(requests: np.ndarray) -> Forecaster:
    forecaster = told(requests, ASKED)
    forecaster.adopt(fitted())
    return forecaster


def decisions(requests: np.ndarray, question: Question = ASKED, gap: np.ndarray | None = None, *, one_by_one: bool = False) -> Replicas:
    """From day 2 on, through the whole of decide(), with the refit that falls due then; answered a day at a time, or each minute alone."""
    trace = Trace("t", 0, requests, np.zeros(len(requests), dtype=bool) if gap is None else gap)
    model = replace(
        settings(least=question.least, most=question.most, policy=(Policy(kind="forecast"),)).model,
        capacity=Capacity(concurrency=1, requests_per_min=question.capacity),
        cold_start_s=60 * question.lead_min,
    )
    forecaster = Forecaster(question, answers=None if one_by_one else DayAhead(trace))
    return replay(trace, START, Production(model, Autoscaler(), question.lead_min, Forecasting(forecaster, learner(), START)))


@pytest.fixture(scope="module")
def ordinary() -> Replicas:
    return decisions(demand())


class TestOnlyThePast:
    @pytest.mark.parametrize("factor", [0.0, 0.9, 1.1, 100.0])
    def test_changing_what_comes_after_a_minute_changes_no_decision_up_to_it(self, ordinary: Replicas, factor: float) -> None:
        changed = demand()
        changed[CHANGE:] = np.round(changed[CHANGE:] * factor)
        assert decisions(changed)[: CHANGE - START + 1].tolist() == ordinary[: CHANGE - START + 1].tolist()

    def test_cutting_the_trace_changes_no_decision_before_the_cut(self, ordinary: Replicas) -> None:
        assert decisions(demand()[:CHANGE]).tolist() == ordinary[: CHANGE - START].tolist()

    def test_losing_what_comes_after_a_minute_changes_no_decision_up_to_it(self, ordinary: Replicas) -> None:
        gap = np.arange(MINUTES) >= CHANGE
        assert decisions(np.where(gap, 0, demand()), gap=gap)[: CHANGE - START + 1].tolist() == ordinary[: CHANGE - START + 1].tolist()

    def test_what_came_before_a_minute_does_change_it(self, ordinary: Replicas) -> None:
        changed = demand()
        changed[CHANGE] *= 3
        assert decisions(changed)[CHANGE - START + 1] > ordinary[CHANGE - START + 1]


class TestADayAtATime:
    def test_it_decides_what_is_decided_minute_by_minute(self, ordinary: Replicas) -> None:
        assert decisions(demand(), one_by_one=True).tolist() == ordinary.tolist()

    def test_it_does_so_over_gaps_and_a_new_model(self) -> None:
        requests = demand(START + DAY + 60)
        gap = np.isin(np.arange(len(requests)) % 400, np.arange(25))
        lost = np.where(gap, 0, requests)
        assert decisions(lost, gap=gap, one_by_one=True).tolist() == decisions(lost, gap=gap).tolist()


def test_ten_times_the_demand_on_replicas_of_ten_times_the_capacity_is_the_same(ordinary: Replicas) -> None:
    larger = Question(10 * ASKED.capacity, ASKED.lead_min, ASKED.hold_s, ASKED.least, ASKED.most)
    assert decisions(10 * demand(), larger).tolist() == ordinary.tolist()


def test_the_same_past_gives_the_same_decisions(ordinary: Replicas) -> None:
    assert decisions(demand()).tolist() == ordinary.tolist()


class TestWhateverComes:
    def test_a_step_up_is_answered_within_minutes(self) -> None:
        forecaster = modelled(demand(START))
        before = forecaster.desired(START).desired
        for minute in range(START, START + 3):
            forecaster.observe(minute, 1500)
        after = forecaster.desired(START + 3)
        assert before < 8
        assert after.desired >= 15

    def test_traffic_that_ends_is_followed_down_to_the_least(self) -> None:
        forecaster = modelled(demand(START))
        for minute in range(START, START + 480):
            forecaster.observe(minute, 0)
            forecaster.desired(minute + 1)
        assert forecaster.desired(START + 480).desired == ASKED.least

    def test_days_without_traffic_want_the_least(self) -> None:
        forecaster = told(np.zeros(3 * DAY), ASKED)
        forecaster.adopt(refit(forecaster.window(), ASKED, learner()))
        assert forecaster.desired(3 * DAY).desired == ASKED.least

    def test_days_with_next_to_no_telemetry_teach_nothing_and_are_tried_again_in_a_day(self) -> None:
        forecaster = Forecaster(ASKED)
        for minute in range(0, 3 * DAY, 10):
            forecaster.observe(minute, 100)
        assert refit(forecaster.window(), ASKED, learner()) is None
        forecaster.adopt(None)
        assert not forecaster.is_refit_due(3 * DAY + 1)
        assert forecaster.is_refit_due(4 * DAY)

    def test_a_silence_holds_the_last_load_and_says_its_age(self) -> None:
        forecaster = modelled(demand(START))
        before = forecaster.desired(START)
        later = forecaster.desired(START + 10)
        assert (before.age_min, later.age_min) == (0, 10)
        assert later.desired >= before.low > 0

    def test_gaps_in_the_history_are_no_lack_of_demand(self, ordinary: Replicas) -> None:
        gap = np.zeros(MINUTES, dtype=bool)
        gap[START - 600 : START - 480] = True
        got = decisions(np.where(gap, 0, demand()), gap=gap)
        assert np.abs(got - ordinary).mean() < 1

    def test_a_load_far_beyond_all_replicas_wants_the_most(self) -> None:
        forecaster = modelled(demand(START))
        for minute in range(START, START + 5):
            forecaster.observe(minute, 100 * ASKED.most * ASKED.capacity)
        assert forecaster.desired(START + 5).desired == ASKED.most

    def test_bounds_are_kept(self) -> None:
        narrow = Question(ASKED.capacity, ASKED.lead_min, ASKED.hold_s, 3, 4)
        assert set(decisions(demand()[: START + 60], narrow).tolist()) <= {3, 4}

    def test_before_any_demand_was_seen_the_least_is_wanted(self) -> None:
        assert Forecaster(ASKED).desired(10**7) == Forecast(1, 0, 0, 0, "no demand was seen yet: the least")


class TestReactive:
    def test_without_a_model_the_largest_of_the_last_half_hour_counts(self) -> None:
        forecaster = told(np.array([700.0] + [70.0] * 29), ASKED)
        assert forecaster.desired(30).desired == 10
        forecaster.observe(30, 70.0)
        assert forecaster.desired(31).desired == 1

    def test_it_says_why(self) -> None:
        assert "0.0 of 2 days of history: 70% use" in told(np.full(30, 100.0), ASKED).desired(30).reason


class TestForecast:
    def test_the_band_holds_the_answer_of_the_minute(self) -> None:
        forecaster = modelled(demand(START))
        found = forecaster.desired(START)
        assert 0 < found.low <= found.desired <= found.high

    def test_asking_again_in_the_same_minute_changes_nothing(self) -> None:
        forecaster = modelled(demand(START))
        assert len({forecaster.desired(START) for _ in range(40)}) == 1

    def test_a_lower_price_wants_no_fewer(self) -> None:
        wanted = []
        for price in (0.1, 0.01, 0.001):
            forecaster = modelled(demand(START))
            forecaster.question = Question(ASKED.capacity, ASKED.lead_min, ASKED.hold_s, 1, 30, price)
            wanted.append(forecaster.desired(START).desired)
        assert wanted == sorted(wanted)
        assert wanted[0] < wanted[-1]

    def test_a_refit_is_due_when_there_is_enough_history_and_then_daily(self) -> None:
        forecaster = told(demand(START - 1), ASKED)
        assert not forecaster.is_refit_due(START - 1)
        forecaster.observe(START - 1, 100)
        assert forecaster.is_refit_due(START)
        forecaster.adopt(fitted())
        assert not forecaster.is_refit_due(START + DAY - 1)
        assert forecaster.is_refit_due(START + DAY)

    def test_a_model_stays_when_a_refit_finds_too_little(self) -> None:
        forecaster = modelled(demand(START))
        before = forecaster.desired(START)
        forecaster.adopt(None)
        assert forecaster.desired(START) == before

    def test_a_window_with_too_little_gives_no_model(self) -> None:
        assert refit(told(demand(DAY), ASKED).window(), ASKED, learner()) is None

    @pytest.mark.parametrize("wrong", [{"capacity": 0}, {"lead_min": 0}, {"hold_s": -1}, {"least": 3, "most": 2}, {"most": 0, "least": 0}])
    def test_a_question_without_sense_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="not a question"):
            Question(**{"capacity": 1, "lead_min": 1, "hold_s": 0, "least": 1, "most": 2} | wrong)  # type: ignore[arg-type]


class TestMemory:
    def test_a_successor_goes_on_as_if_nothing_had_happened(self) -> None:
        forecaster = modelled(demand(START))
        forecaster.observe(START, 900)
        forecaster.desired(START + 1)
        successor = Forecaster(ASKED, load(save(forecaster.memory()), learner()))
        for minute in range(START + 1, START + 30):
            for each in (forecaster, successor):
                each.observe(minute, None if minute % 7 == 0 else 300)
            assert successor.desired(minute + 1) == forecaster.desired(minute + 1)
        assert successor.is_refit_due(START + DAY)
        assert not successor.is_refit_due(START + DAY - 1)

    def test_answers_of_an_older_form_are_left_out_and_the_rest_is_kept(self) -> None:
        saved = save(modelled(demand(START)).memory())
        body = msgspec.msgpack.decode(zlib.decompress(saved.partition(b"\n")[2]))
        older = saved.partition(b"\n")[0] + b"\n" + zlib.compress(msgspec.msgpack.encode(body | {"held": [(START - 1, 7)]}))
        found = load(older, learner())
        assert found.held == Held()
        assert found.blend is not None

    def test_an_empty_memory_is_one_too(self) -> None:
        assert load(save(Memory()), None) == Memory()

    def test_without_a_learner_the_history_is_kept_and_the_reactive_rule_answers(self) -> None:
        successor = Forecaster(ASKED, load(save(modelled(demand(START)).memory()), None))
        assert "no model was fitted" in successor.desired(START).reason

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda saved: b"", "not a forecaster's memory"),
            (lambda saved: b"junk", "not a forecaster's memory"),
            (lambda saved: saved[:-10], "not a forecaster's memory"),
            (lambda saved: saved.replace(b"forecast 1\n", b"forecast 9\n"), "of version b'9'"),
        ],
    )
    def test_other_bytes_are_refused(self, damage, message: str) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(UnreadableMemory, match=message):
            load(damage(save(told(demand(100), ASKED).memory())), None)
