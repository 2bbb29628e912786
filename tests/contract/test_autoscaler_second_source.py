"""The whole autoscaler with Datadog as its second source: real Nomad, real Consul, a Datadog on loopback.

Demand that only Datadog sees scales up; while Datadog is away nothing is scaled in; when it is back, and both sources are quiet, it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from io import StringIO

import pytest
from aiohttp import web

from autoscaler.app import Outside, wire
from autoscaler.board import Status
from autoscaler.scrape import open_session
from fleet.consul import Consul
from fleet.metrics import DATADOG_QUERIES, IN_FLIGHT
from fleet.model import Autoscaler, Datadog, Fleet, Replicas, Spec
from fleet.names import ENV_DATADOG_URL, GROUP, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from fleet.state import Leader
from tests import servers
from tests.contract.autoscaler_wired import quick_model
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, router, until
from tests.contract.datadog_server import FakeDatadog, constant, datadog, steady

pytestmark = pytest.mark.contract


def spec(names: Names, server: servers.NomadServer) -> Spec:
    """As quick as it goes; the loader would refuse such short times."""
    model = replace(quick_model(), replicas=Replicas(min=1, max=3))
    quick = Autoscaler(interval_s=0.3, window_s=2, cooldown_up_s=0, cooldown_down_s=0, drain_s=30, max_age_s=5, scalings_per_hour=100)
    reading = Datadog(read_interval_s=0.3, read_timeout_s=2, rollup_s=1, offset_s=0, max_age_s=4)
    return Spec(
        fleet=Fleet(name=names.fleet, nomad=server.address, consul=server.consul), autoscaler=quick, datadog=reading, models=(model,)
    )


@asynccontextmanager
async def running(fleet: Spec, server: FakeDatadog) -> AsyncIterator[tuple[Recorder, dict[str, Status]]]:
    """The autoscaler, wired as its program does it, until the block ends."""
    consul, stop = Consul(fleet.fleet.consul), asyncio.Event()
    environment = {"DD_API_KEY": "a", "DD_APP_KEY": "b", ENV_DATADOG_URL: server.url}
    async with open_session() as session:
        wired = wire(fleet, Outside(environment, consul, session, StringIO(), Leader(name="test", url="http://127.0.0.1:1", since=0.0)))
        beside = [asyncio.create_task(run()) for run in wired.beside]
        tasks = [asyncio.create_task(wired.lease.run(stop)), asyncio.create_task(wired.loop.run(stop))]
        try:
            yield wired.loop.recorder, wired.loop.board.statuses
        finally:
            stop.set()
            await asyncio.gather(*tasks)
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await consul.close()


async def test_up_by_datadog_alone_and_down_only_with_it(nomad_server: servers.NomadServer) -> None:
    names, nomad, levels, routed = own_names(), Nomad(nomad_server.address), {"in_flight": 3.5}, Recorder()
    fleet = spec(names, nomad_server)
    routed.gauge(IN_FLIGHT, MODEL, value=0.0)

    async def count() -> int:
        job = await asyncio.to_thread(nomad.job, names.job(MODEL))
        return job.counts[GROUP] if job else 0

    answering = steady(levels, [f"model:{MODEL}"])
    with registered(nomad, job_of_sleepers(names)):
        async with router(routed, names, nomad_server.consul), datadog(answering) as server, running(fleet, server) as (recorder, statuses):

            async def sentence() -> str:
                return statuses[MODEL].sentence if MODEL in statuses else ""

            async def asked() -> float:
                return recorder.counts.get((DATADOG_QUERIES, ("unreachable",)), 0)

            await until(count, lambda n: n == 3)
            server.script[:] = [constant(503)]
            await until(sentence, lambda said: "HTTP 503" in said and "known in part" in said)
            passes = await asked()
            await until(asked, lambda n: n >= passes + 5)
            assert await count() == 3
            levels["in_flight"] = 0.0
            server.script[:] = [answering]
            await until(count, lambda n: n == 1)


async def test_a_datadog_that_never_answers_does_not_slow_the_loop(nomad_server: servers.NomadServer) -> None:
    names, nomad, routed = own_names(), Nomad(nomad_server.address), Recorder()
    routed.gauge(IN_FLIGHT, MODEL, value=2.0)
    hanging = asyncio.Event()

    async def hang(_asked: object) -> web.StreamResponse:
        await hanging.wait()
        return web.Response()

    async def count() -> int:
        job = await asyncio.to_thread(nomad.job, names.job(MODEL))
        return job.counts[GROUP] if job else 0

    with registered(nomad, job_of_sleepers(names)):
        async with router(routed, names, nomad_server.consul), datadog(hang) as server, running(spec(names, nomad_server), server):
            await asyncio.wait_for(server.came.wait(), 30)
            await until(count, lambda n: n == 2)
            hanging.set()


async def test_without_its_keys_it_says_once_that_datadog_is_not_read() -> None:
    consul, log = Consul("http://127.0.0.1:1"), StringIO()
    try:
        async with open_session() as session:
            me = Leader(name="test", url="http://127.0.0.1:1", since=0.0)
            wired = wire(Spec(), Outside({"DD_API_KEY": "a"}, consul, session, log, me))
    finally:
        await consul.close()
    assert "not read: DD_APP_KEY not set; signals come from scrapes alone" in log.getvalue()
    assert wired.beside == ()
