"""What runs beside the requests, and what it asks of Redis, stopped at every step on the way there: no cancellation is lost.

And what nobody stops ends by itself where a Redis takes connections and never answers.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from router.errors import StoreAway
from router.lending.books import RedisBooks
from router.lending.rows import UNLIMITED, Ask, Verdict
from router.models.roster_store import RedisRoster
from router.sessions.redis import RedisSessions
from router.sessions.table import Session
from tests.servers import RedisServer

pytestmark = pytest.mark.contract

STEPS = 40  # of the loop: a command is out after a dozen where there is a connection


@dataclass(frozen=True)
class World:
    """What a router asks of Redis, over one client, as it has it."""

    store: RedisSessions
    roster: RedisRoster
    books: RedisBooks
    own: str = field(default_factory=lambda: f"cancelled-{uuid.uuid4().hex}")

    async def warm(self) -> None:
        """The next question finds a connection."""
        assert self.store.client is not None
        async with asyncio.timeout(60):
            await self.store.client.ping()

    async def fetches(self) -> None:
        await self.store.fetch(self.own)

    async def pages(self) -> None:
        await self.store.page(0, 10)

    async def writes(self) -> None:
        self.store.remember(self.own, Session(selector=1))
        await self.store.write_some()

    async def orders(self) -> None:
        await self.roster.order(lambda roster: roster)

    async def settles(self) -> None:
        self._ask()
        await self.books.serve_some()

    async def serves_forever(self) -> None:
        self._ask()
        await self.books.serve_forever()

    def _ask(self) -> None:
        self.books.ask(Ask(self.own, "life", 0, 0, 0, UNLIMITED, 0), _told)


def _told(_verdict: Verdict | None) -> bool:
    return True


@asynccontextmanager
async def made(url: str) -> AsyncIterator[World]:
    store = RedisSessions(url, 3600.0, time.monotonic)
    books = RedisBooks(lambda: store.client, time.monotonic, uuid.uuid4().hex)
    yield World(store, RedisRoster(lambda: store.client, f"cancelled:{uuid.uuid4().hex}"), books)
    await store.close()


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with made(redis_server.url) as here:
        yield here


@dataclass
class Mute:
    """Takes connections, reads, and says nothing, but for the first one where `first_is` the url of a Redis that says it."""

    url: str = ""
    first_is: str = ""
    callers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.append(writer)
        with suppress(ConnectionError):
            if self.first_is and len(self.callers) == 1:
                await self._joined(reader, writer)
            else:
                await reader.read()
        writer.close()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = urlsplit(self.first_is)
        back, forth = await asyncio.open_connection(there.hostname, there.port)
        answers = asyncio.create_task(_passed(back, writer))
        await _passed(reader, forth)
        forth.close()
        await asyncio.wait([answers])


@pytest.fixture
async def mute() -> AsyncIterator[Mute]:
    there = Mute()
    server = await asyncio.start_server(there.take, "127.0.0.1", 0)
    there.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    yield there
    server.close()
    for writer in there.callers:
        writer.close()


ASKED: list[Callable[[World], Coroutine[Any, Any, None]]] = [World.fetches, World.pages, World.writes, World.orders, World.settles]
FOREVER: list[Callable[[World], Coroutine[Any, Any, None]]] = [
    World.serves_forever,
    lambda world: world.store.listen_forever(),
    lambda world: world.roster.follow_forever(),
]


@pytest.mark.parametrize("asked", ASKED, ids=["fetch", "page", "write", "order", "settle"])
async def test_a_question_that_is_cancelled_does_not_go_on(world: World, asked: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    for steps in range(STEPS):
        await world.warm()
        task = asyncio.create_task(asked(world))
        await _after(steps)
        if task.cancel():
            await asyncio.wait([task])
            assert task.cancelled(), f"cancelled after {steps} steps"


@pytest.mark.parametrize("part", FOREVER, ids=["books", "sessions", "roster"])
async def test_a_part_that_is_cancelled_once_ends(world: World, part: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    for steps in range(STEPS):
        await world.warm()
        task = asyncio.create_task(part(world))
        await _after(steps)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=60)
        if not ended:
            task.cancel()
        assert ended, f"cancelled after {steps} steps"


@pytest.mark.parametrize("asked", ASKED, ids=["fetch", "page", "write", "order", "settle"])
async def test_a_question_that_nobody_answers_ends(mute: Mute, asked: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async with made(mute.url) as world, asyncio.timeout(60):
        with suppress(StoreAway):
            await asked(world)
    assert mute.callers


async def test_who_hears_nothing_of_others_moves_connects_again(mute: Mute) -> None:
    async with made(mute.url) as world:
        task = asyncio.create_task(world.store.listen_forever())
        async with asyncio.timeout(60):
            while len(mute.callers) < 2:  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])


async def test_who_cannot_connect_again_to_hear_of_others_moves_gives_that_up(redis_server: RedisServer, mute: Mute) -> None:
    """The connection breaks, and the next one takes bytes and says nothing: only a third one can be heard of."""
    mute.first_is = redis_server.url
    async with made(mute.url) as world:
        heard = asyncio.Event()
        world.store.returned = heard.set
        task = asyncio.create_task(world.store.listen_forever())
        async with asyncio.timeout(60):
            await heard.wait()
            mute.callers[0].close()
            while len(mute.callers) < 3:  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)


async def _after(steps: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)
