"""Who leads, and what only a leader can do, against a real Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from autoscaler.lease import TTL_S, ConsulLease, Standing
from autoscaler.memories import ConsulMemories
from autoscaler.pause import ConsulPauses, told
from autoscaler.states import ConsulStates
from fleet.consul import Consul
from fleet.errors import Conflict, Refused
from fleet.names import Names
from fleet.state import Leader, ModelState, decode_leader
from tests import servers
from tests.contract.autoscaler_world import MODEL, own_names

pytestmark = pytest.mark.contract


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def consul(consul_server: servers.ConsulServer) -> AsyncIterator[Consul]:
    client = Consul(consul_server.address)
    yield client
    await client.close()


@pytest.fixture
def names() -> Names:
    return own_names()


def lease_of(name: str, consul: Consul, names: Names, clock: Clock) -> ConsulLease:
    return ConsulLease(consul, names.leader, Leader(name=name, url=f"http://{name}", since=0.0), clock, clock)


async def led_by_one(consul: Consul, names: Names, clock: Clock) -> tuple[ConsulLease, ConsulLease]:
    one, other = lease_of("one", consul, names, clock), lease_of("other", consul, names, clock)
    await one.step()
    await other.step()
    return one, other


async def test_one_leads_and_the_other_says_who(consul: Consul, names: Names) -> None:
    one, other = await led_by_one(consul, names, Clock())
    assert one.standing() == Standing(1, "")
    assert other.standing() == Standing(0, "stands by: one leads")
    assert (await one.confirm(), await other.confirm()) == (True, False)
    assert decode_leader((await consul.holder(names.leader))[1]) == Leader(name="one", url="http://one", since=1000.0)


async def test_the_lead_that_is_given_back_is_taken_at_once(consul: Consul, names: Names) -> None:
    one, other = await led_by_one(consul, names, Clock())
    stop = asyncio.Event()
    stop.set()
    await one.run(stop)
    await other.step()
    assert (one.standing().leads, other.standing()) == (False, Standing(1, ""))


async def test_a_leader_that_hears_nothing_stops_by_its_own_clock(consul: Consul, names: Names) -> None:
    clock, said = Clock(), []
    lease = lease_of("one", consul, names, clock)
    lease.changed = said.append
    await lease.step()
    clock.now += TTL_S - 0.1
    assert lease.standing().leads
    clock.now += 0.1
    assert "Consul has not answered for 10 s" in lease.standing().hands_off
    assert not await lease.confirm()
    await lease.step()  # Consul is back, and the lock was nobody else's
    assert lease.standing() == Standing(2, "")
    assert [standing.leads for standing in said] == [True, False, True]


async def test_a_leader_whose_session_was_ended_finds_out_before_it_acts(consul: Consul, names: Names) -> None:
    one, other = await led_by_one(consul, names, Clock())
    await consul.close_session(one.fence().session)
    assert one.standing().leads  # it cannot know yet
    assert not await one.confirm()
    assert not one.standing().leads
    await one.step()  # a new session; the lock rests for its delay, so nobody has it
    assert "the lock is not free yet" in one.standing().hands_off
    assert not other.standing().leads


async def test_who_no_longer_leads_writes_nothing(consul: Consul, names: Names) -> None:
    """Not even what it read the index of while it led: the check is part of the write."""
    one, _ = await led_by_one(consul, names, Clock())
    states, memories = ConsulStates(consul, names, one.fence), ConsulMemories(consul, names, one.fence)
    before = ModelState(model=MODEL, desired=1, placed=1, ready=1, cold_start_p50_s=9.0, cold_start_p90_s=9.0, updated_at=1.0)
    await states.publish(before)
    await memories.write("part", b"before")
    await consul.close_session(one.fence().session)
    for write in (states.publish(ModelState(**{**_fields(before), "desired": 2})), memories.write("part", b"after")):
        with pytest.raises(Conflict, match="another autoscaler leads"):
            await write
    assert await states.read(MODEL) == before
    assert await memories.read("part") == b"before"


def _fields(state: ModelState) -> dict[str, object]:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


@pytest.mark.parametrize("size", [0, 1, 128 * 1024, 128 * 1024 + 1, 400_000])
async def test_what_is_remembered_comes_back_whatever_its_size(consul: Consul, names: Names, size: int) -> None:
    one, _ = await led_by_one(consul, names, Clock())
    memories = ConsulMemories(consul, names, one.fence)
    assert await memories.read("weeks") is None
    for fill in (b"a", b"b", b"c"):
        await memories.write("weeks", fill * size)
        assert await memories.read("weeks") == fill * size


async def test_a_write_that_broke_off_leaves_the_old_value(consul: Consul, names: Names) -> None:
    one, _ = await led_by_one(consul, names, Clock())
    memories = ConsulMemories(consul, names, one.fence)
    for value in (b"first", b"old"):
        await memories.write("weeks", value)
    slot = f"{names.memory('weeks')}/0/0"  # the next one to be written: the second value went to slot 1
    _, index = await consul.document(slot)
    assert await consul.put(slot, b"half of the n", index=index)
    assert await memories.read("weeks") == b"old"


async def test_pieces_that_do_not_fit_their_head_are_nothing(consul: Consul, names: Names) -> None:
    one, _ = await led_by_one(consul, names, Clock())
    memories = ConsulMemories(consul, names, one.fence)
    await memories.write("weeks", b"value")
    slot = f"{names.memory('weeks')}/0/0"
    await consul.put(slot, b"something else", index=(await consul.document(slot))[1])
    assert await memories.read("weeks") is None


async def test_a_head_that_cannot_be_is_nothing_and_is_replaced(consul: Consul, names: Names) -> None:
    one, _ = await led_by_one(consul, names, Clock())
    memories = ConsulMemories(consul, names, one.fence)
    await consul.put(names.memory("weeks"), b'{"slot": 1, "pieces": 1000000000000, "digest": ""}', index=0)
    assert await memories.read("weeks") is None
    await memories.write("weeks", b"value")
    assert await memories.read("weeks") == b"value"


async def test_a_pause_is_a_key_and_says_who_and_why(consul: Consul, names: Names) -> None:
    pauses = ConsulPauses(consul, names.pause)
    assert await pauses.read() is None
    await consul.put(names.pause, b"the GPUs are moved", index=0)
    pause = await pauses.read()
    assert pause is not None
    assert told(pause) == "paused by somebody: the GPUs are moved; `warmfleet resume` ends it"
    await consul.delete(names.pause)
    assert await pauses.read() is None


async def test_a_value_too_large_for_consul_is_refused_and_not_taken_for_a_lost_check(consul: Consul, names: Names) -> None:
    one, _ = await led_by_one(consul, names, Clock())
    with pytest.raises(Refused, match="too large"):
        await consul.put(f"{names.memory('x')}", b"x" * 600_000, index=0, fence=one.fence())
