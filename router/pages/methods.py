"""The relayed paths, for everything but POST: OPTIONS says what they take, any other method is refused with 405.

Nothing of this reaches an engine.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from router.wire.dialects import RELAY_PATHS

_ALLOW = {"allow": "POST, OPTIONS"}
_OTHERS = ["GET", "HEAD", "PUT", "PATCH", "DELETE"]


def routes() -> APIRouter:
    api = APIRouter(include_in_schema=False)
    for path in RELAY_PATHS:
        api.add_api_route(path.decode(), _options, methods=["OPTIONS"])
        api.add_api_route(path.decode(), _refuse, methods=_OTHERS)
    return api


async def _options() -> Response:
    return Response(status_code=204, headers=_ALLOW)


async def _refuse() -> Response:
    raise HTTPException(405, headers=_ALLOW)
