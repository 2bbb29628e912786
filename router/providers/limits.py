"""A provider's rate limits, kept on our side: requests and tokens in any 60 seconds.

Law: a window holds what was begun in the last 60 s; once it holds its limit, nothing more begins until enough of it is older. A request
is charged with an estimate of its tokens when it begins and with the real number when it has ended. A limit is that of the whole fleet:
each of its router processes keeps to an equal share, so that all together never exceed it. Pure: time is an argument.
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0


class Charge:
    """What one request weighs, from when on."""

    __slots__ = ("amount", "at")

    def __init__(self, at: float, amount: int) -> None:
        self.at = at
        self.amount = amount


class Window:
    """`limit`: 0: none."""

    __slots__ = ("_charges", "_limit", "total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._charges: deque[Charge] = deque()
        self.total = 0

    def charge(self, now: float, amount: int) -> Charge:
        self._forget(now)
        charge = Charge(now, amount)
        self._charges.append(charge)
        self.total += amount
        return charge

    def settle(self, charge: Charge, amount: int) -> None:
        """What it really weighed. One that is forgotten already stays so."""
        if self._charges and charge.at >= self._charges[0].at:
            self.total += amount - charge.amount
            charge.amount = amount

    def free_at(self, now: float) -> float:
        """When the next request may begin: `now`, or later."""
        self._forget(now)
        over = self.total - self._limit
        if not self._limit or over < 0:
            return now
        for charge in self._charges:
            over -= charge.amount
            if over < 0:
                return charge.at + WINDOW_S
        return now

    def _forget(self, now: float) -> None:
        while self._charges and self._charges[0].at + WINDOW_S <= now:
            self.total -= self._charges.popleft().amount


class Limits:
    """Both windows of one provider."""

    __slots__ = ("_requests", "_tokens")

    def __init__(self, requests_per_min: int, tokens_per_min: int, processes: int) -> None:
        self._requests = Window(share(requests_per_min, processes))
        self._tokens = Window(share(tokens_per_min, processes))

    def begin(self, now: float, tokens: int) -> Charge:
        """A request begins. Returns: what to settle."""
        self._requests.charge(now, 1)
        return self._tokens.charge(now, tokens)

    def settle(self, charge: Charge, tokens: int) -> None:
        self._tokens.settle(charge, tokens)

    def free_at(self, now: float) -> float:
        return max(self._requests.free_at(now), self._tokens.free_at(now))

    @property
    def used(self) -> tuple[int, int]:
        """Requests and tokens in the windows, as of the last question."""
        return self._requests.total, self._tokens.total


def share(limit: int, processes: int) -> int:
    """Of one process; one of a limit that is less than there are processes still gets 1."""
    return max(1, limit // max(1, processes)) if limit else 0
