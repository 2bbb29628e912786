"""Which session is forgotten when a table is full: the least recently used one of whoever has the most.

Law: so nobody's sessions push out those of somebody who has fewer, however many ids a hostile caller makes up. Among owners with equally
many, the one that came to that number first. Every step takes the same time, however many owners there are. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Owners:
    """Items in order of use, by owner."""

    __slots__ = ("_by_count", "_items", "_most")

    def __init__(self) -> None:
        self._items: dict[Hashable, OrderedDict[str, None]] = {}
        self._by_count: dict[int, OrderedDict[Hashable, None]] = {}
        self._most = 0

    def add(self, item: str, owner: Hashable) -> None:
        """As the most recently used one of its owner."""
        items = self._items.setdefault(owner, OrderedDict())
        items[item] = None
        self._moved(owner, len(items) - 1, len(items))

    def use(self, item: str, owner: Hashable) -> None:
        self._items[owner].move_to_end(item)

    def remove(self, item: str, owner: Hashable) -> None:
        items = self._items[owner]
        del items[item]
        if not items:
            del self._items[owner]
        self._moved(owner, len(items) + 1, len(items))

    def last(self) -> str:
        """The item to forget. Raises: KeyError: there is none."""
        owner = next(iter(self._by_count[self._most]))
        return next(iter(self._items[owner]))

    def count(self, owner: Hashable) -> int:
        return len(self._items.get(owner, ()))

    def _moved(self, owner: Hashable, before: int, after: int) -> None:
        """An owner has one more or one less; `_most` follows, because counts change by one."""
        if before:
            del self._by_count[before][owner]
            if not self._by_count[before]:
                del self._by_count[before]
        if after:
            self._by_count.setdefault(after, OrderedDict())[owner] = None
        if after > self._most or (before == self._most and before not in self._by_count):
            self._most = after
