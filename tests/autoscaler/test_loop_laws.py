"""Laws of the loop in every story: demand, silence, refusals, lost answers, a lead that comes and goes, a pause, somebody else who scales.

only who leads orders, and not while the fleet is paused
no order leaves the bounds, and no order for more leaves the GPU budget
no replica goes of which the routers were not told for two intervals
when all is well again and calm, every model comes to its minimum
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoscaler.history import Failed, Scrape
from autoscaler.jobs import JobView, Order
from autoscaler.lease import Standing
from autoscaler.scrape import Target
from autoscaler.text import ENGINE_LOAD, FLYING
from fleet.consul import Instance, Seen
from fleet.errors import Blocked, Conflict, Refused, Unreachable
from fleet.model import Spec
from fleet.names import META_ALLOC_ID, META_MODEL
from fleet.state import ModelState, Pause
from tests.autoscaler.build import NOW, allocation
from tests.autoscaler.test_loop import ROUTER, World, loop_in, passes, spec

MODELS = ("a", "b", "c")
PORTS = {name: 9000 + 100 * number for number, name in enumerate(MODELS)}
LEAST, MOST, BUDGET, NOTICE_S = 1, 6, 9, 20.0

Trouble = Literal["refused", "conflict", "blocked", "lost", "unpublished", "unread", "deaf", "away", "stands by", "paused"]
TROUBLES: tuple[Trouble, ...] = ("refused", "conflict", "blocked", "lost", "unpublished", "unread", "deaf", "away", "stands by", "paused")


@dataclass(frozen=True)
class Pass:
    """`load`: replicas that each model's demand fills. `trouble` of this pass, with the model `which` where it is about one."""

    load: tuple[int, int, int]
    trouble: Trouble | None = None
    which: str = "a"


@dataclass
class Lawful(World):
    """Nomad, Consul and routers of three models, of which one replica is worth one GPU; every order is judged."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODELS, 1))
    told_at: dict[str, float] = field(default_factory=dict)
    scaled: dict[str, tuple[float, ...]] = field(default_factory=dict)
    now_is: Pass = Pass((0, 0, 0))

    def begin(self, step: Pass) -> None:
        self.now_is = step
        before = self.lease.now
        leads = step.trouble != "stands by"
        self.lease.now = Standing(before.term + (leads and not before.leads), "" if leads else "stands by: another one leads")
        self.pauses.pause = Pause(by="ann", reason="x", since=NOW) if step.trouble == "paused" else None
        self.routers_answer = step.trouble != "deaf"
        self.consul_error = Unreachable("Consul does not answer") if step.trouble == "away" else None

    def troubled(self, trouble: Trouble, model: str) -> bool:
        return self.now_is.trouble == trouble and self.now_is.which == model

    async def instances(self, service: str) -> Seen[tuple[Instance, ...]]:
        await super().instances(service)
        return Seen((ROUTER,) if service.endswith("router") else tuple(each for name in MODELS for each in self._replicas(name)), 1)

    def _replicas(self, name: str) -> list[Instance]:
        ids = [f"{name}-{index}" for index in range(self.counts[name])]
        return [
            Instance(i, "127.0.0.1", PORTS[name] + at, (), {META_MODEL: name, META_ALLOC_ID: i}, passing=True) for at, i in enumerate(ids)
        ]

    def _answer(self, target: Target) -> Scrape | Failed:
        if target.name.startswith("replica"):
            return Scrape(target.name, self.now, {(ENGINE_LOAD, name): 0.0 for name in MODELS})
        if not self.routers_answer:
            return Failed(target.name, "did not answer within 2 s")
        return Scrape(target.name, self.now, {(FLYING, name): 1.4 * load for name, load in zip(MODELS, self.now_is.load, strict=True)})

    async def read(self, name: str) -> JobView:
        model = name.rpartition("-")[2]
        if self.troubled("unread", model):
            raise Unreachable("Nomad at x does not answer")
        count = self.counts[model]
        placed = tuple(allocation(index, alloc_id=f"{model}-{index}") for index in range(count))
        return JobView(count, 7, placed, scaled_at=self.scaled.get(model, ()))

    async def order(self, order: Order) -> None:
        model = order.job_id.rpartition("-")[2]
        if self.now_is.which == model and self.now_is.trouble in ("refused", "conflict", "blocked"):
            raise {"refused": Refused("no"), "conflict": Conflict("index"), "blocked": Blocked("deployment")}[self.now_is.trouble]
        self.judge(model, order.count)
        self.counts[model] = order.count
        self.scaled[model] = (*self.scaled.get(model, ()), self.now)
        if self.troubled("lost", model):
            raise Unreachable("Nomad at x does not answer")

    def judge(self, model: str, count: int) -> None:
        before = self.counts[model]
        assert self.lease.now.leads
        assert self.pauses.pause is None
        assert LEAST <= count <= MOST
        if count > before:
            assert sum(self.counts.values()) - before + count <= BUDGET
        for index in range(count, before):
            assert self.now - self.told_at[f"{model}-{index}"] >= NOTICE_S, f"{model}-{index} goes unannounced"

    async def publish(self, state: ModelState) -> None:
        if self.troubled("unpublished", state.model):
            raise Unreachable("Consul does not answer")
        self.stored[state.model] = state
        mine = {alloc: at for alloc, at in self.told_at.items() if alloc.startswith(f"{state.model}-")}
        kept = {alloc: mine.get(alloc, self.now) for alloc in state.draining}
        self.told_at = {alloc: at for alloc, at in self.told_at.items() if alloc not in mine} | kept


def rules() -> Spec:
    made = spec(*MODELS, gpu_budget=BUDGET, cooldown_up_s=0.0, cooldown_down_s=0.0, scalings_per_hour=100)
    bounds = replace(made.models[0].replicas, min=LEAST, max=MOST)
    models = [replace(m, engine="vllm", priority=number % 2, replicas=bounds) for number, m in enumerate(made.models)]
    return replace(made, models=tuple(models))


async def told(story: Sequence[Pass]) -> Lawful:
    """The world after the story and a long calm."""
    world = Lawful()
    loop = loop_in(world, rules())
    for step in (*story, *[Pass((0, 0, 0))] * 40):
        world.begin(step)
        await passes(loop, world, 1)
    return world


loads = st.integers(0, 7)
steps = st.builds(Pass, st.tuples(loads, loads, loads), st.sampled_from((None, None, *TROUBLES)), st.sampled_from(MODELS))
stretches = st.tuples(steps, st.integers(1, 8)).map(lambda pair: [pair[0]] * pair[1])


UNREAD_WHILE_IT_DRAINS = [*[Pass((5, 1, 1))] * 8, *[Pass((1, 1, 1))] * 2, *[Pass((1, 6, 1), "unread", "a")] * 8]


@settings(max_examples=40, deadline=None)
@example(UNREAD_WHILE_IT_DRAINS)
@given(st.lists(stretches, min_size=2, max_size=8).map(lambda parts: [step for part in parts for step in part]))
def test_every_story_keeps_the_laws_and_ends_at_the_minimum(story: list[Pass]) -> None:
    world = asyncio.run(told(story))
    assert world.counts == dict.fromkeys(MODELS, LEAST)
