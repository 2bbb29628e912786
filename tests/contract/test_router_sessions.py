"""Several routers and one real Redis: they agree on a session, whoever moved it, and survive a Redis that forgets."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
import redis.asyncio

from fleet.names import session_key
from fleet.recorder import Recorder
from router.models.catalogue import Catalogue
from router.plane import DataPlane
from router.replicas.snapshot import Endpoint, Snapshot
from router.sessions.redis import RedisSessions
from router.sessions.table import Session
from router.tally import Tally
from tests.contract.test_redis_sessions import found
from tests.router.conftest import LIMITS, SPEC
from tests.servers import RedisServer

pytestmark = pytest.mark.contract

ENDPOINTS = tuple(Endpoint(f"{m}/{a}", a, m, "127.0.0.1", 9) for m, a in (("large", "a"), ("large", "b"), ("small", "s")))
_ids = itertools.count()


class Router:
    """A data plane and its store, without sockets for callers."""

    def __init__(self, url: str) -> None:
        self.store = RedisSessions(url, 3600.0, time.monotonic)
        catalogue, recorder = Catalogue(SPEC), Recorder()
        tally = Tally(recorder, catalogue.models)
        self.plane = DataPlane(catalogue, LIMITS, recorder, tally, self.store, time.monotonic, time.time)
        self.store.hear = self.plane.hear
        self.store.returned = lambda: self.plane.sessions.anew(time.monotonic())
        self.plane.apply(Snapshot(1, ENDPOINTS))
        self.tasks = [asyncio.create_task(self.store.write_forever()), asyncio.create_task(self.store.listen_forever())]

    def kept(self, session_id: str) -> Session | None:
        return self.plane.sessions.get(session_id, self.plane.clock())

    async def turn(self, session_id: str, home: str) -> None:
        """A turn that is answered by a replica."""
        session = self.plane.known(session_id) or await self.plane.look_up(session_id) or self.plane.begin_session(session_id, 0, "me")
        plan = self.plane.catalogue.plan("auto", session)
        self.plane.served(session_id, session, plan, self.plane.homes[home])

    async def written(self) -> None:
        await until(lambda: not self.store.queued())

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.store.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.005)


async def listening(server: RedisServer, count: int) -> None:
    async with redis.asyncio.from_url(server.url) as client, asyncio.timeout(60):
        while (await client.pubsub_numsub("wf:moves"))[0][1] != count:  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.005)


@pytest.fixture
async def routers(redis_server: RedisServer) -> AsyncIterator[tuple[Router, Router]]:
    one, two = Router(redis_server.url), Router(redis_server.url)
    await listening(redis_server, 2)
    yield one, two
    await one.stop()
    await two.stop()


@pytest.fixture
def session_id() -> str:
    return f"agree:{next(_ids)}"


async def test_a_swap_by_one_router_is_known_to_the_other_at_once(routers: tuple[Router, Router], session_id: str) -> None:
    one, two = routers
    await one.turn(session_id, "a")
    await one.written()
    await two.turn(session_id, "a")
    await two.written()
    await one.turn(session_id, "s")
    await until(lambda: two.kept(session_id) == one.kept(session_id))
    kept = two.kept(session_id)
    assert kept is not None
    assert (kept.model, kept.home, kept.generation) == ("small", "s", 2)


async def test_a_router_that_heard_nothing_learns_when_it_is_connected_again(
    routers: tuple[Router, Router], session_id: str, redis_server: RedisServer
) -> None:
    one, two = routers
    await one.turn(session_id, "a")
    await one.written()
    await two.turn(session_id, "a")
    await two.written()
    two.tasks[1].cancel()  # it listens no more
    with suppress(asyncio.CancelledError):
        await two.tasks[1]
    await one.turn(session_id, "s")
    await one.written()
    assert two.kept(session_id) != one.kept(session_id)
    two.tasks[1] = asyncio.create_task(two.store.listen_forever())
    await listening(redis_server, 2)
    await two.turn(session_id, "a")
    await until(lambda: two.kept(session_id) == one.kept(session_id))
    assert await found(two.store, session_id) == one.kept(session_id), "the later generation stands"


async def test_of_two_moves_at_the_same_time_the_first_in_redis_holds(routers: tuple[Router, Router], session_id: str) -> None:
    one, two = routers
    await one.turn(session_id, "a")
    await one.written()
    await two.turn(session_id, "a")
    await two.written()
    await asyncio.gather(one.turn(session_id, "b"), two.turn(session_id, "s"))
    await one.written()
    await two.written()
    await until(lambda: one.kept(session_id) == two.kept(session_id))
    kept, stored = one.kept(session_id), await found(one.store, session_id)
    assert kept is not None
    assert stored is not None
    assert (kept.model, kept.home, kept.generation) == (stored.model, stored.home, 2)


async def test_a_session_that_ends_is_forgotten_by_all(routers: tuple[Router, Router], session_id: str, redis_server: RedisServer) -> None:
    one, two = routers
    await one.turn(session_id, "a")
    await one.written()
    await two.turn(session_id, "a")
    await two.written()
    one.plane.end(session_id)
    assert await one.store.fetch(session_id) is None, "while the deletion is on its way too"
    await until(lambda: two.kept(session_id) is None)
    async with redis.asyncio.from_url(redis_server.url) as client:
        assert await client.exists(session_key(session_id)) == 0


async def test_a_redis_that_came_back_and_forgot_is_told_again_at_the_next_turn(
    routers: tuple[Router, Router], session_id: str, redis_server: RedisServer
) -> None:
    one, _ = routers
    await one.turn(session_id, "a")
    await one.turn(session_id, "s")
    await one.written()
    async with redis.asyncio.from_url(redis_server.url) as client:
        await client.flushall()
        await client.script_flush()
        await client.client_kill_filter(_type="pubsub")  # as a restart does
    await listening(redis_server, 0)
    await listening(redis_server, 2)
    await one.turn(session_id, "s")
    await one.written()
    assert await found(one.store, session_id) == one.kept(session_id)
    kept = one.kept(session_id)
    assert kept is not None
    assert (kept.model, kept.generation, kept.turns) == ("small", 2, 3)


async def test_what_is_no_session_on_the_channel_is_left_alone(
    routers: tuple[Router, Router], session_id: str, redis_server: RedisServer
) -> None:
    one, _ = routers
    await one.turn(session_id, "a")
    before = one.kept(session_id)
    async with redis.asyncio.from_url(redis_server.url) as client:
        for message in (b"", b"{", b"[]", b'{"a":"b"}', b'{"id":"nobody","selector":"x"}', b'{"id":1}'):
            assert await client.publish("wf:moves", message) == 2
        assert await client.publish("wf:moves", b'{"id":"%b","selector":"0","generation":"9"}' % session_id.encode()) == 2
    await until(lambda: one.kept(session_id) != before)
    assert not one.tasks[1].done()
