"""Which models and providers are used, as far as that was ordered while routers run: beside the description, never in it.

    order      a request that names it            chains
    disable    goes to the rest of its chain,     leave it out
               or 503 where there is none
    enable     takes it back in                   take it back in
    remove     404                                leave it out
    add        a model that somebody else runs and registers in Consul; a removed one of the description is taken back

Law: what the description says of a name wins over what was added under it. An order that would leave a route with nobody is taken: its
requests are refused with a reason until somebody is back. Values only; where they are kept is router.roster_store's matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import msgspec

from fleet.model import Capacity, Model, Replicas, Spec
from fleet.serving import Capability, Price
from router.errors import BadRequest, UnknownModel

MOST_ADDED: Final = 64
_label = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?").fullmatch

Off = Literal["disabled", "removed"]


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the description does not know. `routes`: whose chains it ends; it can be named in any case."""

    routes: tuple[str, ...] = ()
    input_cost: float = 0.0
    output_cost: float = 0.0
    quality: float = 0.5
    capabilities: tuple[Capability, ...] = ()
    latency_ms: float = 0.0
    context: int = 8192
    concurrency: int = 8
    max_concurrent: int = 0


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """`off`: why a name is not used. `version` counts orders."""

    version: int = 0
    off: dict[str, Off] = {}
    added: dict[str, Added] = {}


def decode(document: bytes) -> Roster:
    """Raises: msgspec.MsgspecError: not a roster, or one that holds what nobody can have ordered."""
    found = msgspec.json.decode(document, type=Roster)
    if len(found.added) > MOST_ADDED or not all(map(_label, (*found.off, *found.added))):
        raise msgspec.ValidationError("names are labels, and not too many are added")
    return found


def encode(roster: Roster) -> bytes:
    return msgspec.json.encode(roster)


def names(spec: Spec, roster: Roster) -> dict[str, str]:
    """How each model and provider stands: enabled, disabled or removed."""
    known = [*(model.name for model in spec.models), *(provider.name for provider in spec.providers), *roster.added]
    return {name: roster.off.get(name, "enabled") for name in known}


# orders


def disabled(roster: Roster, spec: Spec, name: str) -> Roster:
    """Raises: UnknownModel"""
    return _turned(roster, spec, name, "disabled")


def enabled(roster: Roster, spec: Spec, name: str) -> Roster:
    """Raises: UnknownModel: nobody has this name, or it was removed."""
    return _turned(roster, spec, name, None)


def removed(roster: Roster, spec: Spec, name: str) -> Roster:
    """Raises: UnknownModel"""
    if name not in roster.added:
        return _turned(roster, spec, name, "removed")
    added = {other: row for other, row in roster.added.items() if other != name}
    return Roster(version=roster.version + 1, off=_without(roster.off, name), added=added)


def added(roster: Roster, spec: Spec, name: str, row: Added | None) -> Roster:
    """`row`: None: what the description says of it. Adding what was added changes it.

    Raises:
        BadRequest: the name is somebody's already, a route does not exist, or there are too many.
    """
    described = name in {model.name for model in spec.models} | {provider.name for provider in spec.providers}
    if described and roster.off.get(name) == "removed" and row is None:
        return Roster(version=roster.version + 1, off=_without(roster.off, name), added=roster.added)
    if described:
        raise BadRequest(f"{name!r} is in the description; send {{}} to take it back in after it was removed, or enable it.", param="name")
    if row is None:
        row = Added()
    routes = {route.name for route in spec.routes}
    if name in routes:
        raise BadRequest(f"{name!r} is the name of a route; choose another.", param="name")
    unknown = next((route for route in row.routes if route not in routes), None)
    if unknown is not None:
        raise BadRequest(f"There is no route {unknown[:100]!r}; there are: {', '.join(sorted(routes)) or 'none'}.", param="routes")
    if name not in roster.added and len(roster.added) >= MOST_ADDED:
        raise BadRequest(f"{MOST_ADDED} models have been added already; describe them in fleet.toml.", param="name")
    return Roster(version=roster.version + 1, off=roster.off, added={**roster.added, name: row})


def _turned(roster: Roster, spec: Spec, name: str, off: Off | None) -> Roster:
    stands = names(spec, roster)
    if name not in stands or stands[name] == "removed":
        raise UnknownModel(name)
    rest = _without(roster.off, name)
    return Roster(version=roster.version + 1, off=rest if off is None else {**rest, name: off}, added=roster.added)


def _without(off: Mapping[str, Off], name: str) -> dict[str, Off]:
    return {other: why for other, why in off.items() if other != name}


# what a description comes to with it


def laid_on(spec: Spec, roster: Roster) -> Spec:
    """The description with what was added. What is off is still in it: router.catalogue leaves that out."""
    described = {model.name for model in spec.models} | {row.name for row in spec.providers} | {route.name for route in spec.routes}
    new = {name: row for name, row in roster.added.items() if name not in described}
    if not new:
        return spec
    models = (*spec.models, *(_model(name, row) for name, row in new.items()))
    routes = tuple(
        replace(route, chain=(*route.chain, *(name for name, row in new.items() if route.name in row.routes))) for route in spec.routes
    )
    return replace(spec, models=models, routes=routes)


def _model(name: str, row: Added) -> Model:
    """As the router sees it; nobody starts it from here."""
    return Model(
        name=name,
        engine="vllm",
        weights="elsewhere",
        replicas=Replicas(min=0, max=1),
        capacity=Capacity(concurrency=row.concurrency, requests_per_min=60.0 * row.concurrency),
        cold_start_s=600.0,
        context=row.context,
        cost=Price(input=row.input_cost, output=row.output_cost),
        quality=row.quality,
        capabilities=row.capabilities,
        latency_ms=row.latency_ms,
        max_concurrent=row.max_concurrent,
    )
