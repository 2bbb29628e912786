"""How many further attempts the requests of one model may have: about one for five requests, and a small stock.

Law: a bucket that every request fills by a fifth and every further attempt empties by one, up to 50. It starts with 20, so that a quiet
model still survives the loss of a replica; a model whose replicas all fail costs its engines a fifth more requests, not three times as
many. Filled when it is asked, from the count of arrivals, so that a request that needs nothing costs nothing. Pure.
"""

from __future__ import annotations

from typing import Final

SHARE: Final = 0.2
START: Final = 20.0
MOST: Final = 50.0


class Budget:
    __slots__ = ("_seen", "_tokens")

    def __init__(self) -> None:
        self._tokens = START
        self._seen = 0

    def take(self, arrivals: int) -> bool:
        """One further attempt, if there is one left. `arrivals`: requests so far."""
        self._tokens = min(MOST, self._tokens + SHARE * (arrivals - self._seen))
        self._seen = arrivals
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def give(self) -> None:
        """The next one is free."""
        self._tokens = min(MOST, self._tokens + 1)
