"""A hundred models before a Nomad that takes connections and never answers: a pass is short, changes nothing, and costs no leadership."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autoscaler.app import Wired
from autoscaler.board import Status
from autoscaler.jobs import NomadJobs
from autoscaler.line import ABREAST
from autoscaler.loop import Loop
from fleet.consul import Consul
from fleet.model import Autoscaler, Fleet, Spec
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from tests import servers
from tests.contract.autoscaler_program import autoscaler, description
from tests.contract.autoscaler_wired import leading, quick_model
from tests.contract.autoscaler_world import own_names, until
from tests.contract.silent_server import SilentServer, silent_server

pytestmark = pytest.mark.contract

MODELS = 100


@dataclass
class World:
    wired: Wired
    nomad: SilentServer
    said: list[Status]

    def loop(self, timeout_s: float) -> Loop:
        jobs = NomadJobs(Nomad(self.nomad.address, timeout_s=timeout_s), self.wired.loop.spec.fleet.name)
        return Loop(self.wired.loop.spec, replace(self.wired.loop.ports, jobs=jobs, say=self.said.append), Recorder())


def spec(consul: str, nomad: str) -> Spec:
    models = tuple(quick_model(f"m{number}") for number in range(MODELS))
    return Spec(fleet=Fleet(name=own_names().fleet, nomad=nomad, consul=consul), autoscaler=Autoscaler(interval_s=1), models=models)


def by_name(address: str) -> str:
    """So that whoever connects has to look it up."""
    return address.replace("127.0.0.1", "localhost")


@pytest.fixture
async def world(consul_server: servers.ConsulServer) -> AsyncIterator[World]:
    async with silent_server() as nomad, leading(spec(by_name(consul_server.address), nomad.address), renews=False) as wired:
        yield World(wired, nomad, [])


def sentences(said: Sequence[Status]) -> set[str]:
    return {status.sentence.removeprefix(status.model) for status in said}


async def test_a_pass_asks_a_few_times_and_holds_everybody(world: World) -> None:
    loop, timeout_s = world.loop(timeout_s=1.0), 1.0
    for number in (1, 2):
        world.said.clear()
        began = time.monotonic()
        await loop.one_pass()
        assert time.monotonic() - began < MODELS * timeout_s / ABREAST
        assert sentences(world.said) == {f" is held: Nomad at {world.nomad.address} does not answer within 1 s"}
        assert len(world.said) == MODELS
        assert 0 < len(world.nomad.heard) <= number * ABREAST
    assert {line.partition(" ")[0] for line in world.nomad.heard} == {"GET"}
    assert {status.done for status in world.said} == {""}


async def test_the_lease_is_renewed_while_a_pass_waits(world: World, consul_server: servers.ConsulServer) -> None:
    passing = asyncio.create_task(world.loop(timeout_s=600.0).one_pass())
    await world.nomad.hears(ABREAST)
    lease, before = world.wired.lease, world.wired.lease.consul
    lease.consul = Consul(by_name(consul_server.address))  # its connections are new, as after a break
    try:
        for _ in range(3):
            renewed_at = lease._renewed_at
            async with asyncio.timeout(60):
                await lease.step()
                assert await lease.confirm()
            assert lease._renewed_at > renewed_at
        assert (lease.standing().term, passing.done()) == (1, False)
    finally:
        world.nomad.hang_up()
        await passing
        await lease.consul.close()
        lease.consul = before


async def test_an_autoscaler_that_is_told_to_stop_gives_the_lead_away(consul_server: servers.ConsulServer, tmp_path: Path) -> None:
    """Nomad would kill it after a while, and then nobody leads until Consul has given up its session."""
    names, document, consul = own_names(), tmp_path / "fleet.json", Consul(consul_server.address)
    try:
        async with silent_server() as nomad:
            document.write_text(json.dumps(description(names, servers.NomadServer(nomad.address, consul_server.address))))
            async with autoscaler(document, tmp_path / "log") as program:
                await until(program.leads, bool)
                await nomad.hears(1)
                program.process.terminate()
                async with asyncio.timeout(90):
                    assert await program.process.wait() == 0
            assert await consul.holder(names.leader) == ("", b"")
    finally:
        await consul.close()
