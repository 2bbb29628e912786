"""Sessions cost Redis little: a known one is not asked for, and what changes is written in batches."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import replace

import pytest
import redis.asyncio

from fleet.names import session_key
from router.sessions.redis import GATHER_S, RedisSessions
from router.sessions.table import Session
from tests.router.client import chat
from tests.router.conftest import SPEC, Running, Start, until
from tests.router.upstream import says_hello
from tests.servers import RedisServer

pytestmark = pytest.mark.contract

FLEET = replace(SPEC.fleet, redis="")
TURNS = 5
MANY = 100


async def calls(server: RedisServer, command: str) -> int:
    """How often Redis has been given a command."""
    async with redis.asyncio.from_url(server.url) as client:
        stats = await client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


async def lookups(router: Running, result: str) -> float:
    return await router.metric(f'warmfleet_router_session_lookups_total{{result="{result}"}}') or 0


async def turn(router: Running, session_id: str) -> None:
    assert (await router.call(chat(headers={"x-session-id": session_id}))).status == 200


async def test_a_session_is_looked_up_once_and_then_known(start: Start, redis_server: RedisServer) -> None:
    spec = replace(SPEC, fleet=replace(FLEET, redis=redis_server.url))
    session_id, before = f"once-{uuid.uuid4().hex}", await calls(redis_server, "hgetall")
    router: Running = await start(engines=[("a", says_hello)], spec=spec)
    for _ in range(TURNS):
        await turn(router, session_id)
    assert await calls(redis_server, "hgetall") - before == 1
    assert await lookups(router, "local") == TURNS - 1
    asked = [await lookups(router, result) for result in ("redis", "miss", "unavailable")]
    assert sum(asked) == 1


async def test_sessions_are_written_in_batches(start: Start, redis_server: RedisServer) -> None:
    """However they arrive, there is no more than one write in the time in which writes are gathered."""
    spec = replace(SPEC, fleet=replace(FLEET, redis=redis_server.url))
    router: Running = await start(engines=[("a", says_hello)], spec=spec)
    name, began = f"many-{uuid.uuid4().hex}", time.monotonic()
    before = await calls(redis_server, "evalsha")
    await asyncio.gather(*(turn(router, f"{name}-{number}") for number in range(MANY)))
    async with redis.asyncio.from_url(redis_server.url) as client, asyncio.timeout(60):
        while await client.exists(*(session_key(f"{name}-{number}") for number in range(MANY))) != MANY:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert await calls(redis_server, "evalsha") - before <= 2 + (time.monotonic() - began) / GATHER_S


async def test_what_comes_while_a_batch_is_written_waits_for_the_next_one(redis_server: RedisServer) -> None:
    store, name = RedisSessions(redis_server.url, 3600.0, time.monotonic), f"steady-{uuid.uuid4().hex}"
    began, before = time.monotonic(), await calls(redis_server, "evalsha")
    task = asyncio.create_task(store.write_forever())
    for number in range(50_000):  # at every step of the loop one of a few
        store.remember(f"{name}-{number % 16}", Session(selector=1, generation=number))
        await asyncio.sleep(0)
    await until(lambda: not store.queued(), 60)
    task.cancel()
    await asyncio.wait([task])
    written = await calls(redis_server, "evalsha") - before
    await store.close()
    assert 0 < written <= 2 + (time.monotonic() - began) / GATHER_S


async def test_a_router_that_comes_later_finds_what_redis_has(start: Start, redis_server: RedisServer) -> None:
    spec = replace(SPEC, fleet=replace(FLEET, redis=redis_server.url))
    first: Running = await start(engines=[("a", says_hello), ("b", says_hello)], spec=spec)
    session_id = f"later-{uuid.uuid4().hex}"
    await turn(first, session_id)
    store = first.wired.plane.store
    await until(lambda: not store.queued(), 60)  # type: ignore[attr-defined]
    second: Running = await start(spec=spec)
    found = None
    async with asyncio.timeout(60):
        while found is None:
            found = await second.wired.plane.look_up(session_id)
    assert found.home in ("a", "b")
    assert await lookups(second, "redis") == 1
