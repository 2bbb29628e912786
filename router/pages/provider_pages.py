"""Endpoints about providers: how they stand, and failures on order, for whoever has the admin key.

Without WARMFLEET_ADMIN_KEY in the router's environment the second one is not there at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from router.admin import only_admin
from router.following.abroad import Abroad
from router.following.simulate import LONGEST_S, Simulations
from router.health.ledger import Report, recorder
from router.health.standings import standings
from router.pages.refusals import may
from router.plane import DataPlane
from router.tenants.door import visit_of

_JSON: Final = "application/json"


class Failure(BaseModel):
    """What is to fail, and for how long; 0: no longer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "large-model", "seconds": 30}]})

    name: Annotated[str, Field(description="a model or provider")]
    seconds: Annotated[float, Field(ge=0, le=LONGEST_S, description="0: no longer")] = 60.0


def routes(plane: DataPlane, abroad: Abroad, everyone: Callable[[], Awaitable[Report]]) -> APIRouter:
    """`everyone`: the report of all workers of this router. Raises: NoAnswer"""
    api = APIRouter(tags=["providers"])

    @api.get("/providers", summary="How every provider stands.", responses=may(503))
    async def providers(request: Request) -> Response:
        """Status, breaker, latency over successes, requests, failures, limits and costs. A tenant sees no totals, and its own costs."""
        visit = visit_of(request)
        rows = standings(plane, recorder(((await everyone()).numbers,)), abroad.missing, of=visit.name if visit is not None else None)
        return Response(msgspec.json.encode({"providers": rows}), media_type=_JSON)

    return api


def admin_routes(simulations: Simulations, order: Callable[[str, float], None], admin_key: str) -> APIRouter:
    """`order`: lets something fail in all workers of this router. `admin_key`: empty: nobody has it, and nothing is here."""

    async def fail(failure: Failure) -> Response:
        """For this router only, at most for ten minutes: it is refused connections."""
        simulations.check(failure.name)
        order(failure.name, failure.seconds)
        return Response(msgspec.json.encode({"name": failure.name, "seconds": failure.seconds}), media_type=_JSON)

    api = APIRouter(tags=["providers"])
    if admin_key:
        api.add_api_route(
            "/simulate/failure",
            fail,
            methods=["POST"],
            summary="Let a model or provider fail for a while.",
            responses=may(404, 503),
            dependencies=[Depends(only_admin(admin_key))],
        )
    return api
