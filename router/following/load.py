"""How long the queues inside the engines are, read from their GET /metrics beside the requests.

    every replica once in 2 s, evenly spaced ──► GET /metrics ──► Replica.queued ──► select
                                                    └─ fails ──► 0: unknown

Law: bounded work. At most 50 readings are begun in a second, one at a time of a replica, each has 5 s (a busy engine is slow to tell) and
4 MB; so many replicas are asked more seldom. What a replica said counts for 10 s. A reading that fails is no strike and delays nobody:
whether a replica works is for the requests to find out. What others send to the same engines is seen only here, which is why it is asked
for; requests pay one addition.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from router.following.reported import queued
from router.replicas.replica import Replica
from router.wire.upstream import Connection, Pool

EVERY_S: Final = 2.0
STALE_S: Final = 10.0
_SHORTEST_S: Final = 1 / 50
_TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 4 * 1024**2
_REQUEST: Final = b"GET /metrics HTTP/1.1\r\n%b\r\n"


class Fleet(Protocol):
    """`clock`: monotonic seconds."""

    def clock(self) -> float: ...
    def replicas(self) -> list[Replica]: ...


class Load:
    """One per process. What it finds stands in `Replica.queued`."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._seen_at: dict[Replica, float] = {}  # oldest first
        self._reading: dict[Replica, asyncio.Task[None]] = {}

    async def read_forever(self) -> None:
        try:
            while True:
                await self._round(self._fleet.replicas())
        finally:
            for task in tuple(self._reading.values()):
                task.cancel()

    async def _round(self, replicas: list[Replica]) -> None:
        pause_s = pause(len(replicas))
        if not replicas:
            await asyncio.sleep(pause_s)
        for replica in replicas:
            await asyncio.sleep(pause_s)
            if replica not in self._reading:
                self._reading[replica] = asyncio.create_task(self._read(replica))
            self.forget(self._fleet.clock())

    async def _read(self, replica: Replica) -> None:
        try:
            text = await read(replica.pool, replica.host_line)
        finally:
            del self._reading[replica]
        self.say(replica, queued(text), self._fleet.clock())

    def say(self, replica: Replica, waiting: int | None, now: float) -> None:
        """A replica's queue was read; None: that failed."""
        self._seen_at.pop(replica, None)
        if waiting is not None:
            self._seen_at[replica] = now
            replica.loaded()
        replica.queued = waiting or 0

    def forget(self, now: float) -> None:
        """What was said too long ago counts nothing."""
        while self._seen_at:
            replica, at = next(iter(self._seen_at.items()))
            if now - at <= STALE_S:
                return
            del self._seen_at[replica]
            replica.queued = 0


def pause(replicas: int) -> float:
    """Seconds between two readings."""
    return max(EVERY_S / max(replicas, 1), _SHORTEST_S)


async def read(pool: Pool, host_line: bytes) -> bytes:
    """The text of GET /metrics; empty where it could not be had. Raises nothing."""
    answer = _Answer()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            connection = pool.take() or await pool.dial(_TIMEOUT_S)
            connection.send(answer, _REQUEST % host_line, b"")
            try:
                return await answer.text
            finally:
                connection.release()
    except OSError:  # TimeoutError is one
        return b""


class _Answer:
    """A receiver of its connection."""

    def __init__(self) -> None:
        self.text: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._size = 0

    def received(self, connection: Connection) -> None:
        self._parts += connection.parts
        self._size += sum(map(len, connection.parts))
        connection.parts.clear()
        if self._size > _MOST_BYTES or connection.status != 200:
            self._end(b"")
        elif connection.complete:
            self._end(b"".join(self._parts))

    def broke(self, _connection: Connection, _why: str) -> None:
        self._end(b"")

    def _end(self, text: bytes) -> None:
        self._parts = []
        if not self.text.done():
            self.text.set_result(text)
