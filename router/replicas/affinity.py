"""Requests that begin alike go to the same replica, so that its engine has the beginning in its prefix cache.

Law: the beginning of the messages (or prompt) is hashed to one of 1,024 shares; a share belongs to the replica that wins it
(rendezvous hash), so that a replica that comes or goes moves no share but those it wins. Where the winner has more than 1.25 times the
mean number of requests, with those that wait in its engine, the next one in the share's order is asked. Orders are made once per share
and set of replicas: a request costs one hash and one look-up, however many replicas there are. All routers come to the same order.
Pure; nothing is decoded.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from heapq import nlargest
from typing import Final, Generic, Protocol, TypeVar

PREFIX_BYTES: Final = 1024  # about 250 tokens; a shorter common beginning is not worth a crowd
_SHARES: Final = 1024
_ASKED: Final = 4
_64: Final = (1 << 64) - 1
_WINDOW_BYTES: Final = 16 * 1024
_BEGINNINGS: Final = (b'"messages"', b'"prompt"', b'"input"')  # inside a string the quotes would be escaped


class Placed(Protocol):
    """`seed`: a number of the replica, the same in every router."""

    @property
    def seed(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def queued(self) -> int: ...


P = TypeVar("P", bound=Placed)


def share_of(body: bytes) -> int | None:
    """The share that a request's beginning falls to; None: it has none that can be found without reading it."""
    for key in _BEGINNINGS:
        at = body.find(key, 0, _WINDOW_BYTES)
        if at >= 0:
            return zlib.crc32(body[at : at + PREFIX_BYTES]) % _SHARES
    return None


class Shares(Generic[P]):
    """The replicas of one model, and who owns which share."""

    __slots__ = ("_orders", "_replicas", "is_choice")

    def __init__(self, replicas: Sequence[P]) -> None:
        self._replicas = replicas
        self.is_choice = len(replicas) > 1
        self._orders: dict[int, list[P]] = {}

    def near(self, share: int, total_in_flight: int) -> P | None:
        """The first in the share's order that is not busier than others; None: those asked all are."""
        most = -(-5 * (total_in_flight + 1) // (4 * len(self._replicas)))  # 1.25 x the mean with this request, rounded up
        for replica in self._orders.get(share) or self._order(share):
            if replica.in_flight + replica.queued < most:
                return replica
        return None

    def _order(self, share: int) -> list[P]:
        order = self._orders[share] = nlargest(_ASKED, self._replicas, key=lambda replica: _weight(share, replica.seed))
        return order


def _weight(share: int, seed: int) -> int:
    """A 64-bit mix (splitmix64): cheaper than a digest, and unlike the hash of a tuple evenly spread for small numbers."""
    mixed = (seed + share * 0x9E3779B97F4A7C15) & _64
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _64
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _64
    return mixed ^ mixed >> 31
