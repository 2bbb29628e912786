"""How many requests are at each model, and who waits for one to have room.

Law: a model never has more requests than its limit, all models together never more than `most`; at most `most_waiting` wait for one
model, each for a bounded time. Whoever cannot wait goes elsewhere. Thread-safe; the only lock it takes is its own.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping


class Slots:
    """`wait_s`: the longest wait of a request for one model."""

    def __init__(self, most: int, most_waiting: int, wait_s: float) -> None:
        self.most = most
        self.most_waiting = most_waiting
        self.wait_s = wait_s
        self._active: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._freed = threading.Condition()

    def active(self) -> Mapping[str, int]:
        """By model, now."""
        with self._freed:
            return dict(self._active)

    def waiting(self) -> Mapping[str, int]:
        with self._freed:
            return {model: count for model, count in self._waiting.items() if count}

    def take(self, model_id: str, limit: int) -> bool:
        """False: it has no room, and none in time."""
        with self._freed:
            if not self._has_room(model_id, limit):
                if self._waiting[model_id] >= self.most_waiting:
                    return False
                self._waiting[model_id] += 1
                try:
                    if not self._freed.wait_for(lambda: self._has_room(model_id, limit), self.wait_s):
                        return False
                finally:
                    self._waiting[model_id] -= 1
            self._active[model_id] += 1
            return True

    def give_back(self, model_id: str) -> None:
        with self._freed:
            self._active[model_id] -= 1
            self._freed.notify_all()

    def _has_room(self, model_id: str, limit: int) -> bool:
        return self._active[model_id] < limit and self._active.total() < self.most
