"""GPUs that are too few for two models, before a real Nomad and Consul: the one of higher priority gets them, and never more are asked for.

The replicas sleep: what is shared are counts, and a GPU that is asked for twice would be missed by one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import pytest

from autoscaler.board import Status
from autoscaler.loop import Loop
from fleet.metrics import IN_FLIGHT
from fleet.model import Autoscaler, Capacity, Fleet, Gpu, Model, Policy, Replicas, Spec
from fleet.names import GROUP, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from tests import servers
from tests.contract.autoscaler_wired import leading
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, router, until

pytestmark = pytest.mark.contract

LARGE, BUDGET = "large-model", 5
GPUS = {MODEL: 1, LARGE: 2}


@dataclass
class World:
    """`most`: GPUs that were ever asked for at the same time."""

    loop: Loop
    nomad: Nomad
    names: Names
    demand: Recorder
    said: dict[str, Status] = field(default_factory=dict)
    most: int = 0

    def counts(self) -> dict[str, int]:
        jobs = {model: self.nomad.job(self.names.job(model)) for model in GPUS}
        return {model: job.counts[GROUP] if job else 0 for model, job in jobs.items()}

    async def passed(self) -> dict[str, int]:
        await self.loop.one_pass()
        counts = await asyncio.to_thread(self.counts)
        self.most = max(self.most, sum(GPUS[model] * count for model, count in counts.items()))
        return counts


def spec(names: Names, server: servers.NomadServer) -> Spec:
    one = Model(
        name=MODEL,
        engine="vllm",
        weights="w",
        gpu=Gpu(count=GPUS[MODEL]),
        replicas=Replicas(min=1, max=4),
        capacity=Capacity(concurrency=2, requests_per_min=60),
        cold_start_s=20,
        policy=(Policy(),),
    )
    large = replace(one, name=LARGE, gpu=Gpu(count=GPUS[LARGE]), priority=10)
    quick = Autoscaler(
        interval_s=0.2, window_s=1, cooldown_up_s=0, cooldown_down_s=0, max_age_s=60, scalings_per_hour=100, gpu_budget=BUDGET
    )
    return Spec(fleet=Fleet(name=names.fleet, nomad=server.address, consul=server.consul), autoscaler=quick, models=(one, large))


@pytest.fixture
async def world(nomad_server: servers.NomadServer) -> AsyncIterator[World]:
    names, nomad, demand = own_names(), Nomad(nomad_server.address), Recorder()
    rules = spec(names, nomad_server)
    async with AsyncExitStack() as stack:
        for model in GPUS:
            demand.gauge(IN_FLIGHT, model, value=0.5)
            stack.enter_context(registered(nomad, job_of_sleepers(names).replace(names.job(MODEL), names.job(model))))
        await stack.enter_async_context(router(demand, names, nomad_server.consul))
        wired = await stack.enter_async_context(leading(rules))
        said: dict[str, Status] = {}
        loop = Loop(rules, replace(wired.loop.ports, say=lambda status: said.update({status.model: status})), Recorder())
        yield World(loop, nomad, names, demand, said)


async def test_who_matters_more_gets_what_the_other_gives_up_and_never_more_are_asked_for(world: World) -> None:
    world.demand.gauge(IN_FLIGHT, MODEL, value=5.0)
    await until(world.passed, lambda counts: counts == {MODEL: 3, LARGE: 1})
    assert "4 limited to 3 by the budget of 5 GPUs" in world.said[MODEL].sentence

    world.demand.gauge(IN_FLIGHT, LARGE, value=2.0)
    await until(world.passed, lambda counts: counts == {MODEL: 1, LARGE: 2})
    await until(world.passed, lambda _: "4 limited to 1 by the budget of 5 GPUs" in world.said[MODEL].sentence)

    world.demand.gauge(IN_FLIGHT, LARGE, value=0.5)
    await until(world.passed, lambda counts: counts == {MODEL: 3, LARGE: 1})
    assert world.most <= BUDGET
