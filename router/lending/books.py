"""Tenants' limits as a router process keeps them: its slices, and the batches in which it speaks of them with Redis.

    ask ─► its tenant's slice has room ──────────────────────────► granted, at once
            └─► it has none ─► batch ─► Redis decides, and lends ─► told
    settle ─► the slice ─► the next batch, within FLUSH_S

Law: one batch at a time, and it is sent again until it is answered, so that nothing is counted twice or not at all (tenants.script).
Nobody waits for Redis for longer than a second: then the answer is that it is away, and stays that for a second; what is left of a slice
is granted meanwhile. What was granted to somebody who no longer waits is given back. What is to be told waits as sums, so an outage
costs no memory. Where Redis is, is not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, cast

import msgspec
import redis.asyncio
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from router.lending.demand import TICK_S
from router.lending.lease import Lease
from router.lending.rows import Answer, Answers, Ask, Batch, Settle, Told, Verdict, answers, pack
from router.lending.script import SCRIPT

log = logging.getLogger(__name__)

WAIT_S: Final = 1.0
LIFE_S: Final = 120.0
FLUSH_S: Final = 0.2  # what is told later need not be asked for meanwhile; where a limit is tight it is told at once
_REST_S: Final = 1.0
_PACE_S: Final = 0.002  # from one call to the next: so that under load many requests share one, and alone none waits
_RECALL_S: Final = 1.0  # how long a request waits for what other workers give back
_RECALL_PACE_S: Final = 0.02
_MOST_ASKS: Final = 256
_MOST_SYNCS: Final = 256


class _Waiting(NamedTuple):
    """`until`: monotonic seconds; it is not asked for longer, once Redis has said that it is to wait for others."""

    ask: Ask
    told: Told
    until: float


class _Sent(NamedTuple):
    """A batch of which nobody knows whether it was done. `at`: monotonic seconds, of the first time."""

    packed: bytes
    at: float
    waiting: list[_Waiting]
    leases: list[Lease]


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
        self._leases: dict[tuple[str, str], Lease] = {}
        self._due: dict[Lease, None] = {}
        self._asks: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._is_hurried = False
        self._rest_until = 0.0
        self._ticked_at = self._spoke_at = clock()
        self._number = 0
        self._unsure: _Sent | None = None
        self._script: AsyncScript | None = None

    # what requests ask

    def ask(self, ask: Ask, told: Told) -> None:
        """Answers through `told`: at once out of a slice, or where Redis is known to be away."""
        lease, now = self._of(ask), self._clock()
        demand = lease.demand
        demand.requests += 1
        demand.tokens += ask.tokens
        demand.money += ask.cost
        if lease.take(ask, now):
            self._granted(lease, ask, told)
        elif now < self._rest_until or self._client() is None:
            told(None)
        else:
            self._asks.append(_Waiting(ask, told, now + _RECALL_S))
            self._wake.set()

    def _of(self, row: Ask | Settle) -> Lease:
        key = row[:2]
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = Lease(*key)
        return lease

    def _granted(self, lease: Lease, ask: Ask, told: Told) -> None:
        """Out of the slice."""
        verdict = lease.verdict()
        if not told(verdict):
            self._give_back(ask, verdict)
        if lease.is_low:
            self._hurry(lease)

    def settle(self, row: Settle) -> None:
        """Is told some time soon; never waits."""
        lease = self._of(row)
        lease.settle(row)
        if lease.is_tight:
            self._hurry(lease)
        elif lease not in self._due:
            if not self._due:
                asyncio.get_running_loop().call_later(FLUSH_S, self._flush)
            self._due[lease] = None

    def _give_back(self, ask: Ask, verdict: Verdict) -> None:
        self.settle(Settle(ask.tenant, ask.period, verdict.slot, ask.tokens, 0, ask.cost, 0))

    def _hurry(self, lease: Lease) -> None:
        self._due[lease] = None
        self._flush()

    def _flush(self) -> None:
        self._is_hurried = True
        self._wake.set()

    # what is told to Redis

    async def serve_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._woken()
            await asyncio.sleep(0)  # the rest of this tick's requests
            while self._asks or self._is_hurried or self._unsure:
                began = self._clock()
                served = await self.serve_some()
                await asyncio.sleep(max(0.0, (began + _PACE_S if served else self._rest_until) - self._clock()))

    async def close(self) -> None:
        """Tells what is left and gives all slices back, if Redis answers."""
        for lease in self._leases.values():
            lease.demand.forget()
            self._due[lease] = None
        while (self._due or self._unsure) and await self.serve_some():
            pass

    async def _woken(self) -> None:
        """There is something to do, or it is time for a look at the slices, or for a sign of life."""
        try:
            async with asyncio.timeout(TICK_S if self._leases else None):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
        now = self._clock()
        if now - self._ticked_at >= TICK_S:
            self._ticked_at = now
            self._tick(now)

    def _tick(self, now: float) -> None:
        """Slices that nobody asks for are given back; leases without anything are forgotten."""
        for lease in self._leases.values():
            lease.demand.turn()
            if lease.has_slice and lease.demand.is_none:
                self._hurry(lease)
        self._leases = {key: lease for key, lease in self._leases.items() if lease in self._due or not lease.is_blank}
        if now - self._spoke_at >= self._life_s / 3 and any(lease.open for lease in self._leases.values()):
            self._flush()

    async def serve_some(self) -> bool:
        """One batch. False: Redis is away; what was to be told waits."""
        if self._unsure is not None:
            return await self._again(self._unsure)
        self._grant_waiting()
        waiting, self._asks = self._asks[:_MOST_ASKS], self._asks[_MOST_ASKS:]
        sent = self._unsure = self._batch(waiting)
        found = await self._send(sent.packed)
        if found is None:
            self._tell_away(waiting)
            self._tell_away_the_rest()
            return False
        self._heard(sent, found)
        for one, verdict in zip(waiting, found.verdicts, strict=True):
            self._tell(one, verdict)
        self._grant_waiting()
        return True

    def _batch(self, waiting: list[_Waiting]) -> _Sent:
        now = self._clock()
        asking = {self._of(one.ask): one.ask for one in waiting}
        leases = [*asking, *(lease for lease in self._due if lease not in asking)][: max(_MOST_SYNCS, len(asking))]
        for lease in leases:
            self._due.pop(lease, None)
        self._is_hurried = bool(self._due)
        syncs = [lease.tell(now, asking.get(lease)) for lease in leases]
        self._number += 1
        return _Sent(pack(Batch(self._number, syncs, [one.ask for one in waiting])), now, waiting, leases)

    def _heard(self, sent: _Sent, found: Answers) -> None:
        """The batch is done."""
        self._unsure = None
        self._spoke_at = self._clock()
        for one, verdict in zip(sent.waiting, found.verdicts, strict=True):
            if verdict.answer == Answer.GRANTED:
                self._of(one.ask).hold(one.ask)
        for lease, lent in zip(sent.leases, found.lents, strict=True):
            lease.hear(lent, sent.at)
            if lease.is_tight and lease.has_slice:
                self._hurry(lease)

    def _tell(self, one: _Waiting, verdict: Verdict) -> None:
        if verdict.answer == Answer.LENT:
            if self._clock() < one.until:
                asyncio.get_running_loop().call_later(_RECALL_PACE_S, self._ask_again, one)
                return
            verdict = msgspec.structs.replace(verdict, answer=Answer.BUDGET, wait_ms=0)
        if not one.told(verdict) and verdict.answer == Answer.GRANTED:
            self._give_back(one.ask, verdict)

    def _ask_again(self, one: _Waiting) -> None:
        self._asks.append(one)
        self._wake.set()

    def _grant_waiting(self) -> None:
        """Those for whom a slice has room by now."""
        now, waiting, self._asks = self._clock(), self._asks, []
        for one in waiting:
            lease = self._of(one.ask)
            if lease.take(one.ask, now):
                self._granted(lease, one.ask, one.told)
            else:
                self._asks.append(one)

    async def _again(self, sent: _Sent) -> bool:
        """Those who asked have been told that Redis is away."""
        found = await self._send(sent.packed)
        if found is None:
            self._tell_away_the_rest()
            return False
        self._heard(sent, found)
        for one, verdict in zip(sent.waiting, found.verdicts, strict=True):
            if verdict.answer == Answer.GRANTED:
                self._give_back(one.ask, verdict)
        return True

    def _tell_away_the_rest(self) -> None:
        waiting, self._asks = self._asks, []
        self._tell_away(waiting)

    def _tell_away(self, waiting: Iterable[_Waiting]) -> None:
        for one in waiting:
            one.told(None)

    async def _send(self, packed: bytes) -> Answers | None:
        """None: no answer in time."""
        client = self._client()
        try:
            if client is None:
                raise ConnectionError("no Redis is known")
            script = self._script_of(client)
            async with asyncio.timeout(self._wait_s):
                answer = cast("bytes", await script([], [self._own_id, round(self._life_s * 1000), packed]))
            found = answers(answer)
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
