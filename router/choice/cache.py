"""Decisions that still hold: the same question, of the same candidates, not long ago.

Law: an entry lives for 300 s and as long as the version of the candidates that it was made of is the current one; the least recently
used of 1,000 goes first. The clock is an argument, in seconds. Not for decisions that rest on what changes from one to the next
(round robin, least loaded): those are not put here.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from router.choice.candidate import Candidate

TTL_S: Final = 300.0
SIZE: Final = 1000

V = TypeVar("V")


class DecisionCache(Generic[V]):
    """`hits` and `misses` count look-ups."""

    __slots__ = ("_entries", "_size", "_ttl_s", "hits", "misses")

    def __init__(self, ttl_s: float = TTL_S, size: int = SIZE) -> None:
        self._entries: OrderedDict[Hashable, tuple[float, Hashable, V]] = OrderedDict()
        self._ttl_s = ttl_s
        self._size = size
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, version: Hashable, now: float) -> V | None:
        entry = self._entries.get(key)
        if entry is not None and entry[1] == version and now < entry[0]:
            self._entries.move_to_end(key)
            self.hits += 1
            return entry[2]
        if entry is not None:
            del self._entries[key]
        self.misses += 1
        return None

    def put(self, key: Hashable, version: Hashable, value: V, now: float) -> None:
        self._entries[key] = (now + self._ttl_s, version, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()


def alike(text: str) -> bytes:
    """The same for questions that differ in case and white space only."""
    return hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "replace"), digest_size=16).digest()


def fingerprint(candidate: Candidate) -> Hashable:
    """Changes when something about a candidate has moved that may change a decision: its speed by a fifth, its load by a quarter."""
    return (
        candidate.name,
        round(math.log(max(candidate.latency_ms, 0.001), 1.2)),
        round(candidate.success_rate * 10),
        int(candidate.load * 4),
        candidate.limit,
    )
