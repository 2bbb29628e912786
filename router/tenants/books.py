"""Tenants' limits in Redis: asks and settlements of all requests, one call for all that come while the last one is under way.

Law: one batch at a time, and it is sent again until it is answered, so that nothing is counted twice or not at all (tenants.rows). Nobody
waits for Redis for longer than a second: then the answer is that it is away, and stays that for a second. What was granted to somebody who
no longer waits is given back. Settlements wait as sums, so an outage costs no memory. Where Redis is, is not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, cast

import msgspec
import redis.asyncio
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from router.tenants.rows import SCRIPT, Answer, Ask, Batch, Settle, Verdict, pack, verdicts

log = logging.getLogger(__name__)

WAIT_S: Final = 1.0
_REST_S: Final = 1.0
_PACE_S: Final = 0.002  # from one call to the next: so that under load many requests share one, and alone none waits
_MOST_ASKS: Final = 256
LIFE_S: Final = 120.0


class Told(Protocol):
    def __call__(self, verdict: Verdict | None, /) -> bool:
        """None: Redis is away. False: nobody waits for it any more, so what was granted is given back."""


_Waiting = tuple[Ask, Told]


class RedisBooks:
    """`serve_forever` must run for asks to be answered. `life_s`: of what this router has set aside, after its last sign of life."""

    def __init__(
        self,
        client: Callable[[], redis.asyncio.Redis | None],
        clock: Callable[[], float],
        own_id: str,
        *,
        life_s: float = LIFE_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self._client = client
        self._clock = clock
        self._own_id = own_id
        self._life_s = life_s
        self._wait_s = wait_s
        self._asks: list[_Waiting] = []
        self._settles: dict[tuple[str, str, int], list[int]] = {}
        self._wake = asyncio.Event()
        self._rest_until = 0.0
        self._number = 0
        self._unsure: tuple[bytes, list[Ask]] | None = None  # a batch of which nobody knows whether it was done
        self._held = 0  # grants that are not settled
        self._script: AsyncScript | None = None

    def ask(self, ask: Ask, told: Told) -> None:
        """Answers through `told`, at once where Redis is known to be away."""
        if self._clock() < self._rest_until or self._client() is None:
            told(None)
            return
        self._asks.append((ask, told))
        self._wake.set()

    def settle(self, row: Settle) -> None:
        """Some time soon; never waits."""
        key = (row.tenant, row.period, row.slot)
        sums = self._settles.get(key)
        if sums is None:
            self._settles[key] = list(row[3:])
        else:
            for at, value in enumerate(row[3:]):
                sums[at] += value
        self._held -= row.slot >= 0
        self._wake.set()

    async def serve_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._woken()
            await asyncio.sleep(0)  # the rest of this tick's requests
            while self._asks or self._settles or self._unsure:
                began = self._clock()
                served = await self.serve_some()
                await asyncio.sleep(max(0.0, (began + _PACE_S if served else self._rest_until) - self._clock()))

    async def close(self) -> None:
        """Settles what is left, if Redis answers."""
        while (self._settles or self._unsure) and await self.serve_some():
            pass

    async def _woken(self) -> None:
        """There is something to do, or it is time for a sign of life."""
        try:
            async with asyncio.timeout(self._life_s / 3 if self._held > 0 else None):
                await self._wake.wait()
        except TimeoutError:
            self._settle_nothing()
        self._wake.clear()

    def _settle_nothing(self) -> None:
        self._settles.setdefault(("-", "life", -1), [0, 0, 0, 0])

    async def serve_some(self) -> bool:
        """One batch. False: Redis is away; what was to be settled stays."""
        if self._unsure is not None:
            return await self._again(*self._unsure)
        waiting, self._asks = self._asks[:_MOST_ASKS], self._asks[_MOST_ASKS:]
        settles, self._settles = self._settles, {}
        self._number += 1
        asks = [ask for ask, _ in waiting]
        packed = pack(Batch(self._number, [Settle(*key, *sums) for key, sums in settles.items()], asks))
        self._unsure = packed, asks
        found = await self._send(packed)
        if found is None:
            self._tell_away(waiting)
            self._tell_away_the_rest()
            return False
        self._unsure = None
        for (ask, told), verdict in zip(waiting, found, strict=True):
            self._held += verdict.answer == Answer.GRANTED
            if not told(verdict):
                self._give_back(ask, verdict)
        return True

    async def _again(self, packed: bytes, asks: list[Ask]) -> bool:
        """Those who asked have been told that Redis is away."""
        found = await self._send(packed)
        if found is None:
            self._tell_away_the_rest()
            return False
        self._unsure = None
        for ask, verdict in zip(asks, found, strict=True):
            self._held += verdict.answer == Answer.GRANTED
            self._give_back(ask, verdict)
        return True

    def _give_back(self, ask: Ask, verdict: Verdict) -> None:
        if verdict.answer == Answer.GRANTED:
            self.settle(Settle(ask.tenant, ask.period, verdict.slot, ask.tokens, 0, ask.cost, 0))

    def _tell_away_the_rest(self) -> None:
        waiting, self._asks = self._asks, []
        self._tell_away(waiting)

    def _tell_away(self, waiting: list[_Waiting]) -> None:
        for _, told in waiting:
            told(None)

    async def _send(self, packed: bytes) -> list[Verdict] | None:
        """None: no answer in time."""
        client = self._client()
        try:
            if client is None:
                raise ConnectionError("no Redis is known")
            script = self._script_of(client)
            async with asyncio.timeout(self._wait_s):
                answer = cast("bytes", await script([], [self._own_id, round(self._life_s * 1000), packed]))
            found = verdicts(answer)
        except (RedisError, OSError, msgspec.MsgspecError) as error:
            self._failed(error)
            return None
        self._rest_until = 0.0
        return found

    def _script_of(self, client: redis.asyncio.Redis) -> AsyncScript:
        if self._script is None or self._script.registered_client is not client:
            self._script = client.register_script(SCRIPT)
        return self._script

    def _failed(self, error: Exception) -> None:
        now = self._clock()
        if not self._rest_until:
            log.warning("tenants' limits cannot be asked for, Redis does not answer: %s", error, extra={"event": "limits_away"})
        self._rest_until = now + _REST_S
