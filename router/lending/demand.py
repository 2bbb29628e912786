"""What was asked of one tenant's limits lately, and from that how large a slice of them a worker should have.

Law: two ticks count, the one under way and the one before. A slice is for twice the busier one, so that it lasts until it is renewed
while demand doubles; who asked for fewer than four requests needs none. Pure; whoever has a clock calls `turn` at every tick.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TICK_S: Final = 0.25
_AHEAD: Final = 2
_FEWEST: Final = 4


class Amounts(NamedTuple):
    """`money` in nanodollars."""

    requests: int = 0
    tokens: int = 0
    money: int = 0

    def __sub__(self, other: Amounts) -> Amounts:
        """What is above the other; nothing is below 0."""
        return Amounts(max(0, self[0] - other[0]), max(0, self[1] - other[1]), max(0, self[2] - other[2]))


NOTHING: Final = Amounts()


class Demand:
    """`requests`, `tokens`, `money`: asked for in the tick under way; whoever sees a request adds to them."""

    __slots__ = ("_before", "money", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = self.tokens = self.money = 0
        self._before = NOTHING

    def turn(self) -> None:
        """A tick is over."""
        self._before = Amounts(self.requests, self.tokens, self.money)
        self.requests = self.tokens = self.money = 0

    def forget(self) -> None:
        """Nobody will ask any more."""
        self.turn()
        self._before = NOTHING

    @property
    def is_none(self) -> bool:
        return self.requests + self._before.requests == 0

    @property
    def slice(self) -> Amounts:
        """What to ask for."""
        before = self._before
        if self.requests + before.requests < _FEWEST:
            return NOTHING
        busier = max(self.requests, before.requests), max(self.tokens, before.tokens), max(self.money, before.money)
        return Amounts(*(_AHEAD * amount for amount in busier))

    @property
    def usual(self) -> Amounts:
        """One request, as they have been."""
        before = self._before
        count = max(1, self.requests + before.requests)
        return Amounts(1, (self.tokens + before.tokens) // count, (self.money + before.money) // count)
