"""Analytics as a description has them: a database and what waits for it, or only the counters. For router.app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any

from fastapi import APIRouter

from fleet import names
from fleet.errors import Finding, SpecError
from fleet.model import Spec
from router.analytics import api
from router.analytics.kept import Kept
from router.health.ledger import Report
from router.plane import DataPlane
from router.records.usage import Listener


class Analytics:
    """`listeners`: what wants to hear of requests: one, or none."""

    def __init__(self, spec: Spec, environment: Mapping[str, str], wall: Callable[[], float]) -> None:
        """Raises: SpecError: a database is wanted, and its library is not installed."""
        self._database = _database(spec, environment) if spec.router.analytics else None
        self._kept = Kept(self._database, wall) if self._database is not None else None
        self.listeners: list[Listener] = [self._kept] if self._kept is not None else []

    def parts(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What runs beside the requests."""
        if self._kept is not None:
            yield self._kept.write_forever()

    def routes(self, plane: DataPlane, everyone: Callable[[], Awaitable[Report]]) -> APIRouter:
        return api.routes(plane, self._kept, self._database.kind if self._database is not None else "counters", everyone)

    async def close(self) -> None:
        if self._kept is not None and self._database is not None:
            await self._kept.close()
            self._database.close()


def _database(spec: Spec, environment: Mapping[str, str]) -> Any:
    try:
        from router.analytics.database import Database  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        message = f"needs what is not installed here ({error.name}): install the extra `analytics`, or leave the setting empty"
        raise SpecError((Finding(names.ENV_SPEC, "router.analytics", message),)) from error
    return Database(spec.router.analytics, environment.get(names.ENV_ANALYTICS_PASSWORD, ""), spec.fleet.name)
