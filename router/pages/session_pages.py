"""All sessions, page by page, for whoever has the admin key.

    GET /admin/sessions?limit=100&cursor=...   -> {sessions: [...], source, cursor}

Law: what all routers know, as long as Redis answers; else what this process knows, and `source` says which. Without
WARMFLEET_ADMIN_KEY in the router's environment it is not there at all. An id is all that one needs to go on with a session, so nobody
else lists them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from router.admin import only_admin
from router.errors import BadRequest, StoreAway
from router.pages.conversations import Kept, kept
from router.pages.refusals import may
from router.plane import DataPlane
from router.sessions.redis import RedisSessions
from router.sessions.table import Session

_MOST = 1000
_MEANING = "All sessions that are known, page by page."


class Page(BaseModel):
    """`cursor`: of the next page; None: there is none. A page may hold a few more or fewer than asked for."""

    sessions: list[Kept]
    source: Literal["redis", "local"]
    cursor: str | None


def routes(plane: DataPlane, store: RedisSessions, admin_key: str) -> APIRouter:
    api = APIRouter(tags=["sessions"])

    async def sessions(
        limit: Annotated[int, Query(ge=1, le=_MOST, description="sessions a page, about")] = 100,
        cursor: Annotated[str, Query(max_length=32, description="of the page before; empty: begin")] = "",
    ) -> Page:
        """In no order. `source`: redis, or local while Redis is away."""
        source, _, at = cursor.partition("-")
        if cursor and (source not in ("redis", "local") or not at.isdecimal()):
            raise BadRequest("The cursor is none of ours; leave it out to begin, or send the one of the page before.", param="cursor")
        if source != "local":
            try:
                following, found = await store.page(int(at or 0), limit)
                return _page(plane, found, "redis", following)
            except StoreAway:
                if cursor:
                    raise
        begin = int(at) if source == "local" else 0
        found = plane.sessions.page(begin, limit)
        return _page(plane, found, "local", begin + limit if len(found) == limit else 0)

    if admin_key:
        api.add_api_route(
            "/admin/sessions",
            sessions,
            methods=["GET"],
            summary=_MEANING,
            responses=may(503),
            dependencies=[Depends(only_admin(admin_key))],
        )
    return api


def _page(plane: DataPlane, found: list[tuple[str, Session]], source: Literal["redis", "local"], following: int) -> Page:
    shown = [kept(plane, session_id, session) for session_id, session in found]
    return Page(sessions=shown, source=source, cursor=f"{source}-{following}" if following else None)
