"""Sessions in Redis, so that another router, or this one after a restart, still knows them.

Law: Redis never makes a request wait for more than 50 ms, and only a request whose session is not in the local cache. Writes are
queued, the newest one of a session wins, and go out in batches; the queue is bounded and forgets the oldest. Where the address comes
from is not known here; without one there is simply no store. No retries but the writer's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fleet.names import session_key
from router.errors import StoreAway
from router.sessions import Session, from_fields, to_fields

_FETCH_S = 0.05
_WRITE_S = 1.0
_BATCH = 256
_MOST_QUEUED = 16384
_REST_S = 1.0  # after a failure nobody waits for Redis for this long


class RedisSessions:
    """A `SessionStore`. `write_forever` must run for `remember` to have an effect. `away_since`: monotonic seconds, None: it answers."""

    def __init__(self, url: str, ttl_s: float, clock: Callable[[], float]) -> None:
        self.url = ""
        self.away_since: float | None = None
        self._ttl_s = round(ttl_s)
        self._clock = clock
        self._rest_until = 0.0
        self._queue: dict[str, Session] = {}
        self._wake = asyncio.Event()
        self._client: redis.asyncio.Redis | None = None
        self._old: list[redis.asyncio.Redis] = []
        self.use(url)

    def use(self, url: str) -> None:
        """Takes another address, or none (empty)."""
        if url == self.url:
            return
        self.url = url
        if self._client is not None:
            self._old.append(self._client)
        self._client = _client(url) if url else None
        self._rest_until = 0.0
        self._wake.set()

    def queued(self) -> int:
        """Sessions that wait to be written."""
        return len(self._queue)

    async def fetch(self, session_id: str) -> Session | None:
        """Raises: StoreAway: no answer within 50 ms, or it did not answer a moment ago."""
        if (queued := self._queue.get(session_id)) is not None:
            return queued
        client = self._client
        if client is None or self._clock() < self._rest_until:
            raise StoreAway("Redis is away; sessions are local.")
        try:
            async with asyncio.timeout(_FETCH_S):
                fields = await cast("Awaitable[dict[bytes, bytes]]", client.hgetall(session_key(session_id)))
        except (RedisError, OSError) as error:
            self._failed()
            raise StoreAway(f"Redis does not answer: {error or type(error).__name__}") from error
        self._answered()
        return from_fields(fields)

    def remember(self, session_id: str, session: Session) -> None:
        if self._client is None:
            return
        self._queue.pop(session_id, None)
        self._queue[session_id] = session
        if len(self._queue) > _MOST_QUEUED:
            del self._queue[next(iter(self._queue))]
        self._wake.set()

    async def write_forever(self) -> None:
        """Writes what is queued, until it is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self._client is not None:
                if not await self.write_some():
                    await asyncio.sleep(_REST_S)

    async def write_some(self) -> bool:
        """One batch. False: Redis does not answer; what was to be written stays queued."""
        await self._close_old()
        client = self._client
        if client is None:
            return False
        batch = [(i, self._queue[i]) for i, _ in zip(list(self._queue), range(_BATCH), strict=False)]
        try:
            async with asyncio.timeout(_WRITE_S):
                await self._write(client, batch)
        except (RedisError, OSError):
            self._failed()
            return False
        self._answered()
        for session_id, session in batch:
            if self._queue.get(session_id) is session:
                del self._queue[session_id]
        return True

    async def _write(self, client: redis.asyncio.Redis, batch: list[tuple[str, Session]]) -> None:
        pipeline: Any = client.pipeline(transaction=False)
        for session_id, session in batch:
            key = session_key(session_id)
            pipeline.hset(key, mapping=to_fields(session))
            pipeline.expire(key, self._ttl_s)
        await pipeline.execute()

    async def close(self) -> None:
        """Writes what is queued if Redis answers, then closes."""
        while self._queue and self._client is not None and await self.write_some():
            pass
        if self._client is not None:
            self._old.append(self._client)
        self._client = None
        await self._close_old()

    async def _close_old(self) -> None:
        while self._old:
            await self._old.pop().aclose()

    def _failed(self) -> None:
        now = self._clock()
        self.away_since = now if self.away_since is None else self.away_since
        self._rest_until = now + _REST_S

    def _answered(self) -> None:
        self.away_since = None
        self._rest_until = 0.0


def _client(url: str) -> redis.asyncio.Redis:
    """One that gives up at the first failure: the library's own three retries would outlast a caller's patience."""
    client: redis.asyncio.Redis = redis.asyncio.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=_WRITE_S,
        socket_timeout=_WRITE_S,
        max_connections=64,
    )
    return client
