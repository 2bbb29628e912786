"""The Redis job with a host volume on a real Nomad agent: sessions outlive its restart, and the job itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.consul import Consul
from fleet.local import agents, tools
from fleet.names import Names
from fleet.nomad import Nomad
from fleet.render import render_jobs
from fleet.spec import load
from router.following.watch import redis_url
from router.sessions.redis import RedisSessions
from router.sessions.table import Session
from tests import servers
from tests.contract.test_redis_sessions import found

pytestmark = pytest.mark.contract

FLEET = Names("durable")
JOB = FLEET.job("redis")
SAID = Session(selector=10, model="small", home="alloc-1", generation=2, turns=7)
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Node:
    """A Nomad whose one node has the host volume `sessions`."""

    nomad: Nomad
    consul: str
    volume: Path

    def job(self) -> str:
        """As `warmfleet render` makes it."""
        values = ["fleet.name=durable", "redis.volume=sessions", f"redis.folder={self.volume}", f"redis.command={tools.find_redis()}"]
        loaded = load(tools.CHECKOUT / "jobs/fleet.toml", var_files=[tools.CHECKOUT / "jobs/local.toml"], variables=values)
        return render_jobs(loaded, tools.CHECKOUT / "templates")["redis.nomad.hcl"]

    def start(self) -> None:
        self.nomad.register(self.nomad.parse(self.job()))

    async def live(self) -> set[str]:
        """Its allocations, once Nomad has heard what Consul knows already: that one runs."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if found := {a.alloc_id for a in self.nomad.allocations(JOB) if a.client_status == "running" and a.live}:
                    return found
                await asyncio.sleep(0.1)

    async def url(self, *, without: set[str]) -> str:
        """Where it answers once none of the allocations in `without` is left."""
        consul = Consul(self.consul)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    instances = (await consul.instances(FLEET.redis_service)).value
                    fresh = [i for i in instances if not any(alloc in i.service_id for alloc in without)]
                    if len(instances) == len(fresh) and (found := redis_url(tuple(fresh))):
                        return found
                    await asyncio.sleep(0.1)
        finally:
            await consul.close()


@pytest.fixture(scope="module")
def node(consul_server: servers.ConsulServer) -> Iterator[Node]:
    with servers.ground() as own:
        volume = own.state / "volume"
        volume.mkdir()
        config = agents.nomad_config(own.state / "nomad", own.ports, consul_server.address)
        config["client"] |= {"host_volume": {"sessions": {"path": str(volume)}}}
        agent = servers.start("nomad", config, own)
        agents.await_nomad(agent)
        yield Node(Nomad(agent.address), consul_server.address, volume)
        agents.stop(agent)


@asynccontextmanager
async def store(url: str) -> AsyncIterator[RedisSessions]:
    made = RedisSessions(url, 3600.0, time.monotonic)
    writer = asyncio.create_task(made.write_forever())
    try:
        yield made
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        await made.close()


async def test_sessions_outlive_a_restart_of_redis_and_of_its_job(node: Node) -> None:
    node.start()
    async with store(await node.url(without=set())) as sessions:
        sessions.remember("contract:durable", SAID)
        async with asyncio.timeout(PATIENCE_S):
            while sessions.queued():  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.01)

    first = await node.live()
    for alloc in first:
        node.nomad.stop_allocation(alloc)
    async with store(await node.url(without=first)) as sessions:
        assert await found(sessions, "contract:durable") == SAID, "stopped in order, and started anew"

    second = await node.live()
    node.nomad.deregister(JOB)
    node.start()
    async with store(await node.url(without=first | second)) as sessions:
        assert await found(sessions, "contract:durable") == SAID, "purged, and deployed again"
    assert (node.volume / "appendonlydir").is_dir()
    node.nomad.deregister(JOB)


async def test_on_a_node_without_the_volume_it_has_no_place(node: Node, nomad_server: servers.NomadServer) -> None:
    nomad = Nomad(nomad_server.address)
    nomad.register(nomad.parse(node.job()))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (unplaced := nomad.unplaced(JOB)):  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.1)
        assert "missing compatible host volumes" in unplaced[0].why
    finally:
        nomad.deregister(JOB)
