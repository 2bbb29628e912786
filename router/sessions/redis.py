"""Sessions in Redis, so that another router, or this one after a restart, still knows them.

Law: Redis never makes a request wait for more than 50 ms, and only a request whose session is not in the local cache. Writes are
queued, the newest one of a session wins, and go out in batches; the queue is bounded and forgets the oldest.
Routers agree by generation: Redis takes no earlier one, nor another of the same; a refused writer hears what is there. Who moves a
session tells the others. Whether Redis answers is known without a request: who has not been asked for a second is asked for a sign
of life. Where the address comes from is not known here; without one there is simply no store. No retries but the writer's own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol, cast

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fleet.names import REDIS_SESSION_MOVES, REDIS_SESSION_PREFIX, session_key
from router.errors import StoreAway
from router.sessions.table import Session, from_fields, to_fields

_FETCH_S = 0.05
_WRITE_S = 1.0
_BATCH = 256
GATHER_S = 0.02  # so that under load one call writes many; `fetch` sees what waits
_MOST_QUEUED = 16384
_REST_S = 1.0  # after a failure nobody waits for Redis for this long
_LOOK_S = 1.0
_PING_S = 3.0  # of patience, so that a program that was held up for a moment does not call Redis away

# Many sessions in one call, packed: what each costs here is one row of MessagePack, not a dozen encoded arguments.
# Of each: write it, or answer with what is there if that holds; without a generation, delete it.
_WRITE_MANY: Final = """
local moves, ttl, answers = ARGV[1], ARGV[2], {}
for at, row in ipairs(cmsgpack.unpack(ARGV[3])) do
  local key, id, generation, model, home, fields = unpack(row)
  answers[at] = {}
  if generation < 0 then
    if redis.call('DEL', key) == 1 then redis.call('PUBLISH', moves, cjson.encode({id = id})) end
  else
    local had = redis.call('HMGET', key, 'generation', 'model', 'home')
    local stored = had[1] and tonumber(had[1])
    if stored and (stored > generation or (stored == generation and (had[2] ~= model or had[3] ~= home))) then
      answers[at] = redis.call('HGETALL', key)
    else
      redis.call('HSET', key, unpack(fields))
      redis.call('EXPIRE', key, ttl)
      if stored and stored < generation then
        local message = {id = id}
        for i = 1, #fields, 2 do message[fields[i]] = fields[i + 1] end
        redis.call('PUBLISH', moves, cjson.encode(message))
      end
    end
  end
