"""The rule on log volume with everything real but the models: a log folder on disk, two jobs in Nomad, replicas in Consul.

the log grows fast                one more large replica, then a small one
the large one is warm             the threshold doubles
quiet, and the small one unused   both go, and the first threshold stands again
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest

from autoscaler.board import Status
from autoscaler.loop import Loop
from fleet.metrics import ARRIVALS, IN_FLIGHT, LOG_THRESHOLD
from fleet.model import Autoscaler, Capacity, Fleet, Model, Replicas, Spec
from fleet.names import GROUP, META_ALLOC_ID, META_MODEL, Names
from fleet.nomad import Nomad
from fleet.policy import LogVolume
from fleet.recorder import Recorder
from tests import servers
from tests.contract.autoscaler_wired import leading
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, router, until

pytestmark = pytest.mark.contract

LARGE, THRESHOLD = "large-model", 600_000
FLOOD_BYTES = 100_000  # in each pass; far beyond the threshold, and its double


@dataclass
class World:
    """`flood`: the log grows with each pass."""

    loop: Loop
    nomad: Nomad
    names: Names
    consul: str
    log: Path
    flood: bool = False
    said: dict[str, Status] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        return self.loop.recorder.gauges[(LOG_THRESHOLD, (LARGE,))]

    def counts(self) -> dict[str, int]:
        jobs = {model: self.nomad.job(self.names.job(model)) for model in (LARGE, MODEL)}
        return {model: job.counts[GROUP] if job else -1 for model, job in jobs.items()}

    async def passed(self) -> dict[str, int]:
        if self.flood:
            with self.log.open("ab") as out:
                out.write(b"x" * FLOOD_BYTES)
        await self.loop.one_pass()
        return await asyncio.to_thread(self.counts)

    async def warm_and_passed(self, model: str) -> dict[str, int]:
        await self.warm(model)
        return await self.passed()

    async def warm(self, model: str) -> None:
        """Every replica that is placed answers, as its check would say."""
        rows = await asyncio.to_thread(self.nomad.allocations, self.names.job(model))
        async with aiohttp.ClientSession(self.consul, raise_for_status=True) as http:
            for row in rows:
                name = self.names.model_service
                service = {"ID": row.alloc_id, "Name": name, "Address": "127.0.0.1", "Port": 9}
                meta = {META_MODEL: model, META_ALLOC_ID: row.alloc_id}
                async with http.put("/v1/agent/service/register", json=service | {"Meta": meta}):
                    pass


def spec(names: Names, server: servers.NomadServer, folder: Path) -> Spec:
    small = Model(
        name=MODEL,
        engine="llamacpp",
        weights="w",
        replicas=Replicas(min=0, max=2, idle_s=0.5),
        capacity=Capacity(concurrency=2, requests_per_min=60),
        cold_start_s=20,
        policy=(),
    )
    large = replace(small, name=LARGE, replicas=Replicas(min=1, max=2))
    rule = LogVolume(large=LARGE, small=MODEL, threshold_bytes=THRESHOLD, check_s=0.2)
    quick = Autoscaler(interval_s=0.2, window_s=1, cooldown_up_s=0, cooldown_down_s=0, max_age_s=60, scalings_per_hour=100, drain_s=1)
    rules = replace(quick, log_folder=str(folder), log_volume=(rule,))
    return Spec(fleet=Fleet(name=names.fleet, nomad=server.address, consul=server.consul), autoscaler=rules, models=(small, large))


@pytest.fixture
async def world(nomad_server: servers.NomadServer, tmp_path: Path) -> AsyncIterator[World]:
    names, nomad, demand = own_names(), Nomad(nomad_server.address), Recorder()
    rules, log = spec(names, nomad_server, tmp_path), tmp_path / "api_server.log"
    log.touch()
    async with AsyncExitStack() as stack:
        for model, count in ((MODEL, 0), (LARGE, 1)):
            demand.gauge(IN_FLIGHT, model, value=0.0)
            demand.count(ARRIVALS, model, by=0)
            hcl = job_of_sleepers(names).replace(names.job(MODEL), names.job(model)).replace("= 1\n", f"= {count}\n", 1)
            stack.enter_context(registered(nomad, hcl))
        await stack.enter_async_context(router(demand, names, nomad_server.consul))
        wired = await stack.enter_async_context(leading(rules))
        looking = [asyncio.create_task(run()) for run in wired.beside]
        said: dict[str, Status] = {}
        loop = Loop(rules, replace(wired.loop.ports, say=lambda status: said.update({status.model: status})), Recorder())
        yield World(loop, nomad, names, nomad_server.consul, log, said=said)
        for task in looking:
            task.cancel()


async def test_a_flood_starts_a_large_and_a_small_one_and_calm_takes_both_back(world: World) -> None:
    await until(world.passed, lambda counts: counts == {LARGE: 1, MODEL: 0} and "stays" in world.said[LARGE].sentence)
    await world.warm(LARGE)
    world.flood = True
    await until(world.passed, lambda counts: counts == {LARGE: 2, MODEL: 1})
    assert "the log grew faster than 600 kB a minute" in world.said[LARGE].sentence
    assert world.threshold == THRESHOLD
    await until(lambda: world.warm_and_passed(LARGE), lambda _: world.threshold != THRESHOLD)
    assert world.threshold == 2 * THRESHOLD
    world.flood = False
    await until(world.passed, lambda counts: counts == {LARGE: 1, MODEL: 0})
    assert world.threshold == THRESHOLD
