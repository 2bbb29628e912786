"""Sessions in a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import redis.asyncio

from fleet.names import session_key
from router.errors import StoreAway
from router.sessions.redis import RedisSessions
from router.sessions.table import Session
from tests.servers import RedisServer

pytestmark = pytest.mark.contract

SWAPPED = Session(selector=10, model="small", home="alloc-1", generation=2, turns=7)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisSessions]:
    made = RedisSessions(redis_server.url, 3600.0, time.monotonic)
    writer = asyncio.create_task(made.write_forever())
    yield made
    writer.cancel()
    with suppress(asyncio.CancelledError):
        await writer
    await made.close()


async def found(store: RedisSessions, session_id: str) -> Session | None:
    """What Redis has. A router would go on without it after 50 ms, in which a busy machine may not even connect."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await store.fetch(session_id)
            except StoreAway:
                await asyncio.sleep(0.1)


async def until_written(store: RedisSessions) -> None:
    async with asyncio.timeout(60):
        while store.queued():  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.005)


async def test_what_one_router_remembers_another_one_finds(store: RedisSessions, redis_server: RedisServer) -> None:
    store.remember("contract:one", SWAPPED)
    await until_written(store)
    other = RedisSessions(redis_server.url, 3600.0, time.monotonic)
    assert await found(other, "contract:one") == SWAPPED
    await other.close()


async def test_a_session_lives_for_its_time_after_the_last_use(store: RedisSessions, redis_server: RedisServer) -> None:
    store.remember("contract:ttl", SWAPPED)
    await until_written(store)
    async with redis.asyncio.from_url(redis_server.url) as client:
        assert 3590 <= await client.ttl(session_key("contract:ttl")) <= 3600
        await client.expire(session_key("contract:ttl"), 10)
        store.remember("contract:ttl", SWAPPED)
        await until_written(store)
        assert await client.ttl(session_key("contract:ttl")) > 3000


async def test_an_unknown_session_is_none(store: RedisSessions) -> None:
    assert await found(store, "contract:nobody") is None


async def test_a_hash_that_is_no_session_is_none(store: RedisSessions, redis_server: RedisServer) -> None:
    async with redis.asyncio.from_url(redis_server.url) as client:
        await client.hset(session_key("contract:other"), mapping={"selector": "x"})
    assert await found(store, "contract:other") is None


async def test_the_newest_of_many_writes_of_a_session_stays(store: RedisSessions) -> None:
    for turns in range(1000):
        store.remember("contract:busy", Session(1, turns=turns))
    assert store.queued() == 1
    await until_written(store)
    assert await found(store, "contract:busy") == Session(1, turns=999)


async def test_the_queue_is_bounded(redis_server: RedisServer) -> None:
    store = RedisSessions(redis_server.url, 3600.0, time.monotonic)
    for number in range(20_000):
        store.remember(f"contract:q{number}", SWAPPED)
    assert store.queued() == 16_384
    store.use("")
    await store.close()


async def test_while_redis_is_away_nobody_waits_and_nothing_is_lost(store: RedisSessions, redis_server: RedisServer) -> None:
    await found(store, "contract:warm")
    redis_server.stop()
    try:
        store.remember("contract:later", SWAPPED)
        assert await store.fetch("contract:later") == SWAPPED, "what waits to be written is known"
        with pytest.raises(StoreAway):
            await store.fetch("contract:away")
        assert store.away_since is not None
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(StoreAway):
                await store.fetch("contract:away")
        assert time.monotonic() - began < 1, "100 lookups of 50 ms each would take 5 s"
    finally:
        redis_server.start()
    await until_written(store)
    assert await found(store, "contract:later") == SWAPPED
    assert store.away_since is None


async def test_a_redis_that_hangs_costs_50_ms() -> None:
    async def swallow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        _writer.close()

    hanging = await asyncio.start_server(swallow, "127.0.0.1", 0)
    store = RedisSessions(f"redis://127.0.0.1:{hanging.sockets[0].getsockname()[1]}/0", 3600.0, time.monotonic)
    began = time.monotonic()
    with pytest.raises(StoreAway):
        await store.fetch("contract:hangs")
    assert time.monotonic() - began < 0.8, "redis-py alone would wait 1 s, and retry"
    await store.close()
    hanging.close()


async def test_another_address_takes_over(store: RedisSessions, redis_server: RedisServer) -> None:
    store.use("")
    with pytest.raises(StoreAway):
        await store.fetch("contract:moved")
    store.use(redis_server.url.replace("/0", "/1"))
    assert await found(store, "contract:moved") is None
    store.remember("contract:moved", SWAPPED)
    await until_written(store)
    assert await found(store, "contract:moved") == SWAPPED
