"""Two autoscalers that both believe to lead, before a real Nomad and Consul: whatever the one that was overtaken still does, is refused.

The first has asked Consul, is told that it leads, and is cut off before its order arrives: the longest way there is between the question
and the deed. Meanwhile its lock is gone, the second leads and scales; then the order of the first arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from io import StringIO

import aiohttp
import pytest
from aiohttp import web

from autoscaler.app import Outside, wire
from autoscaler.board import Status
from autoscaler.jobs import NomadJobs
from autoscaler.lease import ConsulLease
from autoscaler.loop import Loop
from autoscaler.scrape import open_session
from fleet.consul import Consul
from fleet.metrics import IN_FLIGHT
from fleet.model import Spec
from fleet.names import GROUP, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from fleet.state import Leader, decode
from tests import servers
from tests.contract.autoscaler_wired import quick_spec
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, router, until
from tests.contract.nomad_proxy import Answer, NomadProxy, is_order, nomad_proxy

pytestmark = pytest.mark.contract


@dataclass
class Autoscaler:
    """The test makes its passes and renews its lock, or does not. `proxy` stands before the real Nomad."""

    loop: Loop
    lease: ConsulLease
    proxy: NomadProxy
    said: list[Status]

    async def passed(self) -> Status:
        await self.lease.step()
        await self.loop.one_pass()
        return self.said[-1]


@dataclass
class HeldUp:
    """A fault: the first order waits on its way until `go`."""

    arrived: asyncio.Event
    go: asyncio.Event

    async def __call__(self, proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
        if is_order(request):
            self.arrived.set()
            await self.go.wait()
        return await proxy.forward(request, body)


@asynccontextmanager
async def autoscaler(name: str, names: Names, server: servers.NomadServer) -> AsyncIterator[Autoscaler]:
    consul, said = Consul(server.consul), list[Status]()
    async with nomad_proxy(server.address) as proxy, open_session() as session:
        spec: Spec = quick_spec(names, server, proxy)
        wired = wire(spec, Outside({}, consul, session, StringIO(), Leader(name=name, url="http://127.0.0.1:1", since=0.0)))
        jobs = NomadJobs(Nomad(proxy.address, timeout_s=30.0), names.fleet)
        try:
            yield Autoscaler(Loop(spec, replace(wired.loop.ports, jobs=jobs, say=said.append), Recorder()), wired.lease, proxy, said)
        finally:
            await consul.close()


async def end_of_the_lock(server: servers.NomadServer, names: Names) -> None:
    """As Consul ends it, when it was not renewed."""
    consul = Consul(server.consul)
    holder, _ = await consul.holder(names.leader)
    await consul.close()
    async with aiohttp.ClientSession(server.consul, raise_for_status=True) as http, http.put(f"/v1/session/destroy/{holder}"):
        pass


async def published(server: servers.NomadServer, names: Names) -> str:
    """The sentence that the routers are told."""
    consul = Consul(server.consul)
    document, _ = await consul.document(names.model_state(MODEL))
    await consul.close()
    return decode(document).reason if document else ""


async def test_an_order_of_a_leader_that_was_overtaken_on_its_way_is_refused(nomad_server: servers.NomadServer) -> None:
    names, nomad, demand = own_names(), Nomad(nomad_server.address), Recorder()
    demand.gauge(IN_FLIGHT, MODEL, value=0.5)

    async def count() -> int:
        job = await asyncio.to_thread(nomad.job, names.job(MODEL))
        return job.counts[GROUP] if job else 0

    async with AsyncExitStack() as stack:
        stack.enter_context(registered(nomad, job_of_sleepers(names)))
        await stack.enter_async_context(router(demand, names, nomad_server.consul))
        first, second = [await stack.enter_async_context(autoscaler(name, names, nomad_server)) for name in ("first", "second")]
        await until(first.passed, lambda status: "stays at 1: concurrency" in status.sentence and not status.is_blocked)
        assert (await second.passed()).sentence.endswith("; stands by: first leads")

        demand.gauge(IN_FLIGHT, MODEL, value=2.8)
        first.proxy.fault = held_up = HeldUp(asyncio.Event(), asyncio.Event())
        late = asyncio.create_task(_passes_until(first, held_up.arrived))
        await asyncio.wait_for(held_up.arrived.wait(), 90)
        await end_of_the_lock(nomad_server, names)
        await until(second.passed, lambda status: status.done == "1 -> 2")
        told = await published(nomad_server, names)
        under_way = lambda: asyncio.to_thread(nomad.deployment_active, names.job(MODEL))  # noqa: E731
        await until(under_way, lambda active: not active)  # so that it is for the job's index alone to refuse

        held_up.go.set()
        await asyncio.wait_for(late, 90)
        assert "another autoscaler leads this fleet" in first.said[-1].sentence
        assert (first.proxy.orders, len(second.proxy.orders), await count()) == ([], 1, 2)
        assert await published(nomad_server, names) == told
        assert not any(status.done for status in first.said)

        demand.gauge(IN_FLIGHT, MODEL, value=4.2)
        await until(
            lambda: _alone(first), lambda status: "another autoscaler leads now" in status.sentence or "stands by" in status.sentence
        )
        assert (first.proxy.orders, await count()) == ([], 2)


async def _passes_until(one: Autoscaler, arrived: asyncio.Event) -> None:
    """Its lock is renewed no more."""
    while not arrived.is_set():
        await one.loop.one_pass()


async def _alone(one: Autoscaler) -> Status:
    await one.loop.one_pass()
    return one.said[-1]
