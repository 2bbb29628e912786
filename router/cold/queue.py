"""A queue that is fair between tenants: each has its turn, however many requests another one has waiting.

Law: within a tenant first come, first served; between tenants one each in rotation, a new tenant last. Whoever leaves gives up its
place at once. Every step takes the same time, however long the queue is. Pure; bounds are the owner's matter.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items are told apart by hash and equality; each stands in it once."""

    __slots__ = ("_lines", "_tenants")

    def __init__(self) -> None:
        # OrderedDict, not dict: the first key of a dict from which many first keys were taken is found ever more slowly
        self._lines: OrderedDict[Hashable, OrderedDict[T, None]] = OrderedDict()
        self._tenants: dict[T, Hashable] = {}

    def __len__(self) -> int:
        return len(self._tenants)

    def __contains__(self, item: T) -> bool:
        return item in self._tenants

    def push(self, item: T, tenant: Hashable) -> None:
        self._tenants[item] = tenant
        self._lines.setdefault(tenant, OrderedDict())[item] = None

    def head(self) -> T | None:
        """Whose turn it is; None: empty."""
        for line in self._lines.values():
            return next(iter(line))
        return None

    def serve(self, item: T) -> None:
        """The item had its turn: it leaves, and its tenant goes to the end of the rotation. One that is not there is nothing."""
        tenant = self.leave(item)
        if tenant in self._lines:
            self._lines.move_to_end(tenant)

    def leave(self, item: T) -> Hashable:
        """The item leaves without a turn. Returns its tenant."""
        tenant = self._tenants.pop(item, None)
        line = self._lines.get(tenant)
        if line is not None:
            line.pop(item, None)
            if not line:
                del self._lines[tenant]
        return tenant
