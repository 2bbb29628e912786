"""The roster in Redis, so that every router has the same one, also after a restart.

Law: an order is written with a comparison (what another router ordered meanwhile is not lost) and in force here at once; other routers
look three times a second. While Redis is away the last roster holds and no order is taken. A Redis that comes back empty is given it again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, cast

import msgspec
import redis.asyncio
from redis.exceptions import RedisError

from router.errors import StoreAway
from router.models.roster import Roster, decode, encode

log = logging.getLogger(__name__)

LOOK_S: Final = 0.3
_WAIT_S: Final = 1.0
_TRIES: Final = 8
_SWAP: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class RedisRoster:
    """`changed` is called whenever another roster is in force: `now`. `follow_forever` must run for others' orders to be seen."""

    def __init__(self, client: Callable[[], redis.asyncio.Redis | None], key: str) -> None:
        self.now = Roster()
        self.changed: Callable[[], None] = lambda: None
        self._client = client
        self._key = key
        self._document = b""

    async def order(self, change: Callable[[Roster], Roster]) -> Roster:
        """Raises: StoreAway: nothing was changed; and what `change` raises."""
        try:
            async with asyncio.timeout(_WAIT_S):
                for _ in range(_TRIES):
                    document = await self._read()
                    after = encode(change(self._decoded(document)))
                    if await self._swap(document, after):
                        self._take(after)
                        return self.now
        except (RedisError, OSError) as error:
            raise StoreAway("Redis does not answer, and what is ordered must be seen by every router; try again.") from error
        raise StoreAway("Others are giving orders at the same time; try again.")

    async def follow_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            with suppress(RedisError, OSError, StoreAway):
                async with asyncio.timeout(_WAIT_S):
                    await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        document = await self._read()
        if not document and self._document:
            await self._swap(b"", self._document)
        elif document != self._document:
            self._take(document)

    def _take(self, document: bytes) -> None:
        if document == self._document:
            return
        self._document = document
        roster = _readable(document)
        if roster is None:
            extra = {"event": "roster_refused"}
            log.error("the roster in Redis (%s) cannot be read, version %d stays in force", self._key, self.now.version, extra=extra)
            return
        self.now = roster
        self.changed()
        log.info("version %d of the roster is in force", roster.version, extra={"event": "roster_taken"})

    def _decoded(self, document: bytes) -> Roster:
        """What an order starts from; where there is nothing, or nothing readable, what is in force here."""
        return (_readable(document) if document else None) or self.now

    async def _read(self) -> bytes:
        found = await cast("Awaitable[bytes | None]", self._redis().get(self._key))
        return found or b""

    async def _swap(self, before: bytes, after: bytes) -> bool:
        arguments = cast("list[str]", [before, after])
        return bool(await cast("Awaitable[int]", self._redis().eval(_SWAP, 1, self._key, *arguments)))

    def _redis(self) -> redis.asyncio.Redis:
        client = self._client()
        if client is None:
            raise StoreAway("There is no Redis, and what is ordered must be seen by every router.")
        return client


def _readable(document: bytes) -> Roster | None:
    try:
        return decode(document)
    except msgspec.MsgspecError:
        return None
