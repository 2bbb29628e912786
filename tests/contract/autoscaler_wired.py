"""An autoscaler within the test: wired as the program is, in the lead, its passes made by the test; and what it works on.

`World` stands before a proxy of Nomad, which can go wrong on demand; everything else is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from io import StringIO

from autoscaler.app import Outside, Wired, wire
from autoscaler.board import Status
from autoscaler.jobs import NomadJobs
from autoscaler.loop import Loop
from autoscaler.scrape import open_session
from fleet.consul import Consul
from fleet.metrics import IN_FLIGHT
from fleet.model import Autoscaler, Capacity, Fleet, Model, Policy, Replicas, Spec
from fleet.names import GROUP, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from fleet.state import Leader
from tests import servers
from tests.contract.autoscaler_world import MODEL, router, until
from tests.contract.nomad_proxy import NomadProxy, nomad_proxy

NO_TOKENS: Mapping[str, str] = {}
QUICK = Autoscaler(interval_s=0.2, window_s=1, cooldown_up_s=0, cooldown_down_s=0, max_age_s=60, scalings_per_hour=100)


@asynccontextmanager
async def leading(spec: Spec, environment: Mapping[str, str] = NO_TOKENS, *, renews: bool = True) -> AsyncIterator[Wired]:
    """It gives the lead away at the end. `renews`: beside the test; otherwise the test does."""
    consul, stop = Consul(spec.fleet.consul, environment.get("CONSUL_HTTP_TOKEN")), asyncio.Event()
    async with open_session() as session:
        wired = wire(spec, Outside(environment, consul, session, StringIO(), Leader(name="test", url="http://127.0.0.1:1", since=0.0)))
        await wired.lease.step()
        renewing = asyncio.create_task(wired.lease.run(stop)) if renews else None
        try:
            yield wired
        finally:
            stop.set()
            await (renewing or wired.lease.run(stop))
            await consul.close()


@dataclass
class World:
    """A loop whose passes the test makes, before a proxy; `nomad` is the real one."""

    loop: Loop
    proxy: NomadProxy
    nomad: Nomad
    names: Names
    demand: Recorder
    said: list[Status]

    async def count(self) -> int:
        job = await asyncio.to_thread(self.nomad.job, self.names.job(MODEL))
        assert job is not None
        return job.counts[GROUP]

    async def passes(self, number: int = 1) -> str:
        """The last sentence."""
        for _ in range(number):
            await self.loop.one_pass()
        return self.said[-1].sentence

    async def passes_until_said(self, part: str) -> None:
        await until(self.passes, lambda sentence: part in sentence)

    async def passes_until_count(self, count: int) -> None:
        async def after_a_pass() -> int:
            await self.passes()
            return await self.count()

        await until(after_a_pass, lambda now: now == count)


@asynccontextmanager
async def world_of(nomad: Nomad, names: Names, server: servers.NomadServer) -> AsyncIterator[World]:
    """Of a fleet whose job is registered; what that began has ended."""
    demand, said = Recorder(), list[Status]()
    demand.gauge(IN_FLIGHT, MODEL, value=0.5)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(router(demand, names, server.consul))
        proxy = await stack.enter_async_context(nomad_proxy(server.address))
        spec = quick_spec(names, server, proxy)
        wired = await stack.enter_async_context(leading(spec))
        jobs = NomadJobs(Nomad(proxy.address, timeout_s=1.0), names.fleet)
        loop = Loop(spec, replace(wired.loop.ports, jobs=jobs, say=said.append), Recorder())
        made = World(loop, proxy, nomad, names, demand, said)
        await until(made.passes, lambda sentence: "waits" not in sentence and "deployment" not in sentence)
        yield made


def quick_model(name: str = MODEL) -> Model:
    """One to four replicas, each of which carries two requests at once."""
    return Model(
        name=name,
        engine="llamacpp",
        weights="w",
        replicas=Replicas(min=1, max=4),
        capacity=Capacity(concurrency=2, requests_per_min=60),
        cold_start_s=20,
        policy=(Policy(),),
    )


def quick_spec(names: Names, server: servers.NomadServer, proxy: NomadProxy) -> Spec:
    return Spec(fleet=Fleet(name=names.fleet, nomad=proxy.address, consul=server.consul), autoscaler=QUICK, models=(quick_model(),))
