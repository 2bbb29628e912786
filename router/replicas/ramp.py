"""Slow start: how many requests a fresh replica may have at once.

Law: it begins with a few and grows with every request that it has answered, so that the first, slow ones (compilation, cold caches)
are not a crowd. From the replica's capacity on there is no limit: engines queue for themselves, and know better.
Counted in answers, never in time: a replica that answers nothing gets no more. Pure.
"""

from __future__ import annotations

import sys
from typing import Final

FIRST: Final = 2
NO_LIMIT: Final = sys.maxsize


def start(concurrency: int) -> int:
    """The limit of a replica that has answered nothing yet."""
    return grown(FIRST, concurrency, by=0)


def grown(limit: int, concurrency: int, *, by: int = 2) -> int:
    """The limit after one more answer: two more at a time, so that a whole round of answers trebles it."""
    return NO_LIMIT if limit + by >= concurrency else limit + by
