"""The autoscaler on agents with ACLs, whose rights go while it runs: it says which are missing, and does nothing by halves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from autoscaler.board import Status
from autoscaler.loop import Loop
from fleet.model import Fleet, Policy, Spec
from fleet.names import GROUP, JOB_META_FLEET
from fleet.nomad import Nomad
from tests.contract.autoscaler_wired import QUICK, leading, quick_model
from tests.contract.autoscaler_world import MODEL, until
from tests.guarded import NAMESPACE, Guarded, guarded, policy

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def world() -> Iterator[Guarded]:
    with guarded("lost") as made:
        yield made


@dataclass
class Running:
    """A loop whose passes the test makes, with tokens of its own."""

    world: Guarded
    loop: Loop
    said: list[Status] = field(default_factory=list)

    @property
    def job_id(self) -> str:
        return self.world.names.job(MODEL)

    async def passed(self) -> Status:
        await self.loop.one_pass()
        return self.said[-1]

    def count(self) -> int:
        job = self.world.nomad.told("GET", f"/v1/job/{self.job_id}?namespace={NAMESPACE}")
        return int(job["TaskGroups"][0]["Count"])


def sleepers(world: Guarded) -> dict[str, Any]:
    task = {"Name": "engine", "Driver": "raw_exec", "Config": {"command": "/bin/sleep", "args": ["1000"]}}
    group = {"Name": GROUP, "Count": 1, "Tasks": [task | {"Resources": {"CPU": 10, "MemoryMB": 10}}]}
    kind = {"Datacenters": ["dc1"], "Type": "service", "Update": {"MaxParallel": 4, "MinHealthyTime": 0}}
    return {
        "ID": world.names.job(MODEL),
        "Name": world.names.job(MODEL),
        "Namespace": NAMESPACE,
        "Meta": {JOB_META_FLEET: world.names.fleet},
        "TaskGroups": [group],
        **kind,
    }


def spec(world: Guarded, floor: int) -> Spec:
    """A schedule that always asks for `floor`: no router is needed for it."""
    model = replace(quick_model(), policy=(Policy(kind="schedule", cron="0 0 * * *", duration_s=86400.0, replicas=floor),))
    fleet = Fleet(name=world.names.fleet, namespace=NAMESPACE, nomad=world.nomad.address, consul=world.consul.address)
    return Spec(fleet=fleet, autoscaler=QUICK, models=(model,))


@asynccontextmanager
async def running(world: Guarded, *, floor: int, nomad_token: str, consul_token: str) -> AsyncIterator[Running]:
    asked, said = spec(world, floor), list[Status]()
    async with leading(asked, {"NOMAD_TOKEN": nomad_token, "CONSUL_HTTP_TOKEN": consul_token}) as wired:
        yield Running(world, Loop(asked, replace(wired.loop.ports, say=said.append), wired.loop.recorder), said)


@pytest.fixture
def job(world: Guarded) -> Iterator[None]:
    world.nomad.told("PUT", f"/v1/jobs?namespace={NAMESPACE}", {"Job": sleepers(world)})
    nomad = Nomad(world.nomad.address, token=world.nomad.token, namespace=NAMESPACE)
    yield
    nomad.deregister(world.names.job(MODEL))


def new_token(world: Guarded) -> dict[str, Any]:
    rights = [f"{world.names.fleet}-autoscaler-held"]
    made: dict[str, Any] = world.nomad.told("POST", "/v1/acl/token", {"Name": "autoscaler", "Type": "client", "Policies": rights})
    return made


async def test_a_token_that_nomad_no_longer_knows_holds_the_model_and_a_new_one_goes_on(world: Guarded, job: None) -> None:
    token, consul = new_token(world), world.consul_token("autoscaler")
    async with running(world, floor=1, nomad_token=token["SecretID"], consul_token=consul) as first:
        await until(first.passed, lambda status: "stays at 1: " in status.sentence)
        world.nomad.told("DELETE", f"/v1/acl/token/{token['AccessorID']}")
        held = await until(first.passed, lambda status: "is held: " in status.sentence)
        assert "(HTTP 403): the autoscaler's token is not known to Nomad, has expired, or lacks a right" in held.sentence
        assert first.count() == 1
    async with running(world, floor=2, nomad_token=new_token(world)["SecretID"], consul_token=consul) as second:
        await until(second.passed, lambda status: status.done == "1 -> 2")
        assert second.count() == 2


@contextmanager
def without_the_right_to_publish(world: Guarded) -> Iterator[None]:
    """Of the model's state only: the lock, and so the lead, is kept."""
    name, rights = f"{world.names.fleet}-autoscaler", policy("consul-autoscaler.hcl", world.names)
    less = rights + f'key "{world.names.model_state(MODEL)}" {{\n  policy = "read"\n}}\n'
    (row,) = [row for row in world.consul.told("GET", "/v1/acl/policies") if row["Name"] == name]
    path = f"/v1/acl/policy/{row['ID']}"
    world.consul.told("PUT", path, {"Name": name, "Rules": less})
    try:
        yield
    finally:
        world.consul.told("PUT", path, {"Name": name, "Rules": rights})


async def test_an_order_is_told_although_consul_takes_no_state(world: Guarded, job: None) -> None:
    nomad, consul = new_token(world)["SecretID"], world.consul_token("autoscaler")
    with without_the_right_to_publish(world):
        async with running(world, floor=2, nomad_token=nomad, consul_token=consul) as up:
            seen = await until(up.passed, lambda status: bool(status.done) or up.count() == 2)
            assert (seen.done, up.count()) == ("1 -> 2", 2)
            assert "; the routers were not told: Consul refused the request: Permission denied: " in seen.sentence
            assert "lacks permission 'key:write'" in seen.sentence
            assert (await up.passed()).sentence.startswith(f"{MODEL} is held: Consul refused the request: Permission denied: ")


async def test_nothing_is_scaled_in_of_which_the_routers_were_not_told(world: Guarded, job: None) -> None:
    nomad, consul = new_token(world)["SecretID"], world.consul_token("autoscaler")
    async with running(world, floor=2, nomad_token=nomad, consul_token=consul) as up:
        await until(up.passed, lambda status: status.done == "1 -> 2")
    async with running(world, floor=1, nomad_token=nomad, consul_token=consul) as down:
        with without_the_right_to_publish(world):
            await until(down.passed, lambda status: "is held: Consul refused" in status.sentence)
            after = down.said[-1].at + 2  # five times as long as routers are given to see who drains
            await until(down.passed, lambda status: status.at > after)
            assert down.count() == 2
            assert not any(status.done for status in down.said)
        await until(down.passed, lambda status: status.done == "2 -> 1")
        assert down.count() == 1
