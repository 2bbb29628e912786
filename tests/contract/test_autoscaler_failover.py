"""Two autoscalers of one fleet against real Nomad and Consul: one leads; killed or frozen, it is replaced, and it no longer acts."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from fleet.cli import main
from fleet.consul import Consul
from fleet.metrics import IN_FLIGHT
from fleet.names import GROUP, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from fleet.state import decode
from tests import servers
from tests.contract.autoscaler_program import Program, autoscaler, description
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, router, until

pytestmark = pytest.mark.contract

TAKEOVER_S = 30


async def leader_of(programs: Sequence[Program]) -> list[Program]:
    return [program for program in programs if await program.leads()]


async def counted(nomad: Nomad, names: Names) -> int:
    job = await asyncio.to_thread(nomad.job, names.job(MODEL))
    return job.counts[GROUP] if job else 0


async def known_to_consul(names: Names, server: servers.NomadServer, program: Program) -> None:
    """As Nomad would register it."""
    port = int(program.url.rpartition(":")[2])
    name = names.autoscaler_service
    service = {"ID": f"{name}-{port}", "Name": name, "Address": "127.0.0.1", "Port": port}
    async with aiohttp.ClientSession(server.consul, raise_for_status=True) as http, http.put("/v1/agent/service/register", json=service):
        pass


async def command(*words: str) -> str:
    made = await asyncio.to_thread(CliRunner().invoke, main, list(words))
    assert made.exit_code == 0, made.output
    return made.output


async def test_a_leader_that_is_killed_is_replaced_by_one_that_goes_on(nomad_server: servers.NomadServer, tmp_path: Path) -> None:
    names, nomad, demand = own_names(), Nomad(nomad_server.address), Recorder()
    document = tmp_path / "fleet.json"
    document.write_text(json.dumps(description(names, nomad_server)))
    demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    place = ("--consul", nomad_server.consul, "--fleet", names.fleet)
    async with AsyncExitStack() as stack:
        stack.enter_context(registered(nomad, job_of_sleepers(names)))
        await stack.enter_async_context(router(demand, names, nomad_server.consul))
        programs = [await stack.enter_async_context(autoscaler(document, tmp_path / f"log-{n}")) for n in range(2)]
        await until(lambda: leader_of(programs), bool)
        await until(lambda: counted(nomad, names), lambda count: count == 2)
        (leader,) = await leader_of(programs)
        (standby,) = [program for program in programs if program is not leader]
        told = await until(lambda: standby.get("/status"), lambda answer: bool(answer.get("models")))
        assert "stands by: " in told["models"][0]["sentence"]
        assert [line for line in standby.lines() if line.get("done")] == []

        leader.process.kill()
        demand.gauge(IN_FLIGHT, MODEL, value=4.2)
        await until(lambda: counted(nomad, names), lambda count: count == 3, seconds=TAKEOVER_S)
        assert await standby.leads()

        await known_to_consul(names, nomad_server, standby)
        said = await command("explain", MODEL, *place)
        assert f"{MODEL}, as decided by the autoscaler at {standby.url}, which leads" in said
        assert "2 -> 3" in said
        assert "concurrency 4.2" in said

        assert "is paused: moving GPUs" in await command("pause", "moving GPUs", *place)
        paused = await until(lambda: standby.get("/health"), lambda answer: bool(answer.get("paused")))
        assert "moving GPUs" in paused["paused"]
        demand.gauge(IN_FLIGHT, MODEL, value=5.6)
        wished = await until(lambda: standby.get("/status"), lambda answer: answer["models"][0]["desired"] == 4)
        assert "3 -> 4" in wished["models"][0]["sentence"]
        assert "moving GPUs; `warmfleet resume` ends it" in wished["models"][0]["sentence"]
        assert await counted(nomad, names) == 3
        await command("resume", *place)
        await until(lambda: counted(nomad, names), lambda count: count == 4)

        standby.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(standby.process.wait(), 30) == 0
        left = await command("explain", MODEL, *place)
        assert "no autoscaler answers; this is what one left in Consul" in left


async def test_what_drains_serves_again_when_the_only_autoscaler_is_told_to_stop(nomad_server: servers.NomadServer, tmp_path: Path) -> None:
    names, nomad, demand, consul = own_names(), Nomad(nomad_server.address), Recorder(), Consul(nomad_server.consul)
    document = tmp_path / "fleet.json"
    slow = {"interval": "4s", "window": "4s", "max_age": "30s"}  # routers are given two intervals to see who drains
    document.write_text(json.dumps(description(names, nomad_server, **slow)))
    demand.gauge(IN_FLIGHT, MODEL, value=2.8)

    async def draining() -> tuple[str, ...]:
        told, _ = await consul.document(names.model_state(MODEL))
        return decode(told).draining if told else ()

    async with AsyncExitStack() as stack:
        stack.push_async_callback(consul.close)
        stack.enter_context(registered(nomad, job_of_sleepers(names)))
        await stack.enter_async_context(router(demand, names, nomad_server.consul))
        only = await stack.enter_async_context(autoscaler(document, tmp_path / "log"))
        await until(lambda: counted(nomad, names), lambda count: count == 2)
        demand.gauge(IN_FLIGHT, MODEL, value=0.5)
        await until(draining, bool)
        only.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(only.process.wait(), 60) == 0
        assert (await draining(), await counted(nomad, names)) == ((), 2)


async def test_a_leader_that_was_frozen_finds_itself_replaced_and_orders_nothing(nomad_server: servers.NomadServer, tmp_path: Path) -> None:
    names, nomad, demand = own_names(), Nomad(nomad_server.address), Recorder()
    document = tmp_path / "fleet.json"
    document.write_text(json.dumps(description(names, nomad_server)))
    demand.gauge(IN_FLIGHT, MODEL, value=0.5)
    async with AsyncExitStack() as stack:
        stack.enter_context(registered(nomad, job_of_sleepers(names)))
        await stack.enter_async_context(router(demand, names, nomad_server.consul))
        programs = [await stack.enter_async_context(autoscaler(document, tmp_path / f"log-{n}")) for n in range(2)]
        await until(lambda: leader_of(programs), bool)
        (frozen,) = await leader_of(programs)
        (standby,) = [program for program in programs if program is not frozen]
        frozen.process.send_signal(signal.SIGSTOP)
        await until(standby.leads, bool, seconds=TAKEOVER_S)
        for program in programs:
            await known_to_consul(names, nomad_server, program)
        said = await command("explain", MODEL, "--consul", nomad_server.consul, "--fleet", names.fleet)  # one of the two never answers
        assert f"{MODEL}, as decided by the autoscaler at {standby.url}, which leads" in said
        demand.gauge(IN_FLIGHT, MODEL, value=2.8)
        frozen.process.send_signal(signal.SIGCONT)
        await until(lambda: counted(nomad, names), lambda count: count == 2)
        await until(lambda: frozen.get("/health"), lambda answer: answer.get("leads") is False)
        assert await standby.leads()
        assert [line for line in frozen.lines() if line.get("done")] == []
