"""Endpoints with which models are added, removed, enabled and disabled while routers run, for whoever has the admin key.

    GET    /admin/models                    how each stands
    PUT    /admin/models/{name}             add a model, or change one that was added
    DELETE /admin/models/{name}             remove it
    POST   /admin/models/{name}/disable     no new requests; those under way are finished
    POST   /admin/models/{name}/enable

Without WARMFLEET_ADMIN_KEY in the router's environment none of it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from fleet.model import Spec
from fleet.serving import LABEL, Capability
from router.admin import only_admin
from router.models import roster
from router.models.roster import Added, Roster
from router.models.roster_store import RedisRoster
from router.pages.refusals import may

Name = Annotated[str, Path(pattern=LABEL, description="of the model", examples=["extra"])]
Known = Annotated[str, Path(pattern=LABEL, description="of the model", examples=["small-model"])]


_EXTRA: dict[str, Any] = {"routes": ["chat"], "quality": 0.8, "cost": {"input": 0.001, "output": 0.002}, "capabilities": ["analysis"]}


class Cost(BaseModel):
    """Dollars per 1,000 tokens."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    input: Annotated[float, Field(ge=0, description="of a prompt")] = 0.0
    output: Annotated[float, Field(ge=0, description="of an answer")] = 0.0


class NewModel(BaseModel):
    """The facts that fleet.toml gives for a model it describes. `routes`: whose chains it is put at the end of."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra={"examples": [_EXTRA]})

    routes: Annotated[list[str], Field(max_length=16, description="whose chains it is put at the end of")] = []
    cost: Annotated[Cost, Field(description="dollars per 1,000 tokens")] = Cost()
    quality: Annotated[float, Field(ge=0, le=1, description="0 to 1")] = 0.5
    capabilities: Annotated[list[Capability], Field(max_length=8, description="what it is good at")] = []
    latency_ms: Annotated[float, Field(ge=0, description="of one answer, before any is measured")] = 0.0
    context: Annotated[int, Field(ge=128, le=100_000_000, description="tokens")] = 8192
    concurrency: Annotated[int, Field(ge=1, le=1_000_000, description="requests at once that a replica carries well")] = 8
    max_concurrent: Annotated[int, Field(ge=0, le=1_000_000, description="requests at once, at most; 0: no bound")] = 0

    def row(self) -> Added | None:
        """None: nothing is said about it."""
        if not self.model_fields_set:
            return None
        said: dict[str, Any] = self.model_dump(exclude={"cost", "routes", "capabilities"})
        routes, capabilities = tuple(dict.fromkeys(self.routes)), tuple(dict.fromkeys(self.capabilities))
        return Added(**said, routes=routes, capabilities=capabilities, input_cost=self.cost.input, output_cost=self.cost.output)


def routes(kept: RedisRoster, described: Callable[[], Spec], admin_key: str) -> APIRouter:
    """`described`: what the description says now. `admin_key`: empty: nobody has it, and nothing is here."""
    if not admin_key:
        return APIRouter()
    api = APIRouter(prefix="/admin/models", tags=["models"], dependencies=[Depends(only_admin(admin_key))])

    @api.get("", summary="How each model stands.")
    async def models() -> Response:
        return _shown(described(), kept.now)

    @api.put("/{name}", summary="Add a model that somebody else runs, or take a removed one back.", responses=may(503))
    async def add(name: Name, wanted: NewModel) -> Response:
        return _shown(described(), await kept.order(lambda now: roster.added(now, described(), name, wanted.row())))

    @api.delete("/{name}", summary="Remove a model: it is unknown from then on.", responses=may(404, 503))
    async def remove(name: Name) -> Response:
        return _shown(described(), await kept.order(lambda now: roster.removed(now, described(), name)))

    @api.post("/{name}/disable", summary="Give a model no new requests.", responses=may(404, 503))
    async def disable(name: Known) -> Response:
        return _shown(described(), await kept.order(lambda now: roster.disabled(now, described(), name)))

    @api.post("/{name}/enable", summary="Give it requests again.", responses=may(404, 503))
    async def enable(name: Known) -> Response:
        return _shown(described(), await kept.order(lambda now: roster.enabled(now, described(), name)))

    return api


def _shown(spec: Spec, now: Roster) -> Response:
    rows = [{"name": name, "state": state, "added": name in now.added} for name, state in roster.names(spec, now).items()]
    return Response(msgspec.json.encode({"version": now.version, "models": rows}), media_type="application/json")
