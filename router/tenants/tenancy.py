"""Tenants, and what is told of each request, as a description has them: put together, and together again when it changes.

For router.app, which has enough to do. The usage log is opened once; whoever else wants to hear of requests is in `listeners`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Coroutine, Iterator
from typing import Any

from fleet.model import Spec
from router.lending.books import RedisBooks
from router.models.prices import Prices
from router.plane import DataPlane
from router.records.usage import Listener, Usage
from router.records.usage_log import OFF, UsageLog
from router.sessions.redis import RedisSessions
from router.tenants.gate import Gate


class Tenancy:
    """`spec`: what the router was started with. `books`: where limits are kept for all routers."""

    def __init__(self, spec: Spec, plane: DataPlane, store: RedisSessions) -> None:
        self.listeners: list[Listener] = []
        self._plane = plane
        self.books = RedisBooks(lambda: store.client, time.monotonic, secrets.token_hex(8))
        self._log = UsageLog(spec.router.usage_log, plane.wall) if spec.router.usage_log != OFF else None
        if self._log is not None:
            self.listeners.append(self._log)

    def take(self, spec: Spec) -> None:
        """Puts a description into force."""
        plane = self._plane
        prices = Prices({model.name: model.cost for model in spec.models} | {provider.name: provider.cost for provider in spec.providers})
        plane.gate = None
        if spec.tenants:
            plane.gate = Gate(spec, plane.catalogue, prices, self.books, recorder=plane.recorder, wall=plane.wall)
        plane.usage = Usage(prices, plane.wall, self.listeners) if spec.tenants or self.listeners else None

    def parts(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What runs beside the requests."""
        yield self.books.serve_forever()
        if self._log is not None:
            yield self._log.lines.write_forever()

    async def close(self) -> None:
        """Settles and writes what is left."""
        await self.books.close()
        if self._log is not None:
            await self._log.lines.write_queued()
