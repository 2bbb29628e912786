"""The sums of this process on their way to the database: added to as requests end, written every two seconds in a thread.

Law: what could not be written stays and is tried again; while the database is away at most `MOST_ROWS` rows wait (a row is an hour of one
tenant, route and model, so that is weeks), and what no longer fits is counted as lost and said. Reading adds what waits to what is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from router.analytics import sums
from router.analytics.sums import HOUR_S, Key, Sums
from router.answered import Answered
from router.errors import AnalyticsAway

log = logging.getLogger(__name__)

MOST_ROWS: Final = 10_000
KEPT_S: Final = 400 * 24 * HOUR_S
_EVERY_S: Final = 2.0
_MOST_FACTS: Final = 50_000


class Store(Protocol):
    """Blocks; see database.Database. Raises: AnalyticsAway"""

    def add(self, rows: dict[Key, Sums], /) -> None: ...
    def read(self, since: int, until: int, /) -> dict[Key, Sums]: ...
    def forget(self, before: int, /) -> None: ...


class Kept:
    """A listener of router.records.usage. `wall`: seconds since the epoch. `lost`: requests whose sums did not fit."""

    def __init__(self, store: Store, wall: Callable[[], float], most_rows: int = MOST_ROWS) -> None:
        self.lost = 0
        self.is_away = False
        self._store = store
        self._wall = wall
        self._most_rows = most_rows
        self._facts: list[Answered] = []
        self._rows: dict[Key, Sums] = {}
        self._thread = ThreadPoolExecutor(1, "analytics")
        self._forgot_at = 0.0

    def noted(self, facts: Answered) -> None:
        if len(self._facts) < _MOST_FACTS:
            self._facts.append(facts)
        else:
            self.lost += 1

    async def write_forever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Everything that has been noted so far, if the database answers."""
        self._sum_up()
        if not self._rows and self._forgot_at:
            return
        sent, self._rows = self._rows, {}
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, sent)
        except AnalyticsAway as error:
            sums.added(self._rows, sent.items())
            self._say(away=True, why=str(error))
        else:
            self._say(away=False, why="")

    def _write(self, rows: dict[Key, Sums]) -> None:
        self._store.add(rows)
        now = self._wall()
        if now - self._forgot_at > HOUR_S:
            self._store.forget(int(now - KEPT_S))
            self._forgot_at = now

    async def read(self, since: int, until: int) -> dict[Key, Sums]:
        """Raises: AnalyticsAway"""
        await self.write()
        rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._store.read, since, until)
        sums.added(rows, ((key, waiting) for key, waiting in self._rows.items() if since <= key.hour < until))
        return rows

    async def close(self) -> None:
        """Writes what is left, if the database answers."""
        await self.write()
        self._thread.shutdown(wait=False)

    def _sum_up(self) -> None:
        taken, self._facts = self._facts, []
        for facts in taken:
            for key, more in sums.of(facts):
                if key in self._rows or len(self._rows) < self._most_rows:
                    self._rows[key] = self._rows.get(key, sums.NOTHING) + more
                else:
                    self.lost += more.requests

    def _say(self, *, away: bool, why: str) -> None:
        if away and not self.is_away:
            log.warning("%s; the sums of requests wait here", why, extra={"event": "analytics_lost"})
        elif self.is_away and not away:
            log.info("the database of the analytics answers again", extra={"event": "analytics_back"})
        if self.lost and not away:
            log.warning(
                "%d requests are missing in the analytics: there was no room to keep them", self.lost, extra={"event": "analytics_lost"}
            )
            self.lost = 0
        self.is_away = away
