"""The autoscaler's view of Nomad and Consul, against real ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import requests

from autoscaler.capacity import capacity
from autoscaler.jobs import JobView, NomadJobs, Order
from autoscaler.lease import ConsulLease
from autoscaler.states import ConsulStates
from fleet.consul import Consul, Fence
from fleet.deploy.nomad import Delivery
from fleet.errors import Blocked, Conflict, Refused, Unreachable
from fleet.names import Names
from fleet.nomad import Nomad
from fleet.state import Leader, ModelState
from tests import servers
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, until

pytestmark = pytest.mark.contract


@pytest.fixture
def nomad(nomad_server: servers.NomadServer) -> Nomad:
    return Nomad(nomad_server.address)


def ours(nomad: Nomad) -> tuple[Names, NomadJobs]:
    names = own_names()
    return names, NomadJobs(nomad, names.fleet)


def order(view: JobView, job_id: str, count: int) -> Order:
    return Order(job_id, count, view.modify_index, f"small-model {view.count} -> {count}: a test", {"signals": {"concurrency": 2.8}})


async def leading(consul: Consul, names: Names) -> Callable[[], Fence]:
    """The fence of a lease that is held for as long as the test runs."""
    lease = ConsulLease(consul, names.leader, Leader(name="test", url="http://127.0.0.1:1", since=0.0), time.monotonic, time.time)
    await lease.step()
    assert lease.standing().leads
    return lease.fence


async def settled(jobs: NomadJobs, job_id: str, count: int) -> JobView:
    return await until(
        lambda: jobs.read(job_id), lambda v: sum(a.client_status == "running" for a in v.allocations) >= count and not v.obstacle
    )


async def test_an_order_changes_the_count_and_is_remembered_by_nomad(nomad: Nomad) -> None:
    names, jobs = ours(nomad)
    with registered(nomad, job_of_sleepers(names)) as job_id:
        view = await settled(jobs, job_id, 1)
        assert (view.count, view.scaled_at) == (1, ())
        before = time.time()
        await jobs.order(order(view, job_id, 2))
        view = await settled(jobs, job_id, 2)
        assert view.count == 2
        assert view.scaled_at == (pytest.approx(before, abs=30),)


async def test_an_order_on_an_old_view_is_a_conflict(nomad: Nomad) -> None:
    names, jobs = ours(nomad)
    with registered(nomad, job_of_sleepers(names)) as job_id:
        view = await settled(jobs, job_id, 1)
        await jobs.order(order(view, job_id, 2))
        await settled(jobs, job_id, 2)
        with pytest.raises(Conflict):
            await jobs.order(order(view, job_id, 3))
        assert (await jobs.read(job_id)).count == 2


async def test_nomad_refuses_what_the_job_itself_does_not_allow(nomad: Nomad) -> None:
    names, jobs = ours(nomad)
    with registered(nomad, job_of_sleepers(names, most=2)) as job_id:
        view = await settled(jobs, job_id, 1)
        assert view.bounds == (1, 2)
        for count, says in ((3, "greater than scaling policy maximum"), (0, "less than scaling policy minimum")):
            with pytest.raises(Refused, match=says):
                await jobs.order(order(view, job_id, count))


async def test_a_deployment_is_an_obstacle_and_blocks_an_order(nomad: Nomad) -> None:
    names, jobs = ours(nomad)
    with registered(nomad, job_of_sleepers(names)) as job_id:
        await settled(jobs, job_id, 1)
        nomad.register(nomad.parse(job_of_sleepers(names, generation=1)))  # waits for its canary to be promoted
        view = await until(lambda: jobs.read(job_id), lambda v: bool(v.obstacle))
        assert "a deployment is under way" in view.obstacle
        assert "wait to be promoted, `warmfleet deploy` sees them to the end" in view.obstacle
        with pytest.raises(Blocked):
            await jobs.order(order(view, job_id, 2))


async def test_a_canary_is_known_as_one_until_it_is_promoted(nomad: Nomad, nomad_server: servers.NomadServer) -> None:
    (names, jobs), delivery = ours(nomad), Delivery(nomad_server.address)
    with registered(nomad, job_of_sleepers(names)) as job_id:
        await settled(jobs, job_id, 1)
        nomad.register(nomad.parse(job_of_sleepers(names, generation=1)))
        view = await settled_canary(jobs, job_id)
        (canary,) = (a for a in view.allocations if a.is_canary)
        assert capacity(view.count, view.allocations, [], []).placed == 1
        await until(lambda: asyncio.to_thread(delivery.latest_deployment, job_id), lambda d: d is not None and d.healthy == 1)
        delivery.promote(delivery.latest_deployment(job_id).deployment_id)  # type: ignore[union-attr]
        view = await settled(jobs, job_id, 1)
        assert [(a.alloc_id, a.is_canary) for a in view.allocations if a.live] == [(canary.alloc_id, False)]


async def settled_canary(jobs: NomadJobs, job_id: str) -> JobView:
    return await until(lambda: jobs.read(job_id), lambda v: any(a.is_canary and a.client_status == "running" for a in v.allocations))


async def test_what_has_no_room_says_what_is_missing(nomad: Nomad) -> None:
    names, jobs = ours(nomad)
    with registered(nomad, job_of_sleepers(names, memory_mb=10_000_000)) as job_id:
        view = await until(lambda: jobs.read(job_id), lambda v: bool(v.unplaced))
        seen = capacity(view.count, view.allocations, view.unplaced, [])
        assert (seen.placed, seen.missing) == (0, 1)
        assert "memory exhausted on 1 node(s)" in seen.missing_why


async def test_what_nomad_gave_up_placing_it_tries_again_after_another_order_of_the_same_count(nomad: Nomad) -> None:
    """Of a failed deployment it keeps no blocked evaluation, so that no room that comes free would ever be used."""
    names, jobs = ours(nomad)
    with registered(nomad, job_of_sleepers(names, memory_mb=more_than_half_of_the_node(nomad), deadline_s=6)) as job_id:
        view = await settled(jobs, job_id, 1)
        await jobs.order(order(view, job_id, 2))
        view = await until(lambda: jobs.read(job_id), lambda v: bool(v.gave_up))
        assert (view.obstacle, view.count, view.unplaced) == ("", 2, ())
        assert "deadline" in view.gave_up
        await jobs.order(order(view, job_id, 2))
        view = await until(lambda: jobs.read(job_id), lambda v: bool(v.unplaced))
        assert view.gave_up == ""


def more_than_half_of_the_node(nomad: Nomad) -> int:
    (node,) = requests.get(f"{nomad.address}/v1/nodes", {"resources": "true"}, timeout=10).json()
    return int(node["NodeResources"]["Memory"]["MemoryMB"]) * 6 // 10


async def test_a_job_that_is_missing_or_stopped_is_an_obstacle_with_what_to_do(nomad: Nomad) -> None:
    names, jobs = ours(nomad)
    job_id = names.job(MODEL)
    assert (await jobs.read(job_id)).obstacle == f"job {job_id} is not registered in Nomad: deploy the fleet"
    with registered(nomad, job_of_sleepers(names)):
        nomad.deregister(job_id, purge=False)
        assert (await until(lambda: jobs.read(job_id), lambda v: bool(v.obstacle))).obstacle.startswith(f"job {job_id} is stopped")


@pytest.mark.parametrize(("fleet", "whose"), [("", "was deployed by something else"), ("other", "belongs to fleet 'other'")])
async def test_a_job_that_this_fleet_did_not_deploy_is_left_alone(nomad: Nomad, fleet: str, whose: str) -> None:
    names, jobs = ours(nomad)
    with registered(nomad, job_of_sleepers(names, fleet=fleet)) as job_id:
        view = await jobs.read(job_id)
        assert (view.count, view.allocations) == (0, ())
        assert view.obstacle.startswith(f"job {job_id} {whose}, so it is left alone: ")
        assert "--take-over" in view.obstacle


async def test_nomad_that_is_away_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        await NomadJobs(Nomad("http://127.0.0.1:9"), "wf").read("x")


# Consul.


@pytest.fixture
async def consul(consul_server: servers.ConsulServer) -> AsyncIterator[Consul]:
    client = Consul(consul_server.address)
    yield client
    await client.close()


def state(desired: int) -> ModelState:
    return ModelState(
        model=MODEL, desired=desired, placed=1, ready=1, cold_start_p50_s=9.0, cold_start_p90_s=9.0, updated_at=1.0, cold_starts_s=(9.0,)
    )


async def test_a_published_state_is_read_back_and_replaced(consul: Consul) -> None:
    names = own_names()
    states = ConsulStates(consul, names, await leading(consul, names))
    assert await states.read(MODEL) is None
    for desired in (1, 2):
        await states.publish(state(desired))
        assert await states.read(MODEL) == state(desired)


async def test_a_document_of_another_version_is_replaced(consul: Consul) -> None:
    names = own_names()
    await consul.put(names.model_state(MODEL), b'{"from": "the future"}', index=0)
    states = ConsulStates(consul, names, await leading(consul, names))
    assert await states.read(MODEL) is None
    await states.publish(state(1))
    assert await states.read(MODEL) == state(1)


async def test_writers_at_the_same_time_leave_one_whole_document(consul: Consul) -> None:
    names: Names = own_names()
    fence = await leading(consul, names)
    answers = await asyncio.gather(*(ConsulStates(consul, names, fence).publish(state(n)) for n in range(8)), return_exceptions=True)
    assert all(answer is None or isinstance(answer, Conflict) for answer in answers)
    assert any(answer is None for answer in answers)
    assert await ConsulStates(consul, names, fence).read(MODEL) in [state(n) for n in range(8)]
