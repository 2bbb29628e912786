"""The waiting room: requests for which no replica has room now, by the models that each of them waits for.

Law: bounded in number and bytes; one fair queue for every list of models (router.cold.queue), so that a request whose model has no room
keeps nobody back who waits for another one. `release` lets the heads of the queues start as long as they can; it is called when
replicas come, when answers end, and by the sweep. No timer and no task: a waiting request costs its memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Protocol

from router.cold.queue import FairQueue


class Waiting(Protocol):
    """A request in the room. `wanted` is the model that its demand is for, `chain` what it would take."""

    @property
    def chain(self) -> tuple[str, ...]: ...
    @property
    def wanted(self) -> str: ...
    @property
    def tenant(self) -> Hashable: ...
    @property
    def size_bytes(self) -> int: ...
    def go(self) -> bool:
        """Leaves the room and starts, if a replica has room. False: none has."""


class Room:
    __slots__ = ("_held", "_most", "_most_bytes", "_queues", "_releasing", "size", "size_bytes")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._queues: dict[tuple[str, ...], FairQueue[Waiting]] = {}
        self._held: Counter[str] = Counter()
        self._releasing = False
        self.size = 0
        self.size_bytes = 0

    def held(self, model: str) -> int:
        """Requests that wait and whose demand is for a model."""
        return self._held[model]

    def has(self, chain: tuple[str, ...]) -> bool:
        """Somebody waits for these models: who comes now must not overtake."""
        return chain in self._queues

    def enter(self, waiting: Waiting) -> bool:
        """False: the room is full."""
        if self.size >= self._most or self.size_bytes + waiting.size_bytes > self._most_bytes:
            return False
        self._queues.setdefault(waiting.chain, FairQueue()).push(waiting, waiting.tenant)
        self._count(waiting, 1)
        return True

    def leave(self, waiting: Waiting, *, served: bool = False) -> None:
        """`served`: it had its turn. One that is not in the room is nothing."""
        queue = self._queues.get(waiting.chain)
        if queue is None or waiting not in queue:
            return
        if served:
            queue.serve(waiting)
        else:
            queue.leave(waiting)
        if not queue:
            del self._queues[waiting.chain]
        self._count(waiting, -1)

    def release(self) -> None:
        """Lets in whoever can start, in order. What a start brings about may call this again; that changes nothing."""
        if self._releasing or not self.size:
            return
        self._releasing = True
        try:
            for queue in tuple(self._queues.values()):
                while (waiting := queue.head()) is not None and waiting.go():
                    pass
        finally:
            self._releasing = False

    def _count(self, waiting: Waiting, by: int) -> None:
        self.size += by
        self.size_bytes += by * waiting.size_bytes
        self._held[waiting.wanted] += by
