"""Failures that an operator asks for, to see what the rest of the system makes of them.

Law: a model or provider that is to fail takes no new connections from this router, and nothing else is changed: breaker, retry and
fallback do what they would do if it were gone. Answers under way go on. Every simulation has an end, at most ten minutes ahead; what it
still is stands in /health, and a request that it moved says `moved=simulated` in x-route.
"""

from __future__ import annotations

import asyncio
from typing import Final

from router.errors import SimulatedFailure, UnknownModel
from router.plane import DataPlane
from router.replicas.replica import Replica
from router.wire.upstream import Connection, Pool

LONGEST_S: Final = 600.0
_LOOK_S: Final = 0.25


class Unreachable(Pool):
    """In place of a replica's pool, which it gives back at the end."""

    __slots__ = ("behind",)

    def __init__(self, behind: Pool) -> None:
        self.behind = behind

    def __len__(self) -> int:
        return len(self.behind)

    def take(self) -> Connection | None:
        return None

    async def dial(self, timeout_s: float) -> Connection:  # noqa: ARG002 - as a pool's
        raise SimulatedFailure("its failure is simulated")

    def give_back(self, connection: Connection) -> None:
        self.behind.give_back(connection)

    def forget(self, connection: Connection) -> None:
        self.behind.forget(connection)

    def retire(self) -> None:
        self.behind.retire()

    def close(self) -> None:
        self.behind.close()


class Simulations:
    """Of one router process."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._until: dict[str, float] = {}

    def check(self, name: str) -> None:
        """Raises: UnknownModel: no model or provider has this name."""
        if name not in self._plane.catalogue.models and name not in self._plane.catalogue.providers:
            raise UnknownModel(name)

    def start(self, name: str, for_s: float) -> None:
        """From now on; 0: no longer. A name that is not known here changes nothing."""
        now = self._plane.clock()
        self._until[name] = now + min(for_s, LONGEST_S)
        self._plane.simulated.setdefault(name, now)
        self.sweep(now)

    async def sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if self._until:
                self.sweep(self._plane.clock())

    def sweep(self, now: float) -> None:
        """Ends what is over; replicas that came meanwhile fail too."""
        plane = self._plane
        for name in [name for name, until in self._until.items() if now >= until]:
            del self._until[name]
            plane.simulated.pop(name, None)
        for replica in (*plane.replicas(), *plane.providers.values()):
            _set(replica, fails=replica.model in self._until)


def _set(replica: Replica, *, fails: bool) -> None:
    pool = replica.pool
    if isinstance(pool, Unreachable):
        if not fails:
            replica.pool = pool.behind
    elif fails:
        replica.pool = Unreachable(pool)
