"""`warmfleet scale` against real Nomad and Consul: it ends when what was asked for is warm, or says what is in its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import requests

from fleet.deploy.run import FAILED, OK, UNPLACED, Model, Outcome
from fleet.deploy.scaling import Scaling, Wanted
from fleet.deploy.warmth import Warmth
from fleet.errors import WarmfleetError
from fleet.local.processes import wait_until
from tests.contract import test_deploy as delivery
from tests.contract.test_deploy import World, started

pytestmark = pytest.mark.contract

world = delivery.world

MUTE = "import time; time.sleep(1000)\n"


def scaling(world: World, *, patience_s: float = 60.0, sleep: Callable[[float], None] | None = None) -> Scaling:
    model = Model(Warmth(world.consul, None, f"{world.fleet}-model", world.job_id), patience_s)
    return Scaling(world.nomad, model, world.told, **({"sleep": sleep} if sleep else {}))


def wanted(world: World, count: int) -> Wanted:
    return Wanted(world.fleet, "part", world.job_id, count, "by a test")


def count(world: World) -> int:
    info = world.nomad.job(world.job_id)
    assert info
    return sum(info.counts.values())


def one_warm(world: World) -> None:
    started(world, world.model("one"))


def test_it_ends_when_so_many_are_warm_and_when_so_few_are_left(world: World) -> None:
    one_warm(world)
    assert scaling(world).to(wanted(world, 2)) == Outcome(OK, "part: 2 replica(s) serve")
    assert len(world.live()) == 2
    assert scaling(world).to(wanted(world, 2)).code == OK, "what is so already is no order"
    assert wait_until(lambda: not world.nomad.deployment_active(world.job_id), 30)
    assert scaling(world).to(wanted(world, 1)) == Outcome(OK, "part: 1 replica(s) serve")
    assert len(world.live()) == 1


def test_it_leaves_a_job_alone_that_another_fleet_has_deployed(world: World) -> None:
    one_warm(world)
    with pytest.raises(WarmfleetError, match=rf"job {world.job_id} belongs to fleet '{world.fleet}', and is scaled by whoever deployed it"):
        scaling(world).to(replace(wanted(world, 2), fleet="other"))
    assert count(world) == 1


def test_detached_it_orders_and_does_not_wait(world: World) -> None:
    one_warm(world)
    world.script.write_text(MUTE)
    assert scaling(world).to(wanted(world, 2), detach=True) == Outcome(OK, "part: 1 -> 2; new replicas serve when they are warm")
    assert count(world) == 2


def test_a_replica_that_does_not_become_warm_is_no_success_and_the_order_stands(world: World) -> None:
    one_warm(world)
    world.script.write_text(MUTE)
    outcome = scaling(world, patience_s=4.0).to(wanted(world, 2))
    assert (outcome.code, "1 of 2 replicas are warm: nothing has moved for" in outcome.text) == (FAILED, True), outcome
    assert count(world) == 2


def test_somebody_else_who_sets_another_count_ends_the_wait(world: World) -> None:
    one_warm(world)
    world.script.write_text(MUTE)
    outcome = scaling(world, sleep=lambda _: delivery.scaled(world, 1) and None).to(wanted(world, 2))
    assert (outcome.code, "somebody else has set the count to 1" in outcome.text) == (FAILED, True), outcome


def test_without_room_it_says_which_resource_is_missing(world: World) -> None:
    (node,) = requests.get(f"{world.nomad.address}/v1/nodes", {"resources": "true"}, timeout=10).json()
    started(world, world.model("one", memory=node["NodeResources"]["Memory"]["MemoryMB"] * 6 // 10))
    for _ in range(2):  # asked again it is no new order, and the same answer
        outcome = scaling(world).to(wanted(world, 2))
        assert outcome.code == UNPLACED
        assert "1 of 2 replica(s) have no place" in outcome.text and "memory" in outcome.text and "exhausted on 1 node(s)" in outcome.text
    assert count(world) == 2


def test_what_is_not_deployed_cannot_be_scaled(world: World) -> None:
    with pytest.raises(WarmfleetError, match="part is not deployed: run `warmfleet deploy part`"):
        scaling(world).to(wanted(world, 2))


def test_a_count_outside_of_the_bounds_says_where_they_stand(world: World) -> None:
    one_warm(world)
    with pytest.raises(WarmfleetError, match=r"part stays at 1: 9 is outside .* Set replicas.min and replicas.max .*9 > 3"):
        scaling(world).to(wanted(world, 9))
    assert count(world) == 1
