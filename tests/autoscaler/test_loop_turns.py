"""A Nomad that is too slow for all models of a pass: each model gets its turn, and nothing else depends on whose turn it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import pytest

from autoscaler.forecast.question import Forecast
from autoscaler.jobs import JobView
from autoscaler.loop import Loop
from fleet.errors import Silent
from fleet.names import Names
from fleet.policy import Policy
from tests.autoscaler.test_loop import Prophet, World, loop_in, passes, spec

MODELS = tuple(f"m{number}" for number in range(10))
NAMES = Names("warmfleet")


@dataclass
class SlowNomad(World):
    """In one pass it answers questions about `answers` models; who asks later, or about one of `stuck`, meets silence."""

    answers: int = len(MODELS)
    stuck: Collection[str] = ()
    asked: list[str] = field(default_factory=list)

    async def read(self, name: str) -> JobView:
        self.asked.append(name)
        if len(self.asked) > self.answers or name in self.stuck:
            raise Silent("Nomad does not answer within 5 s")
        return await super().read(name)


async def one_pass(loop: Loop, world: SlowNomad) -> tuple[str, ...]:
    """The models that were seen in it."""
    world.asked.clear()
    world.said.clear()
    await passes(loop, world, 1)
    assert tuple(status.model for status in world.said) == MODELS
    return tuple(status.model for status in world.said if "is held" not in status.sentence)


@pytest.mark.parametrize("answers", [1, 3, 5, 8, 9])
async def test_each_model_is_seen_as_often_as_the_time_allows(answers: int) -> None:
    world = SlowNomad(answers=answers)
    loop, times = loop_in(world, spec(*MODELS)), dict.fromkeys(MODELS, 0)
    for _ in MODELS:
        for model in await one_pass(loop, world):
            times[model] += 1
    assert set(times.values()) == {answers}


async def test_those_that_hang_do_not_stay_the_first_to_be_asked() -> None:
    """The first three of a pass take all of its time, if they hang."""
    stuck = {NAMES.job(name) for name in MODELS[:3]}
    world = SlowNomad(answers=3, stuck=stuck)
    loop, seen = loop_in(world, spec(*MODELS)), set[str]()
    for _ in range(2 * len(MODELS)):
        seen.update(await one_pass(loop, world))
    assert seen == set(MODELS[3:])


async def test_a_nomad_that_is_quick_enough_is_asked_in_the_order_of_the_description() -> None:
    world = SlowNomad()
    loop = loop_in(world, spec(*MODELS))
    for _ in range(3):
        assert await one_pass(loop, world) == MODELS
        assert world.asked == [NAMES.job(name) for name in MODELS]


async def test_a_budget_is_shared_alike_whoever_was_asked_first() -> None:
    """Of two that are worth the same the first of the description gets the GPU."""
    rules = spec("first", "second", gpu_budget=3, policy=(Policy(kind="forecast"),))
    fleet = replace(rules, models=tuple(replace(model, engine="vllm") for model in rules.models))
    world = SlowNomad(prophet=Prophet(Forecast(2, 2, 2, 0, "a peak")), stuck=[NAMES.job("second")])
    loop = loop_in(world, fleet)
    await passes(loop, world, 1)  # from now on it begins with the second
    assert world.orders == []
    world.stuck = []
    world.asked.clear()
    await passes(loop, world, 1)
    assert world.asked == [NAMES.job("second"), NAMES.job("first")]
    assert [order.job_id for order in world.orders] == [NAMES.job("first")]
