"""The autoscaler before a Nomad that goes wrong: it holds, says why, and does the right thing once when Nomad is well again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from fleet.metrics import IN_FLIGHT
from fleet.names import GROUP
from fleet.nomad import Nomad
from tests import servers
from tests.contract import nomad_proxy as faults
from tests.contract.autoscaler_wired import World, world_of
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, until
from tests.contract.nomad_proxy import Answer, Fault, NomadProxy, is_order

pytestmark = pytest.mark.contract


@pytest.fixture
async def world(nomad_server: servers.NomadServer) -> AsyncIterator[World]:
    names, nomad = own_names(), Nomad(nomad_server.address)
    with registered(nomad, job_of_sleepers(names)):
        async with world_of(nomad, names, nomad_server) as made:
            yield made


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (faults.refusing(400, "job scaling blocked due to active deployment", orders_only=True), "waits: a deployment has begun"),
        (faults.refusing(403, "Permission denied"), "Permission denied (HTTP 403)"),
        (faults.refusing(403, "Permission denied", orders_only=True), "not done: Nomad: Permission denied (HTTP 403)"),
        (faults.refusing(429, "Too many requests"), "Too many requests (HTTP 429)"),
        (faults.refusing(500, "rpc error: No cluster leader"), "No cluster leader (HTTP 500)"),
        (faults.refusing(500, "rpc error: No cluster leader", orders_only=True), "is unwell: rpc error: No cluster leader"),
        (faults.refusing(200, "{}", orders_only=True), "is not understood (KeyError('EvalID'))"),
        (faults.dropping, "does not answer"),
        (faults.not_json, "is no answer of Nomad"),
    ],
    ids=[
        "blocked",
        "forbidden",
        "orders forbidden",
        "limited",
        "no leader",
        "no leader for orders",
        "no answer to orders",
        "dropped",
        "not JSON",
    ],
)
async def test_it_holds_while_nomad_is_unwell_and_orders_once_when_it_is_well(world: World, fault: Fault, says: str) -> None:
    world.demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    world.proxy.fault = fault
    await world.passes_until_said(says)
    await world.passes(2)
    assert (await world.count(), world.proxy.orders) == (1, [])
    world.proxy.fault = None
    await world.passes_until_count(2)
    await world.passes(3)
    assert [json.loads(order)["Count"] for order in world.proxy.orders] == [2]


async def test_a_silent_nomad_holds_no_other_work_for_long(world: World) -> None:
    world.demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    world.proxy.fault = faults.silent
    assert "does not answer" in await world.passes()
    assert (await world.count(), world.proxy.orders) == (1, [])
    world.proxy.fault = None
    await world.passes_until_count(2)


async def test_an_order_whose_answer_is_lost_is_not_given_twice(world: World) -> None:
    world.demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    world.proxy.fault = faults.losing_the_answer
    await world.passes_until_count(2)
    await world.passes(3)
    assert await world.count() == 2
    assert [json.loads(order)["Count"] for order in world.proxy.orders] == [2]


async def test_somebody_else_who_scales_at_the_same_moment_wins_and_is_looked_at_again(world: World) -> None:
    world.demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    job_id = world.names.job(MODEL)

    async def overtaken(proxy: NomadProxy, request: object, body: bytes) -> Answer:
        if is_order(request):  # type: ignore[arg-type]
            proxy.fault = None
            await asyncio.to_thread(_scale, world.nomad, job_id, 3)
        return await proxy.forward(request, body)  # type: ignore[arg-type]

    world.proxy.fault = overtaken
    lost = ("somebody else changed the job, decided again", "a deployment has begun")  # which, is for Nomad to say: both are true
    await until(world.passes, lambda sentence: any(part in sentence for part in lost))
    assert (await world.count(), world.proxy.orders) == (3, [])
    await world.passes_until_count(2)  # three are more than the demand needs: drained, and given up


async def test_reads_that_are_stale_never_scale_on_what_no_longer_is(world: World) -> None:
    """It sees a count of 1 for ever, while somebody has scaled to 4: each order is refused, because the job has moved on."""
    world.proxy.fault = faults.stale
    await world.passes()
    await until(lambda: asyncio.to_thread(_scaled, world.nomad, world.names.job(MODEL), 4), bool)
    world.demand.gauge(IN_FLIGHT, MODEL, value=2.8)
    await world.passes_until_said("somebody else changed the job")
    await world.passes(3)
    assert (await world.count(), world.proxy.orders) == (4, [])
    world.proxy.fault = None
    await world.passes_until_count(2)


def _scale(nomad: Nomad, job_id: str, count: int) -> None:
    job = nomad.job(job_id)
    assert job is not None
    nomad.scale(job_id, GROUP, count, modify_index=job.modify_index, message="somebody else", meta={})


def _scaled(nomad: Nomad, job_id: str, count: int) -> bool:
    job = nomad.job(job_id)
    if job is not None and job.counts[GROUP] != count and not nomad.deployment_active(job_id):
        _scale(nomad, job_id, count)
    return job is not None and job.counts[GROUP] == count
