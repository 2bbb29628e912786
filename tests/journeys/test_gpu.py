"""Models on GPUs, scheduled by real Nomads as in production: too few GPUs, a mended one, two models that want the same one, a drained node.

The GPUs are files (tests/nodes.py) and the engines run on the CPU; the model template's device block, what Nomad makes of it, and what
people are told about it are production's. Two nodes, each a Nomad client beside a Consul agent.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from fleet.local.jobs import bundled_weights
from fleet.local.processes import Process, start_time
from fleet.local.records import Record
from fleet.local.tools import CHECKOUT, find_redis
from fleet.nomad import Allocation
from fleet.state import ModelState, decode
from tests import nodes
from tests.journeys.fleet import Fleet, until
from tests.journeys.load import Load
from tests.nodes import DEVICE, Cluster

pytestmark = pytest.mark.journey

COLD_START_S = 5.0  # of small-model in jobs/local.toml
CONTEXT = "model.small-model.context=1024"
PARTS = ("redis", "small-model", "large-model", "router", "autoscaler")

OVERLAY = """
[fleet]
consul = "{consul}"
nomad = "{nomad}"
[runtime]
python = "{python}"
[redis]
command = "{redis}"
[router]
port = {port}
count = 2
drain = "60s"
[autoscaler]
cooldown_up = "1s"
[[model]]
name = "small-model"
weights = "{weights}"
gpu = {{ device = "{device}", count = 1, memory = "" }}
policy = [{{ kind = "spare", replicas = 2 }}]
[[model]]
name = "large-model"
weights = "{weights}"
gpu = {{ device = "{device}", count = 1, memory = "" }}
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Gpus:
    """The fleet on its cluster. `first` and `second` are the nodes."""

    cluster: Cluster
    fleet: Fleet
    overlay: Path

    async def run(self, command: str, *args: str, described: bool = True) -> Said:
        """`warmfleet COMMAND`, as a person calls it."""
        files = ["-var-file", "jobs/local.toml", "-var-file", str(self.overlay)] if described else []
        argv = ["-c", "from fleet.cli import main; main()", command, *files, *args]
        environment = {**os.environ, "NOMAD_ADDR": self.cluster.nomad.address, "CONSUL_HTTP_ADDR": self.cluster.consul.address}
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=CHECKOUT, env=environment, stdout=-1, stderr=-1)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Said(process.returncode, out.decode(), err.decode())

    async def give_gpus(self, **gpus: Collection[str]) -> None:
        """Makes these the GPUs of the nodes that work, and waits until Nomad knows it."""
        for node in self.cluster.nodes:
            node.has_gpus(gpus[node.name])
        await until(lambda: all(self.cluster.healthy_gpus(node) == set(ids) for node, ids in gpus.items()), f"Nomad sees {gpus}")

    async def set_count(self, model: str, count: int) -> None:
        """Asks again where the autoscaler, before it saw the pause, was faster: one order at a time is Nomad's rule."""
        for _ in range(5):
            await until(lambda: not self.fleet.nomad.deployment_active(self.fleet.names.job(model)), "no deployment is under way")
            said = await self.run("scale", model, str(count))
            if said.code == 0:
                break
        assert said.code == 0, said
        await until(lambda: self.ready(model) == count == len(self.placed(model)), f"{count} replicas of {model} serve")

    def ready(self, model: str) -> int:
        return self.fleet.ready(model)

    def placed(self, part: str) -> tuple[Allocation, ...]:
        return tuple(a for a in self.fleet.nomad.allocations(self.fleet.names.job(part)) if a.client_status == "running" and a.live)

    def node_of(self, allocation: Allocation) -> str:
        return str(self._allocation(allocation.alloc_id)["NodeName"])

    def gpus_in_use(self) -> list[tuple[str, str]]:
        """(node, GPU) of every replica of every model, as Nomad has given them."""
        rows = [self._allocation(a.alloc_id) for model in ("small-model", "large-model") for a in self.placed(model)]
        devices = [(row["NodeName"], d) for row in rows for t in row["AllocatedResources"]["Tasks"].values() for d in t["Devices"]]
        return sorted((node, gpu) for node, device in devices for gpu in device["DeviceIDs"])

    def published(self, model: str) -> ModelState | None:
        url = f"{self.cluster.consul.address}/v1/kv/{self.fleet.names.model_state(model)}?raw"
        answer = requests.get(url, timeout=10)
        return decode(answer.content) if answer.status_code == 200 else None

    def reason(self, model: str) -> str:
        state = self.published(model)
        return state.reason if state else ""

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nobody but the test changes counts."""
        said = await self.run("pause", "a person decides", described=False)
        assert said.code == 0, said
        try:
            yield
        finally:
            await self.run("resume", described=False)

    def _allocation(self, alloc_id: str) -> dict[str, object]:
        found: dict[str, object] = requests.get(f"{self.cluster.nomad.address}/v1/allocation/{alloc_id}", timeout=10).json()
        return found


@pytest.fixture(scope="module")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpus]:
    """Two GPUs, one on each node, and both models with one replica each."""
    with nodes.cluster(a=["a0", "a1"], b=["b0"]) as cluster:
        ports = cluster.nodes[0].ground.ports
        overlay = tmp_path_factory.mktemp("gpu") / "overlay.toml"
        values = {"consul": cluster.consul.address, "nomad": cluster.nomad.address, "python": sys.executable, "redis": find_redis()}
        overlay.write_text(OVERLAY.format(**values, port=ports.router, weights=bundled_weights(), device=DEVICE))
        me = Process(os.getpid(), start_time(os.getpid()) or 0)
        record = Record(
            phase="up",
            owner=me,
            fleet="warmfleet",
            router=f"http://127.0.0.1:{ports.router}",
            parts=PARTS,
            agents=(cluster.consul, cluster.nomad),
        )
        deployed = Gpus(cluster, Fleet(cluster.nodes[0].ground.state, record), overlay)
        asyncio.run(_deployed(deployed))
        yield deployed


async def _deployed(gpus: Gpus) -> None:
    await gpus.give_gpus(a=["a0"], b=["b0"])
    said = await gpus.run("deploy")
    assert said.code == 0, said


async def test_every_node_has_a_router(gpus: Gpus) -> None:
    assert sorted(gpus.node_of(router) for router in gpus.placed("router")) == ["a", "b"]


async def test_a_replica_without_a_gpu_is_explained_and_a_mended_gpu_is_used(gpus: Gpus) -> None:
    assert gpus.gpus_in_use() == [("a", "a0"), ("b", "b0")]
    picky = await gpus.run("plan", "small-model", "-var", "model.small-model.gpu.memory=20 GiB")
    assert f"need of device {DEVICE} with memory >= 20 GiB' leaves 2 node(s) out" in picky.out
    missing = f"1 of 2 not placed: device {DEVICE} exhausted on 2 node(s)"
    await until(lambda: missing in gpus.reason("small-model"), "the autoscaler says which device is missing")
    state = gpus.published("small-model")
    assert state is not None and (state.desired, state.placed, state.ready) == (2, 1, 1)
    explained = await gpus.run("explain", "small-model", described=False)
    assert (explained.code, missing in explained.out) == (0, True), explained
    planned = await gpus.run("plan", "small-model", "-var", CONTEXT)
    assert f"no room for the new version beside the old one (2 replica(s): resource 'device {DEVICE}' is exhausted on 2" in planned.out
    deployed = await gpus.run("deploy", "small-model", "-var", CONTEXT)
    assert deployed.code == 2
    assert "nothing was changed" in deployed.err

    await gpus.give_gpus(a=["a0", "a1"], b=["b0"])
    await until(lambda: gpus.ready("small-model") == 2, "the second replica is warm on the mended GPU")
    assert gpus.gpus_in_use() == [("a", "a0"), ("a", "a1"), ("b", "b0")]
    await until(lambda: "not placed" not in gpus.reason("small-model"), "nothing is missing any more")


async def test_of_two_models_that_want_the_same_gpu_one_waits_and_gets_it_when_the_other_gives_it_up(gpus: Gpus) -> None:
    await gpus.give_gpus(a=["a0", "a1"], b=["b0"])
    async with gpus.paused():
        await gpus.set_count("small-model", 2)
        await gpus.set_count("large-model", 1)
        await until(lambda: not gpus.fleet.nomad.deployment_active("warmfleet-large-model"), "no deployment is under way")
        said = await gpus.run("scale", "large-model", "2")
        assert (said.code, f"device {DEVICE}' is exhausted on 2 node(s)" in said.err) == (2, True), said
        assert gpus.ready("large-model") == 1
        taken = gpus.gpus_in_use()
        await gpus.set_count("small-model", 1)
        await until(lambda: gpus.ready("large-model") == 2, "the other model's replica is warm on the GPU that was given up")
        assert gpus.gpus_in_use() == taken
        await gpus.set_count("large-model", 1)


async def test_a_node_is_drained_behind_a_replica_that_is_warm_elsewhere_and_no_caller_notices(gpus: Gpus) -> None:
    await gpus.give_gpus(a=["a0", "a1", "a2", "a3"], b=["b0", "b1", "b2", "b3"])
    fewest = 1
    async with gpus.paused():
        await gpus.set_count("small-model", 1)
        (old,) = gpus.placed("small-model")
        leaving = gpus.node_of(old)
        gpus.cluster.cordon(leaving)
        async with Load(gpus.fleet.router, model="small-model", callers=2, max_tokens=12, pause_s=0.6) as load:
            await gpus.set_count("small-model", 2)
            gpus.cluster.drain(leaving)
            moved = asyncio.create_task(until(lambda: _left(gpus, leaving), "both are warm on the other node"))
            while not moved.done():
                fewest = min(fewest, await asyncio.to_thread(gpus.ready, "small-model"))
                await asyncio.wait([moved], timeout=0.1)
            await moved
            await gpus.set_count("small-model", 1)
            asked = load.total
            await until(lambda: load.total >= asked + 4, "callers are answered by what is left")
        gpus.cluster.cordon(leaving, eligible=True)
    assert load.failures == []
    assert fewest == 1
    assert old.alloc_id not in {a.alloc_id for a in gpus.placed("small-model")}


def _left(gpus: Gpus, leaving: str) -> bool:
    placed = gpus.placed("small-model")
    return len(placed) == 2 == gpus.ready("small-model") and leaving not in {gpus.node_of(a) for a in placed}


async def test_a_node_that_is_just_drained_gives_its_replicas_up_a_cold_start_apart(gpus: Gpus) -> None:
    await gpus.give_gpus(a=["a0", "a1", "a2", "a3"], b=["b0", "b1", "b2", "b3"])
    async with gpus.paused():
        gpus.cluster.cordon("b")
        await gpus.set_count("small-model", 2)
        for replica in gpus.placed("small-model"):
            if gpus.node_of(replica) == "b":
                gpus.fleet.nomad.stop_allocation(replica.alloc_id)
        await until(lambda: _left(gpus, "b"), "both are on one node")
        gpus.cluster.cordon("b", eligible=True)
        gpus.cluster.drain("a")
        await until(lambda: _left(gpus, "a"), "both are warm on the other node")
        first, second = sorted(replica.started_at for replica in gpus.placed("small-model"))
        gpus.cluster.cordon("a", eligible=True)
        await gpus.set_count("small-model", 1)
    assert second - first >= COLD_START_S
