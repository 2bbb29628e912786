"""How many requests a model may have at once, shared out over its replicas (model.max_concurrent, provider.max_concurrent).

Law: the shares of one process add up to the limit, and no two differ by more than one. What does not fit waits in the waiting room or goes
elsewhere, as while the model is cold (router.relay.waiting), so that the queue is bounded by `router.max_held`.
Pure; a replica whose share is what it was is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from router.replicas.ramp import NO_LIMIT


class Capped(Protocol):
    @property
    def ceiling(self) -> int: ...
    def cap(self, most: int) -> None: ...


def shares(most: int, count: int) -> list[int]:
    """`most` 0: no limit."""
    if not most:
        return [NO_LIMIT] * count
    return [most // count + (at < most % count) for at in range(count)]


def share_out(warm: Mapping[str, Sequence[Capped]], most_of: Callable[[str], int]) -> None:
    """`most_of`: the limit of a model or provider; 0: none."""
    for name, replicas in warm.items():
        for replica, most in zip(replicas, shares(most_of(name), len(replicas)), strict=True):
            if replica.ceiling != most:
                replica.cap(most)
