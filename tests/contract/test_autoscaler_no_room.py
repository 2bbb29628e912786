"""Fewer replicas while Nomad looks for room: the autoscaler takes its own order back, and nothing that anybody else has begun."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest
import requests
from aiohttp import web

from autoscaler.jobs import JobView, NomadJobs, Order
from fleet.deploy.nomad import Delivery, Deployment
from fleet.errors import Blocked, Conflict, Refused
from fleet.metrics import IN_FLIGHT
from fleet.names import GROUP, Names
from fleet.nomad import Job
from tests import servers
from tests.contract.autoscaler_wired import World, world_of
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, until
from tests.contract.nomad_proxy import Answer, NomadProxy

pytestmark = pytest.mark.contract

Edit = Callable[[Job], None]


@pytest.fixture
def nomad(nomad_server: servers.NomadServer) -> Delivery:
    return Delivery(nomad_server.address)


@pytest.fixture
def names() -> Names:
    return own_names()


@pytest.fixture
def hcl(nomad: Delivery, names: Names) -> str:
    """Of its replicas the node holds one: each wants more than half of what memory the node has."""
    (node,) = requests.get(f"{nomad.address}/v1/nodes", {"resources": "true"}, timeout=30).json()
    return job_of_sleepers(names, memory_mb=int(node["NodeResources"]["Memory"]["MemoryMB"]) * 6 // 10)


@pytest.fixture
def job_id(nomad: Delivery, hcl: str) -> Iterator[str]:
    with registered(nomad, hcl) as registered_id:
        yield registered_id


@pytest.fixture
def jobs(nomad: Delivery, names: Names) -> NomadJobs:
    return NomadJobs(nomad, names.fleet)


def order(view: JobView, job_id: str, count: int) -> Order:
    return Order(job_id, count, view.modify_index, f"{view.count} -> {count}: a test", {"signals": {}}, gives_up=view.placing)


async def settled(jobs: NomadJobs, job_id: str) -> JobView:
    """One replica runs, and nothing is under way."""
    return await until(
        lambda: jobs.read(job_id), lambda v: any(a.client_status == "running" and a.live for a in v.allocations) and not v.obstacle
    )


async def without_room(jobs: NomadJobs, job_id: str) -> JobView:
    """Also of canaries, which are beside the count."""
    await until(lambda: asyncio.to_thread(jobs.nomad.unplaced, job_id), bool)
    return await jobs.read(job_id)


async def ordered_without_room(jobs: NomadJobs, job_id: str) -> JobView:
    await jobs.order(order(await settled(jobs, job_id), job_id, 2))
    return await until(lambda: jobs.read(job_id), lambda v: bool(v.placing))


def running(view: JobView) -> list[tuple[str, int]]:
    return [(a.alloc_id, a.restarts) for a in view.allocations if a.live]


def deployments(nomad: Delivery, job_id: str) -> list[tuple[int, str]]:
    rows = requests.get(f"{nomad.address}/v1/job/{job_id}/deployments", timeout=30).json()
    return sorted((row["JobVersion"], row["Status"]) for row in rows)


def latest(nomad: Delivery, job_id: str) -> Deployment:
    found = nomad.latest_deployment(job_id)
    assert found is not None
    return found


async def test_what_is_no_longer_wanted_is_taken_back_and_nothing_is_restarted(nomad: Delivery, jobs: NomadJobs, job_id: str) -> None:
    waiting = await ordered_without_room(jobs, job_id)
    assert (waiting.count, waiting.obstacle, len(running(waiting))) == (2, "", 1)
    await jobs.order(order(waiting, job_id, 1))
    ended = [(0, "successful"), (1, "failed"), (2, "successful")]
    await until(lambda: asyncio.to_thread(deployments, nomad, job_id), lambda now: now == ended)
    view = await jobs.read(job_id)
    assert (view.count, view.obstacle, view.placing, view.gave_up, running(view)) == (1, "", "", "", running(waiting))
    assert len(view.scaled_at) == 2
    await jobs.order(order(view, job_id, 2))  # and when it is wanted again
    assert (await without_room(jobs, job_id)).count == 2


PREPARING = """
    task "prepare" {
      driver = "raw_exec"

      lifecycle {
        hook = "prestart"
      }

      config {
        command = "/bin/sleep"
        args    = ["3"]
      }

      resources {
        cpu    = 10
        memory = 10
      }
    }

    task "engine" {"""


async def test_a_replica_that_still_starts_goes_on(nomad: Delivery, names: Names, hcl: str) -> None:
    """Of three the node holds two, and the second one is on its way when the third is given up."""
    jobs, slow = NomadJobs(nomad, names.fleet), hcl.replace('    task "engine" {', PREPARING)
    with registered(nomad, of_two_the_size(slow)) as job_id:
        view = await settled(jobs, job_id)
        await jobs.order(order(view, job_id, 3))
        waiting = await until(lambda: jobs.read(job_id), lambda v: bool(v.placing))
        await jobs.order(order(waiting, job_id, 2))
        await until(lambda: asyncio.to_thread(deployments, nomad, job_id), lambda now: now[-1] == (2, "successful"))
        view = await jobs.read(job_id)
        assert (view.count, running(view), len(running(view))) == (2, running(waiting), 2)


def of_two_the_size(hcl: str) -> str:
    """A replica takes two fifths of the node, in place of three."""
    return re.sub(r"memory = (\d{3,})", lambda found: f"memory = {int(found[1]) * 2 // 3}", hcl)


async def test_without_giving_up_nomad_takes_no_order(jobs: NomadJobs, job_id: str) -> None:
    """Why there is anything to give up."""
    waiting = await ordered_without_room(jobs, job_id)
    with pytest.raises(Blocked):
        await jobs.order(replace(order(waiting, job_id, 1), gives_up=""))


async def test_a_count_that_a_person_has_set_is_waited_for(nomad: Delivery, jobs: NomadJobs, job_id: str) -> None:
    view = await settled(jobs, job_id)
    nomad.scale(job_id, GROUP, 2, modify_index=view.modify_index, message="by hand", meta={"by": "warmfleet scale"})
    view = await without_room(jobs, job_id)
    assert (view.placing, view.obstacle.startswith("a deployment is under way")) == ("", True)


def raised(job: Job) -> None:
    job["TaskGroups"][0]["Count"] = 2


def new_version(job: Job) -> None:
    job["TaskGroups"][0]["Tasks"][0]["Env"]["GENERATION"] = "1"


def new_version_without_canaries(job: Job) -> None:
    raised(job)
    new_version(job)
    job["TaskGroups"][0]["Update"]["Canary"] = 0


@pytest.mark.parametrize("edit", [raised, new_version, new_version_without_canaries], ids=lambda edit: edit.__name__)
async def test_what_a_person_has_registered_is_waited_for(nomad: Delivery, jobs: NomadJobs, job_id: str, hcl: str, edit: Edit) -> None:
    await settled(jobs, job_id)
    job = nomad.parse(hcl)
    edit(job)
    nomad.register(job, keep_counts=False)
    view = await without_room(jobs, job_id)
    assert (view.placing, view.obstacle.startswith("a deployment is under way")) == ("", True)


async def test_a_job_that_goes_back_by_itself_is_waited_for(nomad: Delivery, names: Names, hcl: str) -> None:
    jobs = NomadJobs(nomad, names.fleet)
    with registered(nomad, hcl.replace("auto_promote ", "auto_revert = true\n auto_promote ")) as job_id:
        await jobs.order(order(await settled(jobs, job_id), job_id, 2))
        view = await without_room(jobs, job_id)
        assert (view.placing, view.obstacle.startswith("a deployment is under way")) == ("", True)


async def test_a_version_that_a_person_deploys_meanwhile_goes_on(nomad: Delivery, jobs: NomadJobs, job_id: str, hcl: str) -> None:
    """Decided on what was there before: neither the count nor the deployment of the new version is touched."""
    waiting = await ordered_without_room(jobs, job_id)
    job = nomad.parse(hcl)
    new_version(job)
    nomad.register(job)
    await until(lambda: asyncio.to_thread(latest, nomad, job_id), lambda d: d.job_version == 2 and d.active)
    with pytest.raises((Refused, Conflict)):
        await jobs.order(order(waiting, job_id, 1))
    view = await jobs.read(job_id)
    assert (view.count, view.placing, "wait to be promoted" in view.obstacle) == (2, "", True)
    assert (latest(nomad, job_id).job_version, latest(nomad, job_id).active) == (2, True)


# The whole loop.


@pytest.fixture
async def world(nomad: Delivery, names: Names, job_id: str, nomad_server: servers.NomadServer) -> AsyncIterator[World]:
    async with world_of(nomad, names, nomad_server) as made:
        yield made


async def test_the_loop_orders_more_only_when_there_is_room_and_fewer_at_once(world: World) -> None:
    world.demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    await world.passes_until_said("Nomad looks for room, and takes fewer replicas meanwhile but not more")
    assert "1 of 2 not placed: memory exhausted on 1 node(s)" in world.said[-1].sentence
    assert world.said[-1].is_blocked
    world.demand.gauge(IN_FLIGHT, MODEL, value=4.2)
    await world.passes_until_said("waits: Nomad looks for room for what was ordered before, and takes no more meanwhile")
    world.demand.gauge(IN_FLIGHT, MODEL, value=0.5)
    await world.passes_until_count(1)
    assert len(world.proxy.orders) == 2
    assert "2 -> 1" in {status.done for status in world.said}


async def test_a_token_that_may_not_give_up_says_who_can(world: World) -> None:
    async def not_allowed(proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
        if "/deployment/fail/" in request.path:
            return web.Response(status=403, text="Permission denied")
        return await proxy.forward(request, body)

    world.proxy.fault = not_allowed
    world.demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    await world.passes_until_said("Nomad looks for room")
    world.demand.gauge(IN_FLIGHT, MODEL, value=0.5)
    await world.passes_until_said("this autoscaler's token may not end that (fail-deployment): `nomad deployment fail ")
    assert await world.count() == 2
    world.proxy.fault = None
    await world.passes_until_count(1)
