"""Endpoints with which providers are added and removed while routers run, for whoever has the admin key.

    GET    /admin/providers             how each stands, with its row
    PUT    /admin/providers/{name}      add one, change one that was added, or take back one that was removed
    DELETE /admin/providers/{name}      remove it; what it streams is finished

A row is that of [[provider]] as JSON. It names the variable that holds the key and never the key. Disabling and enabling is
router.pages.roster_api's, for models and providers alike. Without WARMFLEET_ADMIN_KEY in the router's environment none of it is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response

from fleet.model import Spec
from fleet.provider import Provider
from fleet.serving import LABEL
from router.admin import only_admin
from router.errors import UnknownModel
from router.following.abroad import Abroad
from router.models import roster
from router.models.roster import Roster
from router.models.roster_store import RedisRoster
from router.pages.provider_schema import SCHEMA
from router.pages.refusals import may
from router.providers import ordered

log = logging.getLogger(__name__)

Name = Annotated[str, Path(pattern=LABEL, description="of the provider", examples=["elsewhere"])]

_BODY: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}}}


@dataclass(frozen=True, slots=True)
class Stands:
    """One provider. `state`: enabled, disabled, removed, or refused: the description has come to say what its row may not.

    `missing`: why this process cannot use it, as GET /providers says it, or empty. `routes`: whose chains it was put at the end of.
    """

    name: str
    state: str
    added: bool
    model: str
    base_url: str
    key_env: str
    priority: int
    routes: tuple[str, ...]
    missing: str


def routes(kept: RedisRoster, described: Callable[[], Spec], abroad: Abroad, admin_key: str) -> APIRouter:
    """`described`: what the description says now. `admin_key`: empty: nobody has it, and nothing is here."""
    if not admin_key:
        return APIRouter()
    api = APIRouter(prefix="/admin/providers", tags=["providers"], dependencies=[Depends(only_admin(admin_key))])

    def shown() -> Response:
        rows = tuple(standings(described(), kept.now, abroad))
        return Response(msgspec.json.encode({"version": kept.now.version, "providers": rows}), media_type="application/json")

    @api.get("", summary="How each provider stands, and where it is.")
    async def providers() -> Response:
        return shown()

    @api.put("/{name}", summary="Add a provider, or take a removed one back.", responses=may(503), openapi_extra=_BODY)
    async def add(name: Name, request: Request) -> Response:
        """Every router and worker uses it within a second, and keeps it over restarts."""
        row = ordered.read(name, await request.body(), described())
        await kept.order(lambda now: roster.provider_added(now, described(), name, row))
        _say("added", name, row.row.base_url if row is not None else "where the description says")
        return shown()

    @api.delete(
        "/{name}", summary="Remove a provider: what it streams is finished, and nothing new is asked of it.", responses=may(404, 503)
    )
    async def remove(name: Name) -> Response:
        await kept.order(lambda now: _removed(now, described(), name))
        _say("removed", name, "nothing new is asked of it")
        return shown()

    return api


def _say(what: str, name: str, about: str) -> None:
    """For whoever asks later where requests went: one line for each order."""
    log.warning("provider %s was %s by order: %s", name, what, about, extra={"event": f"provider_{what}", "model": name})


def _removed(now: Roster, spec: Spec, name: str) -> Roster:
    """Raises: UnknownModel: no provider has this name."""
    if name not in now.providers and name not in {row.name for row in spec.providers}:
        raise UnknownModel(name)
    return roster.removed(now, spec, name)


def standings(spec: Spec, now: Roster, abroad: Abroad) -> Iterator[Stands]:
    usable = roster.usable(spec, now)
    for row in spec.providers:
        yield _stands(row, now.off.get(row.name, "enabled"), (), abroad, is_added=False)
    for name, each in now.providers.items():
        why = ordered.refused(each.row, spec) or "its name means something else in the description"
        state = now.off.get(name, "enabled") if name in usable else f"refused: {why}"
        yield _stands(each.row, state, each.routes, abroad, is_added=True)


def _stands(row: Provider, state: str, ends: tuple[str, ...], abroad: Abroad, *, is_added: bool) -> Stands:
    missing = abroad.missing.get(row.name, "")
    return Stands(row.name, state, is_added, row.model, row.base_url, row.key_env, row.priority, ends, missing)
