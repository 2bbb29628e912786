"""Everything that is not relayed: the catalogue, health, metrics, sessions, and errors in OpenAI's shape for all of it.

An ordinary FastAPI app on the port of the relay paths. It knows the data plane and nothing of sockets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Request, Response

from fleet.recorder import prometheus_text
from router import errors
from router.errors import NoAnswer, RouterError, UnknownModel
from router.health.ledger import Report, recorder
from router.pages import conversations, docs, explaining, methods, prompts, wrong_requests
from router.pages.refusals import may
from router.plane import DataPlane
from router.tenants.door import visit_of
from router.wire.responses import refused

Everyone = Callable[[], Awaitable[Report]]


def install(app: FastAPI, plane: DataPlane, fleet: str, everyone: Everyone) -> None:
    """Adds routes and error answers. `everyone`: the report of all workers of this router. Raises: NoAnswer"""
    app.include_router(conversations.routes(plane))
    app.include_router(prompts.routes(plane))
    app.include_router(explaining.routes(plane))
    app.include_router(methods.routes())
    app.include_router(docs.routes())
    _add_catalogue(app, plane, fleet)
    _add_state(app, everyone)
    app.add_exception_handler(RouterError, _router_error)
    wrong_requests.install(app)
    app.add_exception_handler(NoAnswer, _no_answer)
    app.add_exception_handler(Exception, _our_fault)


def _add_catalogue(app: FastAPI, plane: DataPlane, fleet: str) -> None:
    def entry(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 0, "owned_by": fleet}

    def names(request: Request) -> tuple[str, ...]:
        visit = visit_of(request)
        return tuple(name for name in plane.catalogue.names() if visit is None or visit.may(name))

    @app.get("/v1/models", tags=["models"], summary="The names that may stand in `model`.")
    async def models(request: Request) -> dict[str, Any]:
        """Models and, as aliases, routes; for a tenant, those it may use. Configuration, not what is up."""
        return {"object": "list", "data": [entry(name) for name in names(request)]}

    @app.get("/v1/models/{name}", tags=["models"], summary="One of these names.", responses=may(404))
    async def model(
        name: Annotated[str, Path(description="of a model or route", examples=["small-model"])], request: Request
    ) -> dict[str, Any]:
        if name not in names(request):
            raise UnknownModel(name)
        return entry(name)


def _add_state(app: FastAPI, everyone: Everyone) -> None:
    @app.get("/health", tags=["state"], summary="Whether this router serves, and what it goes without.", responses=may(503))
    async def state() -> Response:
        """200 once Consul has been seen, whatever is degraded; 503 before, and once the router is being stopped."""
        seen = (await everyone()).health
        return _json(200 if seen.ready else 503, msgspec.json.encode(seen))

    @app.get("/metrics", tags=["state"], summary="All metrics as Prometheus text.", responses=may(503))
    async def metrics() -> Response:
        """Of all workers of this router together, whichever of them is asked."""
        text = prometheus_text(recorder(((await everyone()).numbers,)))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _router_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RouterError)  # noqa: S101 - registered for this type
    return refused(error)


async def _no_answer(_request: Request, error: Exception) -> Response:
    """No sum is better than one that falls: a scraper would take it for a restart."""
    return _json(503, errors.body(f"The router's workers cannot be added up now: {error}; try again.", "server_error", "workers_away"))


async def _our_fault(_request: Request, _error: Exception) -> Response:
    """Starlette raises the error on after this answer, so that it is logged with its traceback."""
    return _json(500, errors.body("The router failed; its log says why.", "server_error", "internal_error"))


def _json(status: int, body: bytes, fields: dict[str, str] | None = None) -> Response:
    return Response(body, status_code=status, headers=fields, media_type="application/json")
