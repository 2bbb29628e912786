"""One row of kills in which every order of the parts occurs: a superpermutation.

With 1 symbol it is that symbol. With n, each order in the row for n - 1 is written out twice with the new symbol between, and what one
order shares with the next is written once. For five parts that is 153 kills, the fewest there can be, and each of the 120 orders is five
kills in a row. Values only; who is killed, and how, is tests.journeys.chaos's matter.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

PARTS = ("engines", "router", "redis", "consul", "nomad")


def walk(parts: Sequence[str], seed: int = 0) -> tuple[str, ...]:
    """A row with every order of the parts. `seed`: which part has which place in it; 0: as they are given."""
    placed = list(parts)
    if seed:
        random.Random(seed).shuffle(placed)
    return _row(tuple(placed))


def _row(parts: tuple[str, ...]) -> tuple[str, ...]:
    if len(parts) < 2:
        return parts
    row: tuple[str, ...] = ()
    for order in orders_in(_row(parts[:-1]), len(parts) - 1):
        row = _joined(row, (*order, parts[-1], *order))
    return row


def orders_in(row: Sequence[str], size: int) -> tuple[tuple[str, ...], ...]:
    """Every order of `size` different parts that stands in a row, each once, in the order of their first place."""
    windows = (tuple(row[at : at + size]) for at in range(len(row) - size + 1))
    return tuple(dict.fromkeys(window for window in windows if len(set(window)) == size))


def go_on_at(start: int, done: int, size: int) -> int:
    """Where to start again after `done` kills from `start` on (both from 1), so that no order is lost: those cut off begin anew."""
    return max(start, start + done - size + 1)


def _joined(row: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    shared = next(count for count in range(min(len(row), len(more)), -1, -1) if row[len(row) - count :] == more[:count])
    return row + more[shared:]
