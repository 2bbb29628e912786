"""A router that nobody asks anything knows whether its Redis answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from router.sessions.redis import RedisSessions
from tests.router.conftest import FLEET, SPEC, Running, Start, until
from tests.servers import RedisServer

pytestmark = pytest.mark.contract

PATIENCE_S = 60.0


@asynccontextmanager
async def looking(url: str) -> AsyncIterator[RedisSessions]:
    store = RedisSessions(url, 3600.0, time.monotonic)
    task = asyncio.create_task(store.look_forever())
    yield store
    task.cancel()
    await asyncio.wait([task])
    await store.close()


async def troubles(router: Running) -> set[str]:
    return {each["what"] for each in (await router.get("/health")).json["degraded"]}


async def health_says(router: Running, said: Callable[[set[str]], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not said(await troubles(router)):  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.05)


async def test_health_says_that_redis_has_gone_and_that_it_is_back_although_nobody_asks(start: Start, redis_server: RedisServer) -> None:
    router: Running = await start(spec=replace(SPEC, fleet=replace(FLEET, redis=redis_server.url)))
    await health_says(router, lambda found: "redis" not in found)
    redis_server.stop()
    try:
        await health_says(router, lambda found: "redis" in found)
    finally:
        redis_server.start()
    await health_says(router, lambda found: "redis" not in found)


async def test_a_redis_that_takes_connections_and_says_nothing_is_away() -> None:
    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    async with looking(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0") as store:
        await until(lambda: store.away_since is not None, PATIENCE_S)
    server.close()


async def test_a_redis_that_has_moved_is_looked_for_where_it_is(redis_server: RedisServer) -> None:
    async with looking("") as store:
        store.use("redis://127.0.0.1:9/0")
        await until(lambda: store.away_since is not None, PATIENCE_S)
        store.use(redis_server.url)
        await until(lambda: store.away_since is None, PATIENCE_S)
