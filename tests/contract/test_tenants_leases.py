"""Slices of tenants' limits and the real script in a real Redis: what may happen to workers, to Redis and to a budget meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fleet.names import REDIS_BUDGET_PREFIX, REDIS_ROUTER_PREFIX
from router.lending.lease import Lease
from router.lending.rows import Answer, Answers, Ask, Batch, Settle, Verdict, answers, pack
from router.lending.script import SCRIPT
from tests import servers
from tests.contract.test_tenants_redis import Router, World, connected
from tests.servers import RedisServer

pytestmark = pytest.mark.contract

BUDGET = 1_000_000


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with connected(redis_server.url) as made:
        yield made


def at_once(router: Router, ask: Ask) -> Verdict | None:
    """What is answered without waiting for Redis; None: nothing is."""
    heard: list[Verdict | None] = []
    is_waiting = True

    def told(verdict: Verdict | None) -> bool:
        heard.append(verdict)
        return is_waiting

    router.books.ask(ask, told)
    is_waiting = False
    return heard[0] if heard else None


async def live(router: Router, ask: Ask, *, cost: int = 0) -> None:
    """Asks until a request is granted out of a slice, and settles everything."""
    async with asyncio.timeout(60):
        while True:
            if (verdict := at_once(router, ask)) is not None:
                router.settle(ask, verdict, cost=cost)
                return
            for verdict in await asyncio.gather(*(router.ask(ask) for _ in range(4))):
                assert verdict is not None
                assert verdict.answer == Answer.GRANTED
                router.settle(ask, verdict, cost=cost)


async def dead(world: World, router: Router) -> None:
    """Killed, and two minutes later."""
    await router.die()
    await world.redis.delete(f"{REDIS_ROUTER_PREFIX}{router.own_id}")


# on the way of a request


async def test_a_request_whose_tenant_has_a_live_slice_does_not_wait_for_redis(world: World) -> None:
    router = await world.router()
    ask = Ask(world.tenant, "life", 10_000, 10**6, 10, BUDGET, 20)
    await live(router, ask, cost=20)
    granted = [verdict for _ in range(4) if (verdict := at_once(router, ask)) is not None]
    assert granted, "no await was between asking and being answered"
    assert all(verdict.answer == Answer.GRANTED for verdict in granted)
    assert sorted((v.requests_left for v in granted), reverse=True) == [v.requests_left for v in granted]


async def test_a_slice_that_nobody_uses_goes_back(world: World) -> None:
    router = await world.router()
    await live(router, world.money(20, BUDGET))
    assert (await world.purse())[1] > 0
    await world.until_purse(0, 0)


async def test_a_router_that_stops_gives_its_slice_back(world: World) -> None:
    router = await world.router()
    await live(router, world.money(20, BUDGET), cost=20)
    await router.die()
    await router.books.close()
    spent, held = await world.purse()
    assert spent > 0
    assert spent % 20 == 0
    assert held == 0


async def test_what_is_lent_to_others_is_fetched_back_before_anybody_is_refused(world: World) -> None:
    """A slice of the one worker is needed by another, for a request that only fits without it."""
    one, other = await world.router(), await world.router()
    await live(one, world.money(1000, BUDGET))
    held = (await world.purse())[1]
    assert held > 0
    verdict = await other.ask(world.money(BUDGET - held // 2, BUDGET))
    assert verdict is not None
    assert verdict.answer == Answer.GRANTED


async def test_while_a_budget_is_fought_over_its_last_request_is_served_by_whoever_asks(world: World) -> None:
    """Three workers with slices and many callers spend a budget to less than the price of one request."""
    routers = [await world.router() for _ in range(3)]
    cost, budget = 37, 40_000

    async def caller(number: int) -> int:
        router, ask, spent = routers[number % 3], world.money(cost, budget), 0
        while (verdict := await router.ask(ask)) is not None and verdict.answer == Answer.GRANTED:
            await asyncio.sleep(0)
            router.settle(ask, verdict, cost=cost)
            spent += cost
        return spent

    spent = sum(await asyncio.gather(*(caller(number) for number in range(24))))
    assert budget - cost < spent <= budget
    await world.until_purse(spent, 0)


# a worker that dies


async def test_what_a_killed_worker_had_counts_as_spent_and_no_more(world: World) -> None:
    dying, living = await world.router(), await world.router()
    ask = world.money(1000, BUDGET)
    await live(dying, ask, cost=100)
    under_way = [await dying.ask(ask) for _ in range(3)]
    assert all(verdict is not None for verdict in under_way)
    spent, held = await world.purse()
    assert held >= 3 * 1000
    await dead(world, dying)
    left = BUDGET - spent - held
    assert (await living.ask(world.money(left + 1, BUDGET))) is not None
    assert await world.purse() == (spent + held, 0), "its requests at their bounds, and its slice"
    granted = await living.ask(world.money(left, BUDGET))
    assert granted is not None
    assert granted.answer == Answer.GRANTED, "all the rest is there for others"


async def test_a_worker_that_was_idle_when_it_was_killed_costs_nothing(world: World) -> None:
    dying, living = await world.router(), await world.router()
    await live(dying, world.money(1000, BUDGET))
    await world.until_purse(0, 0)
    await dead(world, dying)
    granted = await living.ask(world.money(BUDGET, BUDGET))
    assert granted is not None
    assert granted.answer == Answer.GRANTED


# Redis


async def test_while_redis_is_away_a_slice_is_used_up_and_then_nobody_knows() -> None:
    with servers.redis() as server:
        async with connected(server.url) as world:
            router = await world.router(wait_s=2.0)
            ask = world.money(1000, BUDGET)
            await live(router, ask, cost=1000)
            held = (await world.purse())[1]
            server.stop()
            granted = 0
            while (verdict := await router.ask(ask)) is not None:
                granted += 1
                router.settle(ask, verdict, cost=1000)
            assert 0 < granted * 1000 <= held, "only what Redis had set aside"
            server.start()


async def test_a_redis_that_forgot_everything_is_told_what_is_under_way() -> None:
    with servers.redis() as server:
        async with connected(server.url) as world:
            router = await world.router()
            ask = world.money(1000, BUDGET)
            while (verdict := await router.ask(ask)) is None:  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.05)
            again = await router.ask(ask)
            assert again is not None
            await world.redis.flushall()
            router.settle(ask, again, cost=400)
            await world.until_purse(400, 1000)
            router.settle(ask, verdict, cost=300)
            await world.until_purse(700, 0)


async def test_a_slice_of_before_redis_forgot_is_set_aside_again(world: World) -> None:
    with servers.redis() as server:
        async with connected(server.url) as own:
            router, other = await own.router(), await own.router()
            ask = own.money(1000, BUDGET)
            while await router.ask(own.money(1, BUDGET)) is None:  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.05)
            await live(router, ask, cost=1000)
            await own.redis.flushall()
            async with asyncio.timeout(60):
                while sum(await own.purse()) == 0:
                    verdict = await router.ask(ask)
                    assert verdict is not None
                    router.settle(ask, verdict, cost=1000)
                    await asyncio.sleep(0.01)
            refused = await other.ask(own.money(BUDGET + 1, BUDGET))
            assert refused is not None
            assert refused.answer == Answer.BUDGET


# another description


async def test_a_budget_that_is_lowered_holds_from_the_next_request_on(world: World) -> None:
    router = await world.router()
    await live(router, world.money(1000, BUDGET), cost=1000)
    refused = await router.ask(world.money(1000, 500))
    assert refused is not None
    assert refused.answer == Answer.BUDGET, "there is a slice, but it was lent of another budget"
    granted = await router.ask(world.money(1000, 2 * BUDGET))
    assert granted is not None
    assert granted.answer == Answer.GRANTED


# the minute


async def test_slices_of_many_callers_never_exceed_a_minute(world: World) -> None:
    routers, limit = [await world.router() for _ in range(3)], 2000
    granted = 0

    async def caller(number: int) -> None:
        nonlocal granted
        router, ask = routers[number % 3], world.rate(requests=limit, tokens_limit=10**6, tokens=5)
        while (verdict := await router.ask(ask)) is not None and verdict.answer == Answer.GRANTED:
            granted += 1
            router.settle(ask, verdict, tokens=3)

    async with asyncio.timeout(55):
        await asyncio.gather(*(caller(number) for number in range(24)))
    assert limit * 7 / 8 <= granted <= limit


# the arithmetic


@dataclass
class Worker:
    """A worker's slice and its batches, without a clock: every batch is sent when a rule says so."""

    redis: redis.Redis
    tenant: str
    own_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    number: int = 0
    under_way: list[tuple[Ask, Verdict]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lease = Lease(self.tenant, "life")

    def batch(self, ask: Ask | None = None, *, times: int = 1) -> Verdict | None:
        """`times`: as often as it is sent, because its answer was lost."""
        self.number += 1
        packed = pack(Batch(self.number, [self.lease.tell(0.0, ask)], [ask] if ask is not None else []))
        found: Answers | None = None
        for _ in range(times):
            found = answers(self.redis.eval(SCRIPT, 0, self.own_id, 120_000, packed))  # type: ignore[arg-type]
        assert found is not None
        verdict = found.verdicts[0] if ask is not None else None
        if ask is not None and verdict is not None and verdict.answer == Answer.GRANTED:
            self.lease.hold(ask)
        self.lease.hear(found.lents[0], 0.0)
        return verdict

    def ask(self, ask: Ask, times: int) -> bool:
        self.lease.demand.requests += 3
        self.lease.demand.money += 3 * ask.cost
        verdict = self.lease.verdict() if self.lease.take(ask, 0.0) else self.batch(ask, times=times)
        if verdict is None or verdict.answer != Answer.GRANTED:
            return False
        self.under_way.append((ask, verdict))
        return True


class Budget(RuleBasedStateMachine):
    """Workers spend a budget, settle, speak with Redis, fall silent and die in any order."""

    client: redis.Redis

    @initialize(budget=st.integers(0, 3000))
    def begin(self, budget: int) -> None:
        self.tenant = f"t-{uuid.uuid4().hex}"
        self.budget = budget
        self.workers = [Worker(self.client, self.tenant) for _ in range(3)]
        self.spent = self.lost = 0  # what answers cost; what the dead had promised

    @property
    def true(self) -> int:
        """What has been used, and what may still be used by requests that were let in."""
        return self.spent + self.lost + sum(ask.cost for worker in self.workers for ask, _ in worker.under_way)

    @rule(at=st.integers(0, 2), cost=st.integers(1, 400), times=st.integers(1, 2))
    def ask(self, at: int, cost: int, times: int) -> None:
        if self.workers[at].ask(Ask(self.tenant, "life", 0, 0, 0, self.budget, cost), times):
            assert self.true <= self.budget

    @rule(at=st.integers(0, 2), part=st.floats(0, 1))
    def settle(self, at: int, part: float) -> None:
        worker = self.workers[at]
        if worker.under_way:
            ask, verdict = worker.under_way.pop(0)
            cost = round(ask.cost * part)
            worker.lease.settle(Settle(self.tenant, "life", verdict.slot, 0, 0, ask.cost, cost))
            self.spent += cost

    @rule(at=st.integers(0, 2), times=st.integers(1, 2))
    def speak(self, at: int, times: int) -> None:
        self.workers[at].batch(times=times)

    @rule(at=st.integers(0, 2))
    def tick(self, at: int) -> None:
        self.workers[at].lease.demand.turn()

    @rule(at=st.integers(0, 2))
    def seem_dead(self, at: int) -> None:
        self.client.delete(f"{REDIS_ROUTER_PREFIX}{self.workers[at].own_id}")

    @rule(at=st.integers(0, 2))
    def die(self, at: int) -> None:
        dying, self.workers[at] = self.workers[at], Worker(self.client, self.tenant)
        self.client.delete(f"{REDIS_ROUTER_PREFIX}{dying.own_id}")
        self.lost += sum(ask.cost for ask, _ in dying.under_way)

    @rule(budget=st.integers(0, 3000))
    def change_the_budget(self, budget: int) -> None:
        self.budget = budget

    @invariant()
    def redis_never_believes_that_less_is_used(self) -> None:
        if hasattr(self, "tenant"):
            spent, held = self.purse()
            assert spent + held >= self.true
            assert held >= 0

    def purse(self) -> tuple[int, int]:
        values = self.client.hmget(f"{REDIS_BUDGET_PREFIX}{self.tenant}:life", "spent", "held")
        return int(values[0] or 0), int(values[1] or 0)  # type: ignore[index]

    def teardown(self) -> None:
        """In the end nothing is held by anybody, and only the dead have cost more than was used."""
        if not hasattr(self, "tenant"):
            return
        for worker in self.workers:
            for ask, verdict in worker.under_way:
                worker.lease.settle(Settle(self.tenant, "life", verdict.slot, 0, 0, ask.cost, 0))
            worker.under_way.clear()
            worker.lease.demand.forget()
            worker.batch()
        asker = Worker(self.client, self.tenant)
        asker.batch(Ask(self.tenant, "life", 0, 0, 0, 0, 1))  # refused, after the dead were counted
        spent, held = self.purse()
        assert held == 0
        assert spent >= self.spent + self.lost


def test_whatever_happens_to_workers_a_budget_is_never_overspent(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        machine = type("OfThisRedis", (Budget,), {"client": client})
        run_state_machine_as_test(
            machine,
            settings=settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)),
        )
