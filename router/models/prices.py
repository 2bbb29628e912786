"""What an answer costs: tokens times the price of who answered, in whole nanodollars, so that sums over many routers stay exact.

A model without a price is free. What costs a fraction of a nanodollar is rounded up, so that nothing that has a price is free. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from fleet.model import Price

NANO: Final = 1_000_000_000
_PER_TOKEN: Final = NANO / 1000  # prices are per 1,000 tokens
_ROUNDING: Final = 1e-6  # what a float may be off by is not a nanodollar


class Rate(NamedTuple):
    """Nanodollars per token."""

    input: float
    output: float

    def cost(self, input_tokens: int, output_tokens: int) -> int:
        """Nanodollars."""
        exact = input_tokens * self.input + output_tokens * self.output
        return math.ceil(exact - _ROUNDING) if exact else 0


FREE: Final = Rate(0.0, 0.0)


def rate(price: Price) -> Rate:
    return Rate(price.input * _PER_TOKEN, price.output * _PER_TOKEN)


class Prices:
    """By the name of a model or provider."""

    __slots__ = ("_rates",)

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._rates = {name: rate(price) for name, price in prices.items() if price.input or price.output}

    def of(self, name: str) -> Rate:
        return self._rates.get(name, FREE)

    def highest(self, names: Iterable[str]) -> Rate:
        """What any of these could cost at most."""
        known = [self._rates[name] for name in names if name in self._rates] if self._rates else ()
        return Rate(max(one.input for one in known), max(one.output for one in known)) if known else FREE


def usd(nano: int) -> str:
    """An amount for people: `$0.0125`."""
    return f"${nano / NANO:.6f}".rstrip("0").rstrip(".")
