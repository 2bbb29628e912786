"""The forecasters beside the loop: what they are told, that nobody waits for them, and what outlives them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from autoscaler.decide import Snapshot
from autoscaler.forecast.forecaster import Forecaster, Memory
from autoscaler.forecast.question import PRICE, Forecast, Question
from autoscaler.forecast.saved import load, save
from autoscaler.forecast.series import Window
from autoscaler.forecasts import Forecasts
from autoscaler.reactive import Reactive
from autoscaler.signals import Known, Partial, Signal, Unknown
from fleet.errors import Unreachable
from fleet.model import Model
from fleet.policy import Policy
from tests.autoscaler.build import NOW, fleet, settings

DAY = 1440
MODEL = settings(policy=(Policy(kind="forecast"),)).model
PART = "forecast/small-model"
MINUTE = int(NOW // 60)


@dataclass
class Memories:
    parts: dict[str, bytes] = field(default_factory=dict)
    error: Unreachable | None = None

    async def read(self, part: str) -> bytes | None:
        return self.parts.get(part)

    async def write(self, part: str, value: bytes) -> None:
        if self.error:
            raise self.error
        self.parts[part] = value


@dataclass
class Slow:
    """A learner that thinks until it is told to stop, and is then sure that nothing is ever needed."""

    go: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def fit(self, rows: np.ndarray, needs: np.ndarray) -> Slow:
        self.started.set()
        assert self.go.wait(30)
        if self.error:
            raise self.error
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.zeros(len(rows))

    def text(self) -> str:
        return "slow"

    def read(self, text: str) -> Slow:
        assert text == "slow"
        return self


def seen(minutes: float, rate: Signal | float = 42.0) -> Snapshot:
    signal = Known(rate, 1.0) if isinstance(rate, int | float) else rate
    return Snapshot(NOW + 60 * minutes, fleet(1), {"requests_per_min": signal}, lead_s=600.0)


def forecasts(memories: Memories | None = None, learner: Slow | None = None) -> tuple[Forecasts, list[str]]:
    said: list[str] = []
    return Forecasts(memories or Memories(), learner, said.append, patience_s=60.0), said


def weeks(days: int) -> bytes:
    """A saved memory that ends in the minute before NOW."""
    counts = 100 + 80 * np.sin(np.arange(days * DAY) / DAY * 2 * np.pi)
    return save(Memory(window=Window(MINUTE - days * DAY, counts, np.zeros(days * DAY, dtype=bool))))


async def asked(made: Forecasts, *snapshots: Snapshot, model: Model = MODEL) -> Forecast | Unknown:
    await made.restore(model)
    answers = [made.ask(model, snapshot) for snapshot in snapshots]
    return answers[-1]


async def until_idle(made: Forecasts) -> None:
    async with asyncio.timeout(30):
        await made.close(leads=False)


def test_the_price_of_the_file_is_the_forecasters_own() -> None:
    assert Policy().price == PRICE


async def test_each_minute_is_told_once_when_it_has_ended() -> None:
    made, _ = forecasts()
    await asked(made, seen(0.5, 999.0), seen(0.9, 999.0), seen(1.0, 60.0), seen(1.5, 999.0), seen(2.0, 120.0), seen(2.1, 999.0))
    await made.close(leads=True)
    memory = load(made.memories.parts[PART], None)  # type: ignore[attr-defined]
    assert memory.window is not None
    assert (memory.window.first_minute, memory.window.counts.tolist()) == (MINUTE, [60.0, 120.0])


@pytest.mark.parametrize("rate", [Unknown("silent"), Partial(0.0, 1.0, "half")])
async def test_a_minute_that_is_not_wholly_known_is_a_gap(rate: Signal) -> None:
    made, _ = forecasts()
    answer = await asked(made, seen(0), seen(1, 60.0), seen(2, rate), seen(3, rate))
    assert isinstance(answer, Forecast)
    assert answer.age_min == 2


async def test_a_model_without_such_a_rule_has_none() -> None:
    made, _ = forecasts()
    assert isinstance(await asked(made, seen(0), model=settings().model), Unknown)


async def test_nobody_waits_for_a_refit() -> None:
    learner = Slow()
    made, said = forecasts(Memories({PART: weeks(3)}), learner)
    before = await asked(made, seen(0))
    made.keep(leads=True)
    await asyncio.to_thread(learner.started.wait, 30)
    assert isinstance(made.ask(MODEL, seen(1)), Forecast)
    made.keep(leads=True)  # one at a time: this begins nothing
    assert isinstance(made.ask(MODEL, seen(2)), Forecast)
    assert said == []
    learner.go.set()
    await until_idle(made)
    assert said == ["small-model: refitted"]
    after = made.ask(MODEL, seen(3))
    assert isinstance(before, Forecast)
    assert isinstance(after, Forecast)
    assert "worth" in after.reason
    assert "worth" not in before.reason
    successor, _ = forecasts(made.memories, learner)  # type: ignore[arg-type]
    again = await asked(successor, seen(3))
    assert isinstance(again, Forecast)
    assert "worth" in again.reason


async def test_who_is_told_to_stop_writes_down_what_it_knows_in_the_middle_of_a_long_refit() -> None:
    learner = Slow()
    made, _ = forecasts(Memories({PART: weeks(3)}), learner)
    made.patience_s = 0.01
    await asked(made, seen(0), seen(1))
    before = made.memories.parts[PART]  # type: ignore[attr-defined]
    made.keep(leads=True)
    async with asyncio.timeout(30):
        await made.close(leads=True)
    assert made.is_busy
    assert made.memories.parts[PART] != before  # type: ignore[attr-defined]
    learner.go.set()
    made.patience_s = 60.0
    await until_idle(made)


async def test_it_is_asked_for_the_lead_time_and_the_capacity_that_were_measured() -> None:
    learner = Slow()
    learner.go.set()
    made, _ = forecasts(Memories({PART: weeks(3)}), learner)
    measured = replace(seen(0), lead_s=1800.0, one={"concurrency": 2.0, "requests_per_min": 30.0})
    half, whole = [await asked(forecasts()[0], seen(0), replace(seen(1), one=one)) for one in (measured.one, {})]
    assert isinstance(half, Forecast)
    assert isinstance(whole, Forecast)
    assert (whole.desired, half.desired) == (1, 2)  # 42 a minute, at 70 %
    await asked(made, measured)
    made.keep(leads=True)
    await until_idle(made)
    saved = load(made.memories.parts[PART], learner)  # type: ignore[attr-defined]
    assert saved.blend is not None
    assert saved.blend.lead_min == 30


async def test_a_refit_that_fails_is_said_and_changes_nothing() -> None:
    learner = Slow(error=RuntimeError("no memory"))
    learner.go.set()
    made, said = forecasts(Memories({PART: weeks(3)}), learner)
    await asked(made, seen(0))
    made.keep(leads=True)
    await until_idle(made)
    assert said == ["small-model: the refit failed, the models there are go on: RuntimeError('no memory')"]
    assert isinstance(made.ask(MODEL, seen(1)), Forecast)


async def test_who_stands_by_neither_refits_nor_writes() -> None:
    learner = Slow()
    made, _ = forecasts(Memories({PART: weeks(3)}), learner)
    await asked(made, seen(0), seen(90))
    made.keep(leads=False)
    assert not made.is_busy
    assert not learner.started.is_set()


async def test_what_is_remembered_is_written_every_hour() -> None:
    memories = Memories()
    made, _ = forecasts(memories)
    await asked(made, seen(0), seen(59))
    made.keep(leads=True)
    assert not made.is_busy
    made.ask(MODEL, seen(60))
    made.keep(leads=True)
    await until_idle(made)
    assert PART in memories.parts


async def test_memory_that_cannot_be_written_is_said_and_tried_again() -> None:
    made, said = forecasts(Memories(error=Unreachable("Consul does not answer")))
    await asked(made, seen(0), seen(60))
    made.keep(leads=True)
    await until_idle(made)
    assert said[1:] == ["small-model: what its forecaster remembers was not written: Consul does not answer"]


async def test_damaged_memory_is_said_and_forgotten() -> None:
    made, said = forecasts(Memories({PART: b"from the future"}))
    assert isinstance(await asked(made, seen(0)), Forecast)
    assert "not a forecaster's memory" in said[0]


@pytest.mark.parametrize("counts", [[60.0], [10.0, 126.0, 40.0], [0.0, 0.0], [50.0] * 31 + [20.0]])
def test_without_numpy_the_answer_is_that_of_a_forecaster_without_a_model(counts: list[float]) -> None:
    question = Question(capacity=60.0, lead_min=10, hold_s=30.0, least=0, most=10)
    plain, real = Reactive(question, "no numpy"), Forecaster(question)
    for minute, count in enumerate(counts):
        plain.observe(minute, count)
        real.observe(minute, count)
    assert replace(plain.desired(len(counts)), reason="") == replace(real.desired(len(counts)), reason="")


_WITHOUT_NUMPY = """
import asyncio, sys
sys.modules["numpy"] = None
from tests.autoscaler.build import settings
from autoscaler import __main__
from autoscaler.app import _learner
from autoscaler.decide import Snapshot
from autoscaler.forecasts import Forecasts
from autoscaler.signals import Known
from fleet.model import Spec
from fleet.policy import Policy
from tests.autoscaler.build import NOW, fleet

class Empty:
    async def read(self, part): return None
    async def write(self, part, value): raise AssertionError

model = settings(policy=(Policy(kind="forecast"),)).model

async def main():
    forecasts = Forecasts(Empty(), _learner(Spec(models=(model,))), print)
    await forecasts.restore(model)
    for minute in range(3):
        answer = forecasts.ask(model, Snapshot(NOW + 60 * minute, fleet(1), {"requests_per_min": Known(84.0, 1.0)}))
    forecasts.keep(leads=True)
    await forecasts.close(leads=True)
    print(answer.desired, answer.reason)

asyncio.run(main())
"""


def test_the_program_works_without_numpy() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    made = subprocess.run([sys.executable, "-c", _WITHOUT_NUMPY], env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "2 no forecast" in made.stdout
    assert "70% use at the largest of 30 min, 1.4 replicas" in made.stdout
