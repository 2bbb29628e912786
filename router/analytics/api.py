"""GET /routing/analytics: what was used, failed and spent, in all, by model and provider, by route and by hour.

A tenant sees its own requests only. Without a database ([router] analytics) the numbers are those of this router since it started, without
hours: they come from its counters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from router.analytics import counted, sums
from router.analytics.kept import Kept
from router.analytics.sums import HOUR_S, Key, Sums
from router.errors import BadRequest
from router.health.ledger import Report, recorder
from router.models.prices import NANO
from router.pages.refusals import may
from router.plane import DataPlane
from router.tenants.door import visit_of

_DAY_S = 24 * HOUR_S
_MOST_HOURS = 1000


class Shown(BaseModel):
    """`failures`: attempts that failed. `average_latency_ms`: of the answered ones; None: there were none, or it is not known."""

    requests: int
    answered: int
    refused: int
    failed: int
    left: int
    failures: int
    success_rate: float | None
    input_tokens: int
    output_tokens: int
    cost: float
    average_latency_ms: float | None


class Named(Shown):
    name: str
    kind: Literal["model", "provider", "route", "hour"]


class Analytics(BaseModel):
    """Times are seconds since the epoch. `cursor`: of the next page of hours; None: there is none. `cost` in dollars."""

    source: Literal["sqlite", "postgresql", "counters"]
    since: float
    until: float
    total: Shown
    models: list[Named]
    routes: list[Named]
    hours: list[Named]
    cursor: int | None


def routes(
    plane: DataPlane, kept: Kept | None, source: Literal["sqlite", "postgresql", "counters"], everyone: Callable[[], Awaitable[Report]]
) -> APIRouter:
    """`kept`: None: there is no database."""
    api = APIRouter(tags=["routing"])

    @api.get("/routing/analytics", summary="What was used, failed and spent, by model, route and hour.", responses=may(503))
    async def analytics(
        request: Request,
        since: Annotated[float | None, Query(ge=0, le=1e11, description="seconds since the epoch; a day before the end")] = None,
        until: Annotated[float | None, Query(ge=0, le=1e11, description="seconds since the epoch; now")] = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_HOURS, description="hours a page")] = 168,
        cursor: Annotated[int, Query(ge=0, description="of the page before")] = 0,
    ) -> Analytics:
        """Of the last day unless `since` and `until` say otherwise; hours come newest first, `limit` of them a page."""
        if kept is None:
            rows = counted.rows(recorder(((await everyone()).numbers,)))
            visit = visit_of(request)
            if visit is not None:
                raise BadRequest("Without a database nothing is kept by tenant; ask who runs this to set [router] analytics.")
            return _shown(plane, rows, source, (plane.wall() - (plane.clock() - plane.began), plane.wall()), (0, 0))
        end = until if until is not None else plane.wall()
        begin = since if since is not None else end - _DAY_S
        if begin >= end:
            raise BadRequest("since must be before until; both are seconds since the epoch.", param="since")
        rows = await kept.read(int(begin // HOUR_S) * HOUR_S, int(end) + 1)
        visit = visit_of(request)
        own = rows if visit is None else {key: found for key, found in rows.items() if key.tenant == visit.name}
        return _shown(plane, own, source, (begin, end), (cursor, limit))

    return api


def _shown(plane: DataPlane, rows: Mapping[Key, Sums], source: Any, span: tuple[float, float], page: tuple[int, int]) -> Analytics:
    begin, count = page
    hours = sorted(sums.by(rows, "hour").items(), key=lambda one: -int(one[0])) if count else []
    return Analytics(
        source=source,
        since=span[0],
        until=span[1],
        total=Shown(**_fields(sums.total(rows))),
        models=[_named(plane, name, found) for name, found in sums.named(sums.by(rows, "model")).items()],
        routes=[Named(name=name, kind="route", **_fields(found)) for name, found in sums.by(rows, "route").items() if found.requests],
        hours=[Named(name=_iso(hour), kind="hour", **_fields(found)) for hour, found in hours[begin : begin + count]],
        cursor=begin + count if begin + count < len(hours) else None,
    )


def _named(plane: DataPlane, name: str, found: Sums) -> Named:
    return Named(name=name, kind="provider" if name in plane.catalogue.providers else "model", **_fields(found))


def _iso(hour: str) -> str:
    return datetime.fromtimestamp(int(hour), UTC).strftime("%Y-%m-%dT%H:00:00Z")


def _fields(found: Sums) -> dict[str, Any]:
    judged = found.answered + found.failed + found.failures
    return {
        "requests": found.requests,
        "answered": found.answered,
        "refused": found.refused,
        "failed": found.failed,
        "left": found.left,
        "failures": found.failures,
        "success_rate": round(found.answered / judged, 6) if judged else None,
        "input_tokens": found.input_tokens,
        "output_tokens": found.output_tokens,
        "cost": found.cost_nano / NANO,
        "average_latency_ms": round(found.latency_us / found.answered / 1000, 3) if found.answered and found.latency_us else None,
    }
