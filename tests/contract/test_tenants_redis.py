"""Tenants' limits and budgets in a real Redis."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import redis.asyncio

from fleet.names import REDIS_BUDGET_PREFIX, REDIS_LIMITS_PREFIX, REDIS_ROUTER_PREFIX
from router.lending.books import RedisBooks
from router.lending.rows import UNLIMITED, Answer, Ask, Settle, Verdict
from router.sessions.redis import client_of
from tests import servers
from tests.servers import RedisServer

pytestmark = pytest.mark.contract


@dataclass
class Router:
    """The books of one router process, as its requests use them."""

    books: RedisBooks
    own_id: str
    task: asyncio.Task[None] | None = None
    late: list[Verdict] = field(default_factory=list)

    async def ask(self, ask: Ask) -> Verdict | None:
        answer: asyncio.Future[Verdict | None] = asyncio.get_running_loop().create_future()

        def told(verdict: Verdict | None) -> bool:
            answer.set_result(verdict)
            return True

        self.books.ask(ask, told)
        async with asyncio.timeout(60):
            return await answer

    def settle(self, ask: Ask, verdict: Verdict, *, tokens: int = 0, cost: int = 0) -> None:
        self.books.settle(Settle(ask.tenant, ask.period, verdict.slot, ask.tokens, tokens, ask.cost, cost))

    async def die(self) -> None:
        """As by SIGKILL: nothing is settled."""
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@dataclass
class World:
    redis: redis.asyncio.Redis
    stack: AsyncExitStack
    tenant: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:12]}")

    async def router(self, *, life_s: float = 120.0, wait_s: float = 30.0) -> Router:
        own_id = uuid.uuid4().hex
        router = Router(RedisBooks(lambda: self.redis, time.monotonic, own_id, life_s=life_s, wait_s=wait_s), own_id)
        router.task = asyncio.create_task(router.books.serve_forever())
        self.stack.push_async_callback(router.die)
        return router

    def money(self, cost: int, budget: int = 1000, period: str = "life") -> Ask:
        return Ask(self.tenant, period, 0, 0, 0, budget, cost)

    def rate(self, requests: int = 0, tokens_limit: int = 0, tokens: int = 0) -> Ask:
        return Ask(self.tenant, "life", requests, tokens_limit, tokens, UNLIMITED, 0)

    async def purse(self, period: str = "life") -> tuple[int, int]:
        """(spent, held)"""
        values = await self.redis.hmget(f"{REDIS_BUDGET_PREFIX}{self.tenant}:{period}", "spent", "held")
        return int(values[0] or 0), int(values[1] or 0)

    async def until_purse(self, spent: int, held: int) -> None:
        async with asyncio.timeout(60):
            while await self.purse() != (spent, held):  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(client_of(url))
        yield World(client, stack)


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with connected(redis_server.url) as made:
        yield made


async def test_what_is_set_aside_and_what_is_spent_count_against_the_budget(world: World) -> None:
    router = await world.router()
    ask = world.money(400)
    first = await router.ask(ask)
    assert first is not None
    assert (first.answer, first.money_left) == (Answer.GRANTED, 600)
    second = await router.ask(ask)
    assert second is not None
    assert second.money_left == 200
    refused = await router.ask(ask)
    assert refused is not None
    assert (refused.answer, refused.money_left) == (Answer.BUDGET, 200)
    router.settle(ask, first, cost=150)
    await world.until_purse(150, 400)
    third = await router.ask(ask)
    assert third is not None
    assert third.answer == Answer.GRANTED, "150 are spent and 400 set aside, so 400 fit into 1000"


async def test_two_routers_and_many_callers_spend_a_budget_and_not_more(world: World) -> None:
    routers = [await world.router(), await world.router()]
    budget, cost = 10_000, 70

    async def caller(number: int) -> int:
        router, ask, spent = routers[number % 2], world.money(cost, budget), 0
        while (verdict := await router.ask(ask)) is not None and verdict.answer == Answer.GRANTED:
            await asyncio.sleep(0)
            router.settle(ask, verdict, cost=cost)
            spent += cost
        return spent

    spent = sum(await asyncio.gather(*(caller(number) for number in range(64))))
    await world.until_purse(spent, 0)
    assert budget - cost < spent <= budget, "callers stop when one more would not fit"


async def test_what_an_answer_did_not_use_is_given_back(world: World) -> None:
    router = await world.router()
    ask = world.money(900)
    for _ in range(5):
        verdict = await router.ask(ask)
        assert verdict is not None
        assert verdict.answer == Answer.GRANTED
        router.settle(ask, verdict, cost=20)
    await world.until_purse(100, 0)


async def test_a_budget_of_a_day_is_another_ones_the_next_day(world: World) -> None:
    router = await world.router()
    today, tomorrow = world.money(1000, period="2026-11-21"), world.money(1000, period="2026-11-22")
    verdict = await router.ask(today)
    assert verdict is not None
    router.settle(today, verdict, cost=1000)
    again, next_day = await router.ask(today), await router.ask(tomorrow)
    assert again is not None
    assert next_day is not None
    assert (again.answer, next_day.answer) == (Answer.BUDGET, Answer.GRANTED)
    assert await world.redis.ttl(f"{REDIS_BUDGET_PREFIX}{world.tenant}:2026-11-21") > 31 * 86400, "a month's budget outlives its month"


async def test_what_a_dead_router_had_set_aside_counts_as_spent(world: World) -> None:
    """Nobody knows what became of it, and a budget is not overspent."""
    dying, living = await world.router(), await world.router()
    assert await dying.ask(world.money(700)) is not None
    await dying.die()
    assert 0 < await world.redis.pttl(f"{REDIS_ROUTER_PREFIX}{dying.own_id}") <= 120_000
    refused = await living.ask(world.money(900))
    assert refused is not None
    assert refused.answer == Answer.BUDGET
    assert await world.purse() == (0, 700), "it may live"
    await world.redis.delete(f"{REDIS_ROUTER_PREFIX}{dying.own_id}")  # two minutes later
    assert (await living.ask(world.money(900))) is not None
    assert await world.purse() == (700, 0)
    granted = await living.ask(world.money(300))
    assert granted is not None
    assert granted.answer == Answer.GRANTED


async def test_a_router_that_was_taken_for_dead_and_comes_back_spends_nothing_twice(world: World) -> None:
    silent, living = await world.router(), await world.router()
    ask = world.money(700)
    verdict = await silent.ask(ask)
    assert verdict is not None
    await world.redis.delete(f"{REDIS_ROUTER_PREFIX}{silent.own_id}")
    assert (await living.ask(world.money(900))) is not None
    assert await world.purse() == (700, 0)
    silent.settle(ask, verdict, cost=60)
    await world.until_purse(60, 0)


async def test_a_router_that_only_waits_for_a_long_answer_stays_alive(world: World) -> None:
    router = await world.router(life_s=6.0)
    ask = world.money(900)
    verdict = await router.ask(ask)
    assert verdict is not None
    key = f"{REDIS_ROUTER_PREFIX}{router.own_id}"
    before = await world.redis.pttl(key)
    async with asyncio.timeout(60):
        while (now := await world.redis.pttl(key)) <= before:
            before = now
            await asyncio.sleep(0.05)
    router.settle(ask, verdict, cost=10)
    await world.until_purse(10, 0)


async def test_a_minute_has_no_more_requests_than_its_limit(world: World) -> None:
    routers = [await world.router(), await world.router()]
    verdicts = await asyncio.gather(*(routers[n % 2].ask(world.rate(requests=20)) for n in range(100)))
    granted = [v for v in verdicts if v is not None and v.answer == Answer.GRANTED]
    refused = [v for v in verdicts if v is not None and v.answer == Answer.REQUESTS]
    assert (len(granted), len(refused)) == (20, 80)
    assert sorted(v.requests_left for v in granted) == list(range(20))
    assert all(30_000 < v.wait_ms <= 65_000 for v in refused), "the oldest slot of 5 s leaves when all of it is a minute old"


async def test_tokens_are_put_right_when_they_have_been_counted(world: World) -> None:
    router = await world.router()
    ask = world.rate(tokens_limit=1000, tokens=600)
    first, second = await router.ask(ask), await router.ask(ask)
    assert first is not None
    assert second is not None
    assert (first.answer, second.answer) == (Answer.GRANTED, Answer.TOKENS)
    assert 30_000 < second.wait_ms <= 65_000
    router.settle(ask, first, tokens=100)
    third = await router.ask(ask)
    assert third is not None
    assert (third.answer, third.tokens_left) == (Answer.GRANTED, 300)
    router.settle(ask, third, tokens=900)
    last = await router.ask(world.rate(tokens_limit=1000, tokens=1))
    assert last is not None
    assert last.answer == Answer.TOKENS, "an answer that was longer than thought counts whole"


async def test_the_minute_moves_on(world: World) -> None:
    """Slots of the past, as if the clock had gone on: those that are a minute old no longer count."""
    router = await world.router()
    verdict = await router.ask(world.rate(requests=10))
    assert verdict is not None
    key, slot = f"{REDIS_LIMITS_PREFIX}{world.tenant}", verdict.slot
    await world.redis.delete(key)
    past = {f"n{slot - 14}": 50, f"n{slot - 13}": 4, f"n{slot - 8}": 3, "n": 7}
    await world.redis.hset(key, mapping=past | {"oldest": slot - 13})
    after = await router.ask(world.rate(requests=10))
    assert after is not None
    assert after.requests_left == 10 - 3 - 1, "four are older than a minute, three are not"
    await world.redis.hset(key, mapping={"oldest": slot - 500, "n": 10, f"n{slot - 500}": 10})
    much_later = await router.ask(world.rate(requests=10))
    assert much_later is not None
    assert much_later.requests_left == 9


async def test_who_is_refused_for_money_uses_up_no_request(world: World) -> None:
    router = await world.router()
    both = Ask(world.tenant, "life", 10, 1000, 100, 50, 60)
    refused = await router.ask(both)
    fits = await router.ask(both._replace(cost=40))
    assert refused is not None
    assert fits is not None
    assert (refused.answer, fits.answer) == (Answer.BUDGET, Answer.GRANTED)
    assert (fits.requests_left, fits.tokens_left, fits.money_left) == (9, 900, 10)


@pytest.mark.parametrize("nonsense", ["abc", "0.5", "1e400", "nan", "-7", "9" * 30])
async def test_nonsense_in_a_sum_is_survived(world: World, nonsense: str) -> None:
    router = await world.router()
    key = f"{REDIS_BUDGET_PREFIX}{world.tenant}:life"
    await world.redis.hset(key, mapping={"spent": nonsense, "held": nonsense})
    verdict = await router.ask(world.money(100))
    assert verdict is not None
    router.settle(world.money(100), verdict, cost=10)
    await world.redis.delete(key)
    again = await router.ask(world.money(100))
    assert again is not None
    assert again.answer == Answer.GRANTED


async def test_a_tenant_whose_key_is_something_else_harms_nobody_else(world: World) -> None:
    router, other = await world.router(), f"t-{uuid.uuid4().hex[:12]}"
    await world.redis.set(f"{REDIS_BUDGET_PREFIX}{world.tenant}:life", "not a hash")
    broken, fine = await asyncio.gather(router.ask(world.money(100)), router.ask(world.money(100)._replace(tenant=other)))
    assert broken is not None
    assert fine is not None
    assert (broken.answer, fine.answer) == (Answer.BROKEN, Answer.GRANTED)


async def test_a_grant_that_nobody_waits_for_is_given_back(world: World) -> None:
    router = await world.router()
    router.books.ask(world.money(900), lambda _verdict: False)
    async with asyncio.timeout(60):
        while (verdict := await router.ask(world.money(900))) is not None and verdict.answer != Answer.GRANTED:  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.005)
    assert await world.purse() == (0, 900)


async def test_a_redis_that_went_away_is_asked_again_and_nothing_is_counted_twice() -> None:
    """The batch is done, but its answer is lost: the same batch again must change nothing."""
    with servers.redis() as server:
        async with connected(server.url) as world, _cutting(server.url) as cutter:
            router = Router(RedisBooks(lambda: cutter.client, time.monotonic, "cut"), "cut")
            router.task = asyncio.create_task(router.books.serve_forever())
            world.stack.push_async_callback(router.die)
            ask = world.money(100)
            while (first := await router.ask(ask)) is None:  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.05)
            await world.until_purse(0, 100)
            cutter.swallows = True
            router.settle(ask, first, cost=100)
            assert await router.ask(ask) is None, "no answer in time"
            await world.until_purse(100, 100)
            cutter.swallows = False
            await world.until_purse(100, 0)
            async with asyncio.timeout(60):
                while (again := await router.ask(ask)) is None:  # noqa: ASYNC110 - a poll with a deadline
                    await asyncio.sleep(0.02)
            assert again.answer == Answer.GRANTED
            assert await world.purse() == (100, 100)


@dataclass
class _Cutter:
    """Between a router and Redis: while it `swallows`, questions reach Redis and answers are lost."""

    client: redis.asyncio.Redis
    swallows: bool = False


@asynccontextmanager
async def _cutting(url: str) -> AsyncIterator[_Cutter]:
    port = int(url.rsplit(":", 1)[1].partition("/")[0])
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        try:
            while data := await reader.read(65536):
                if not (back and cutter.swallows):
                    writer.write(data)
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        tasks.add(asyncio.create_task(pump(reader, there_writer, back=False)))
        tasks.add(asyncio.create_task(pump(there_reader, writer, back=True)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with client_of(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0") as client:
        cutter = _Cutter(client)
        yield cutter
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_while_redis_is_away_nobody_waits_and_what_was_used_is_counted_later() -> None:
    with servers.redis() as server:
        async with connected(server.url) as world:
            router = await world.router(wait_s=0.25)
            while await router.ask(world.money(100)) is None:  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.05)
            server.stop()
            assert await router.ask(world.money(100)) is None
            began = time.monotonic()
            for _ in range(200):
                router.books.settle(Settle(world.tenant, "life", -1, 0, 0, 0, 3))
                assert await router.ask(world.money(100)) is None
            assert time.monotonic() - began < 20, "200 waits of 250 ms each would take 50 s"
            server.start()
            async with asyncio.timeout(60):
                while (await _spent(world)) != 600:  # noqa: ASYNC110 - a poll with a deadline
                    await asyncio.sleep(0.02)


async def _spent(world: World) -> int:
    try:
        return (await world.purse())[0]
    except (redis.exceptions.RedisError, OSError):
        return 0
