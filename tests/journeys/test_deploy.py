"""Delivery on real Nomad, Consul and engines, with callers of a real router who must not notice.

A stack of its own, with the autoscaler in shadow mode, so that only the deploy changes counts. The tests build on each other's versions
but not on their order: each one deploys something that is new.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.deploy.nomad import Delivery
from fleet.local import stack
from fleet.local.tools import CHECKOUT
from tests import servers
from tests.journeys.fleet import Fleet, until
from tests.journeys.load import Load

pytestmark = pytest.mark.journey

SETTINGS = ("autoscaler.shadow=true", "router.drain=60s")  # an answer takes its time where everything starts at once
SET = tuple(word for setting in SETTINGS for word in ("-var", setting))
JOB = "warmfleet-small-model"
BRIEFLY: Any = {"max_tokens": 12, "pause_s": 0.6}  # so that engines leave time for what is deployed
_contexts = itertools.count(1024, 128)


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with servers.state_folder() as state:  # the stack's own folder, so that a killed run is swept by its name
        yield Fleet(state, stack.up(state, usual_ports=False, variables=SETTINGS))
        stack.down(state)


@pytest.fixture
def nomad(fleet: Fleet) -> Delivery:
    return Delivery(fleet.record.address("nomad"))


async def run(fleet: Fleet, command: str, *args: str) -> Said:
    """`warmfleet COMMAND`, as a person calls it."""
    argv = ["-c", "from fleet.cli import main; main()", command, "--state", str(fleet.state), *SET, *args]
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=CHECKOUT, stdout=-1, stderr=-1)
    out, err = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


def new_version() -> str:
    """A setting that no version had before."""
    return f"model.small-model.context={next(_contexts)}"


async def at(fleet: Fleet, nomad: Delivery, count: int) -> frozenset[str]:
    """The replicas of small-model once `count` of them serve, and nothing else is under way."""
    info = nomad.job(JOB)
    assert info is not None
    if sum(info.counts.values()) != count:
        assert (await run(fleet, "scale", "small-model", str(count))).code == 0
    live = lambda: [a for a in nomad.allocations(JOB) if a.client_status == "running"]  # noqa: E731
    await until(lambda: len(live()) == count == fleet.ready("small-model"), f"{count} replicas serve")
    await until(lambda: not nomad.deployment_active(JOB), "no deployment is under way")
    return fleet.live_allocations("small-model")


def publish(fleet: Fleet) -> None:
    """A description such as `warmfleet reload` publishes; routers refuse this one, so nothing else changes."""
    requests.put(f"{fleet.record.address('consul')}/v1/kv/{fleet.names.spec}", data=b"{}", timeout=10).raise_for_status()


def is_published(fleet: Fleet) -> bool:
    return requests.get(f"{fleet.record.address('consul')}/v1/kv/{fleet.names.spec}", timeout=10).status_code == 200


async def test_after_the_start_there_is_nothing_to_change(fleet: Fleet) -> None:
    said = await run(fleet, "plan")
    assert (said.code, said.err) == (0, "")
    assert said.out.count(": nothing to change\n") == 5


async def test_a_new_version_takes_over_warm_and_a_rollback_too_and_no_caller_notices(fleet: Fleet, nomad: Delivery) -> None:
    old, change = await at(fleet, nomad, 2), new_version()
    before = nomad.versions(JOB)[0]
    async with Load(fleet.router, model="small-model", callers=2, **BRIEFLY) as load:
        await until(lambda: load.total >= 4, "callers are answered")
        deployed = await run(fleet, "deploy", "small-model", "-var", change)
        assert deployed.code == 0, deployed
        new = await at(fleet, nomad, 2)
        asked = load.total
        await until(lambda: load.total >= asked + 6, "callers are answered by the new ones")
        assert not old & new
        back = await run(fleet, "rollback", "small-model", before.source)  # the tag that the deployment has left on it
        assert back.code == 0, back
        last = await at(fleet, nomad, 2)
        asked = load.total
        await until(lambda: load.total >= asked + 4, "callers are answered after the rollback")
    assert load.failures == []
    assert not last & (old | new)
    assert nomad.versions(JOB)[0].source == before.source
    assert "starting 2 new beside those that serve" in deployed.out


async def test_a_change_of_the_description_rolls_router_and_autoscaler_and_no_model(fleet: Fleet, nomad: Delivery) -> None:
    models = await at(fleet, nomad, 1)
    routers = fleet.live_allocations("router")
    publish(fleet)
    async with Load(fleet.router, model="small-model", callers=2, **BRIEFLY) as load:
        await until(lambda: load.total >= 2, "callers are answered")
        said = await run(fleet, "deploy", "-var", "autoscaler.cooldown_up=7s")
        asked = load.total
        await until(lambda: load.total >= asked + 2, "callers are answered by the new router")
    assert said.code == 0, said
    assert "router: version" in said.out and "autoscaler: version" in said.out, said  # redis may still be under way too
    assert "the description that `warmfleet reload` published is withdrawn" in said.out
    assert not is_published(fleet)
    assert load.failures == []
    assert not routers & fleet.live_allocations("router")
    assert fleet.live_allocations("small-model") == models


async def test_a_version_that_does_not_start_changes_nothing_and_says_why(fleet: Fleet, nomad: Delivery) -> None:
    old = await at(fleet, nomad, 1)
    before = nomad.versions(JOB)[0]
    async with Load(fleet.router, model="small-model", callers=2, **BRIEFLY) as load:
        await until(lambda: load.total >= 2, "callers are answered")
        said = await run(fleet, "deploy", "small-model", "-var", 'model.small-model.args=["--no-such-option"]')
        asked = load.total
        await until(lambda: load.total >= asked + 2, "callers are still answered")
    assert load.failures == []
    assert said.code == 1
    assert "No such option '--no-such-option'" in said.out
    assert "what ran before serves" in said.err
    assert await at(fleet, nomad, 1) == old
    assert nomad.versions(JOB)[0].source == before.source
    assert (await run(fleet, "scale", "small-model", "2")).code == 0  # and scaling does not bring the broken version back
    assert old < await at(fleet, nomad, 2)


async def test_one_by_one_keeps_the_floor_and_leaves_nothing_behind_that_scaling_would_wait_for(fleet: Fleet, nomad: Delivery) -> None:
    old = await at(fleet, nomad, 2)
    change = new_version()
    fewest = 2
    async with Load(fleet.router, model="small-model", callers=2, **BRIEFLY) as load:
        await until(lambda: load.total >= 2, "callers are answered")
        rolling = asyncio.create_task(run(fleet, "deploy", "small-model", "--rolling", "-var", change))
        while not rolling.done():
            fewest = min(fewest, await asyncio.to_thread(fleet.ready, "small-model"))
            await asyncio.wait([rolling], timeout=0.1)
    assert rolling.result().code == 0, rolling.result()
    assert load.failures == []
    assert fewest == 1
    assert not old & await at(fleet, nomad, 2)
    assert (await run(fleet, "plan", "small-model", "-var", change)).code == 0
    await at(fleet, nomad, 1)


async def test_without_room_nothing_is_touched_and_the_way_out_is_named(fleet: Fleet, nomad: Delivery) -> None:
    await at(fleet, nomad, 1)
    before = nomad.job(JOB)
    said = await run(fleet, "deploy", "redis", "small-model", "-var", "redis.cpu=60", "-var", "model.small-model.memory=9000GiB")
    assert said.code == 2
    assert "no room for the new version beside the old one (resource 'memory' is exhausted on 1 node(s)" in said.err
    assert "--rolling" in said.err
    assert nomad.job(JOB) == before
    assert (await run(fleet, "plan", "redis")).code == 0


async def test_a_deploy_refuses_what_was_changed_since_it_was_planned(fleet: Fleet, nomad: Delivery) -> None:
    await at(fleet, nomad, 1)
    index = nomad.job(JOB).modify_index  # type: ignore[union-attr]
    await at(fleet, nomad, 2)
    said = await run(fleet, "deploy", "small-model", "--check-index", str(index), "-var", new_version())
    assert said.code == 1
    assert "was changed since it was planned" in said.err
    await at(fleet, nomad, 1)


async def test_counts_that_run_are_kept_unless_told_otherwise_and_a_dry_run_touches_nothing(fleet: Fleet, nomad: Delivery) -> None:
    await at(fleet, nomad, 2)
    before, change = nomad.job(JOB), ("-var", new_version())
    kept = await run(fleet, "plan", "small-model", *change)
    forced = await run(fleet, "deploy", "small-model", "--dry-run", "--force-count", *change)
    assert (kept.code, "keeps the 2 replica(s) that run" in kept.out) == (1, True), kept
    assert (forced.code, "count changes: 2 run, 1 will" in forced.out) == (0, True), forced
    assert forced.out.endswith("nothing was changed\n")
    assert before and f"check index: {before.modify_index}\n" in kept.out
    assert nomad.job(JOB) == before
    await at(fleet, nomad, 1)


async def test_a_mistake_in_one_job_keeps_all_of_them_from_being_touched(fleet: Fleet, nomad: Delivery, tmp_path: Path) -> None:
    for template in (CHECKOUT / "templates").iterdir():
        (tmp_path / template.name).write_bytes(template.read_bytes())
    broken = tmp_path / "router.nomad.hcl.j2"
    broken.write_text(broken.read_text().replace("spec.router.count", "spec.router.counts"))
    before = [nomad.job(job.job_id) for job in nomad.jobs("warmfleet-")]
    said = await run(fleet, "deploy", "--templates", str(tmp_path), "-var", new_version())
    assert said.code == 1
    assert "router.nomad.hcl.j2: cannot be rendered" in said.err
    assert [nomad.job(job.job_id) for job in nomad.jobs("warmfleet-")] == before
