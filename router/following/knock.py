"""Engines that were gone and are back: an ejected replica is knocked at once a second, by a TCP connect that is no request.

Law: a replica that refused a connection and now takes one has been started again, so its breaker may let its one probe through at once
instead of after its full time. One that took connections all the while (and reset them, or answered with failures) gets no such favour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from router.replicas.breaker import Event, State
from router.replicas.replica import Replica


class Knocks:
    """`timeout_s`: of a connect."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._under_way: dict[Replica, asyncio.Task[None]] = {}

    def sweep(self, replicas: Iterable[Replica], now: float) -> None:
        """Call it once a second. `now`: monotonic seconds."""
        for replica in replicas:
            if replica.breaker.state is State.OPEN and now < replica.breaker.open_until and replica not in self._under_way:
                self._under_way[replica] = asyncio.get_running_loop().create_task(self._knock(replica, now))

    async def _knock(self, replica: Replica, now: float) -> None:
        try:
            connection = await replica.pool.dial(self._timeout_s)
        except OSError:
            replica.refused = True
            return
        finally:
            del self._under_way[replica]
        replica.pool.give_back(connection)
        if replica.refused:
            replica.refused = False
            replica.report(Event.REACHED, now)