end
return answers
"""


class Hears(Protocol):
    def __call__(self, session_id: str, session: Session | None, /) -> None:
        """What Redis has of a session; None: it has ended."""


def _nobody(_session_id: str, _session: Session | None) -> None:
    pass


class RedisSessions:
    """A `SessionStore`. `write_forever` must run for `remember` to have an effect, `listen_forever` to hear of others' moves at once,
    `look_forever` for `away_since` to be true while nobody asks.

    `away_since`: monotonic seconds, None: it answers. `hear` is told what another router has made of a session, and `returned` is
    called whenever Redis is connected anew: it may have forgotten what it was told.
    """

    def __init__(self, url: str, ttl_s: float, clock: Callable[[], float]) -> None:
        self.url = ""
        self.away_since: float | None = None
        self.hear: Hears = _nobody
        self.returned: Callable[[], None] = lambda: None
        self._ttl_s = round(ttl_s)
        self._clock = clock
        self._rest_until = 0.0
        self._known_at = -math.inf  # when it last answered, or did not
        self._queue: dict[str, Session | None] = {}
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
        self._client = client_of(url) if url else None
        self._rest_until = 0.0
        self._wake.set()

    @property
    def client(self) -> redis.asyncio.Redis | None:
        """The connections, for what else is kept there; None: no Redis is known. It changes when Redis moves.

        They wait for answers without an end: put an `asyncio.timeout` around whatever is asked.
        """
        return self._client

    def queued(self) -> int:
        """Sessions that wait to be written."""
        return len(self._queue)

    async def fetch(self, session_id: str) -> Session | None:
        """Raises: StoreAway: no answer within 50 ms, or it did not answer a moment ago."""
        if session_id in self._queue:
            return self._queue[session_id]
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

    async def page(self, cursor: int, count: int) -> tuple[int, list[tuple[str, Session]]]:
        """About so many sessions from a cursor on (0: the beginning), and the next cursor (0: there are no more).

        As Redis scans: what is there all the time comes once or more, what comes or goes meanwhile may be missing.

        Raises: StoreAway
        """
        client = self._client
        if client is None:
            raise StoreAway("No Redis is known; sessions are local.")
        try:
            async with asyncio.timeout(_WRITE_S):
                following, found = await client.scan(cursor, match=f"{REDIS_SESSION_PREFIX}*", count=count)
                pipeline = client.pipeline(transaction=False)
                for key in found:
                    pipeline.hgetall(key)
                rows = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise StoreAway(f"Redis does not answer: {error or type(error).__name__}") from error
        ids = (bytes(key).decode().removeprefix(REDIS_SESSION_PREFIX) for key in cast("list[bytes]", found))
        sessions = zip(ids, map(from_fields, rows), strict=True)
        return int(following), [(session_id, session) for session_id, session in sessions if session is not None]

    def remember(self, session_id: str, session: Session) -> None:
        self._put(session_id, session)

    def forget(self, session_id: str) -> None:
        self._put(session_id, None)

    def _put(self, session_id: str, session: Session | None) -> None:
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
            await asyncio.sleep(GATHER_S)
            while self._queue and self._client is not None:
                if not await self.write_some():
                    await asyncio.sleep(_REST_S)
                elif len(self._queue) < _BATCH:
                    await asyncio.sleep(GATHER_S)

    async def write_some(self) -> bool:
        """One batch. False: Redis does not answer; what was to be written stays queued."""
        await self._close_old()
        client = self._client
        if client is None:
            return False
        batch = [(i, self._queue[i]) for i, _ in zip(list(self._queue), range(_BATCH), strict=False)]
        try:
            async with asyncio.timeout(_WRITE_S):
                replies = await self._write(client, batch)
        except (RedisError, OSError):
            self._failed()
            return False
        self._answered()
        for (session_id, session), reply in zip(batch, replies, strict=True):
            if session_id in self._queue and self._queue[session_id] is session:
                del self._queue[session_id]
            if reply:
                self.hear(session_id, from_fields(dict(zip(reply[::2], reply[1::2], strict=True))))
        return True

    async def _write(self, client: redis.asyncio.Redis, batch: list[tuple[str, Session | None]]) -> list[list[bytes]]:
        """For each session what Redis has, where that holds against ours."""
        rows = msgspec.msgpack.encode([_row(session_id, session) for session_id, session in batch])
        write_many = client.register_script(_WRITE_MANY)
        replies: list[list[bytes]] = await write_many([], [REDIS_SESSION_MOVES, self._ttl_s, rows])
        return replies

    async def listen_forever(self) -> None:
        """Tells `hear` what other routers publish, until it is cancelled. What is missed meanwhile, the next write hears."""
        while True:
            if (client := self._client) is not None:
                with suppress(RedisError, OSError):
                    await self._listen(client)
            await asyncio.sleep(_REST_S)

    async def _listen(self, client: redis.asyncio.Redis) -> None:
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        try:
            async with asyncio.timeout(_WRITE_S):
                await pubsub.subscribe(REDIS_SESSION_MOVES)
            self.returned()
            while client is self._client:
                async with asyncio.timeout(_REST_S + _WRITE_S):  # it may have to connect again first
                    message = await pubsub.get_message(timeout=_REST_S)
                if message is not None:
                    self._heard(message["data"])
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def look_forever(self) -> None:
        """Asks a Redis that nobody else asks whether it is there, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            client = self._client
            if client is None or self._clock() < self._known_at + _LOOK_S:
                continue
            try:
                async with asyncio.timeout(_PING_S):
                    await client.ping()
            except (RedisError, OSError):
                self._failed()
            else:
                self._answered()

    def _heard(self, message: bytes) -> None:
        try:
            fields = msgspec.json.decode(message, type=dict[str, str])
            session_id = fields["id"]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
            return  # another version's
        self.hear(session_id, from_fields({name.encode(): value.encode() for name, value in fields.items()}))

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
        now = self._known_at = self._clock()
        self.away_since = now if self.away_since is None else self.away_since
        self._rest_until = now + _REST_S

    def _answered(self) -> None:
        self.away_since = None
        self._known_at = self._clock()
        self._rest_until = 0.0


def _row(session_id: str, session: Session | None) -> tuple[str, str, int, str, str, list[str]]:
    """Of the script: key, id, generation (negative: delete), model, home, the hash's names and values in turn."""
    if session is None:
        return session_key(session_id), session_id, -1, "", "", []
    flat = [str(part) for field in to_fields(session).items() for part in field]
    return session_key(session_id), session_id, session.generation, session.model, session.home, flat


def client_of(url: str) -> redis.asyncio.Redis:
    """One that gives up at the first failure: the library's own three retries would outlast a caller's patience.

    Whoever asks it says for how long, with `asyncio.timeout`. The library's own timeout (`socket_timeout`) is `asyncio.wait_for`, which
    before Python 3.12 loses a cancellation that comes while a command goes out: a part that was to stop went on, and a timeout passed
    without an effect.
    """
    client: redis.asyncio.Redis = redis.asyncio.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=_WRITE_S,
        socket_timeout=None,
        max_connections=64,
    )
    return client
