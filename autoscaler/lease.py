"""Who acts: one autoscaler of a fleet holds a lock in Consul, the others stand by and take it when it is gone.

    standing   event                 next      meaning
    standby    the lock is free      leader    a new term: what the last leader left is read afresh
    leader     renewed               leader
    leader     session ended         standby   Consul gave us up: we were silent for too long
    leader     Consul is silent      standby   once the last renewal is older than the session may be, which is before Consul ends it

Laws: a leader stops by its own clock before anybody else can start, it asks Consul once more before each order (`confirm`), and it
writes to Consul only behind its `fence`. A leader that ends in peace gives the lock back; one that dies is replaced within
2 x TTL + lock delay + one step, 23 s. Says nothing about what a leader does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from fleet.consul import Consul, Fence
from fleet.errors import ControlPlaneError
from fleet.state import Leader, decode_leader, encode

TTL_S = 10  # the least that Consul allows; it ends a session after twice this at the latest
LOCK_DELAY_S = 1
STEP_S = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """`term` grows with each time this one comes to lead. `hands_off`: why it does not act, or empty."""

    term: int = 0
    hands_off: str = "stands by: no leader is known yet"

    @property
    def leads(self) -> bool:
        return not self.hands_off


class Lease(Protocol):
    def standing(self) -> Standing: ...

    async def confirm(self) -> bool:
        """Whether Consul, asked now, agrees that this one leads. Raises: ControlPlaneError."""


@dataclass(slots=True)
class ConsulLease:
    """`me.since` is filled in when it comes to lead. `clock`: seconds that never jump; `wall`: seconds since the epoch."""

    consul: Consul
    key: str
    me: Leader
    clock: Callable[[], float]
    wall: Callable[[], float]
    changed: Callable[[Standing], None] = lambda _: None
    _standing: Standing = field(default_factory=Standing)
    _session: str = ""
    _renewed_at: float = 0.0

    def standing(self) -> Standing:
        if self._standing.leads and self.clock() - self._renewed_at >= TTL_S:
            self._stand_by(f"stands by: Consul has not answered for {TTL_S} s, so another one may lead")
        return self._standing

    async def confirm(self) -> bool:
        if not self.standing().leads:
            return False
        holder, _ = await self.consul.holder(self.key)
        if holder != self._session:
            self._stand_by("stands by: the lock was taken away")
        return self.standing().leads

    def fence(self) -> Fence:
        return Fence(self.key, self._session)

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until `stop` is set, then gives the lock back."""
        while not stop.is_set():
            await self.step()
            try:
                async with asyncio.timeout(STEP_S):
                    await stop.wait()
            except TimeoutError:
                continue
        await self._leave()

    async def step(self) -> None:
        """Renews, or tries to take the lock. A silent Consul is no error: `standing` knows what it means."""
        try:
            await self._step()
        except ControlPlaneError as error:
            if not self.standing().leads:
                self._stand_by(f"stands by: {error}")

    async def _step(self) -> None:
        asked_at = self.clock()
        if self._session and not await self.consul.renew_session(self._session):
            self._session = ""
            self._stand_by("stands by: Consul ended the session, after too long a silence")
        if not self._session:
            self._session = await self.consul.open_session(f"autoscaler {self.me.name}", ttl_s=TTL_S, lock_delay_s=LOCK_DELAY_S)
        self._renewed_at = asked_at
        if not self.standing().leads:
            await self._try()

    async def _try(self) -> None:
        mine = replace(self.me, since=self.wall())
        if await self.consul.acquire(self.key, encode(mine), self._session):
            self._become(Standing(self._standing.term + 1, ""))
            return
        holder, document = await self.consul.holder(self.key)
        other = decode_leader(document)
        self._stand_by(f"stands by: {other.name if other else 'another one'} leads" if holder else "stands by: the lock is not free yet")

    async def _leave(self) -> None:
        if not self._session:
            return
        try:
            if self._standing.leads:
                await self.consul.release(self.key, b"", self._session)
            await self.consul.close_session(self._session)
        except ControlPlaneError:
            return  # it ends by itself
        finally:
            self._stand_by("stands by: it was told to stop")

    def _stand_by(self, why: str) -> None:
        self._become(Standing(self._standing.term, why))

    def _become(self, standing: Standing) -> None:
        if standing != self._standing:
            self._standing = standing
            self.changed(standing)
