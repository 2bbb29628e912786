"""Which models and providers are used, as far as that was ordered while routers run: beside the description, never in it.

    order      a request that names it            chains
    disable    goes to the rest of its chain,     leave it out
               or 503 where there is none
    enable     takes it back in                   take it back in
    remove     404                                leave it out
    add        a model that somebody else runs and registers in Consul, or a provider; a removed one of the description is taken back

Law: what the description says of a name wins over what was added under it. An order that would leave a route with nobody is taken: its
requests are refused with a reason until somebody is back. Values only; where they are kept is router.models.roster_store's matter.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import msgspec

from fleet.model import Capacity, Model, Replicas, Spec
from fleet.provider import PROVIDERS
from fleet.serving import Capability, Price
from router.errors import BadRequest, UnknownModel
from router.providers.ordered import Ordered, refused
from router.wire.requests import AUTO

MOST_ADDED: Final = 64
_OWN_NAMES: Final = (PROVIDERS, AUTO)
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
    providers: dict[str, Ordered] = {}


def decode(document: bytes) -> Roster:
    """Raises: msgspec.MsgspecError: not a roster, or one that holds what nobody can have ordered."""
    found = msgspec.json.decode(document, type=Roster)
    too_many = max(len(found.added), len(found.providers)) > MOST_ADDED
    if too_many or not all(map(_label, (*found.off, *found.added, *found.providers))):
        raise msgspec.ValidationError("names are labels, and not too many are added")
    return found


def encode(roster: Roster) -> bytes:
    return msgspec.json.encode(roster)


def names(spec: Spec, roster: Roster) -> dict[str, str]:
    """How each model and provider stands: enabled, disabled or removed."""
    known = [*(model.name for model in spec.models), *(provider.name for provider in spec.providers), *roster.added, *roster.providers]
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
    if name not in roster.added and name not in roster.providers:
        return _turned(roster, spec, name, "removed")
    added = {other: row for other, row in roster.added.items() if other != name}
    providers = {other: row for other, row in roster.providers.items() if other != name}
    return _changed(roster, off=_without(roster.off, name), added=added, providers=providers)


def added(roster: Roster, spec: Spec, name: str, row: Added | None) -> Roster:
    """`row`: None: what the description says of it. Adding what was added changes it.

    Raises:
        BadRequest: the name is somebody's already, a route does not exist, or there are too many.
    """
    if _comes_back(roster, _described(spec), name, is_bare=row is None):
        return _changed(roster, off=_without(roster.off, name))
    row = row or Added()
    _check_new(spec, name, others=roster.providers, alike=roster.added)
    routes = {route.name for route in spec.routes}
    unknown = next((route for route in row.routes if route not in routes), None)
    if unknown is not None:
        raise BadRequest(f"There is no route {unknown[:100]!r}; there are: {', '.join(sorted(routes)) or 'none'}.", param="routes")
    return _changed(roster, added={**roster.added, name: row})


def provider_added(roster: Roster, spec: Spec, name: str, ordered: Ordered | None) -> Roster:
    """The same for a provider, whose row has been judged already. `ordered`: None: what the description says of it.

    Raises:
        BadRequest: the name is somebody's already, nothing is known of it, or there are too many.
    """
    if _comes_back(roster, {row.name for row in spec.providers}, name, is_bare=ordered is None):
        return _changed(roster, off=_without(roster.off, name))
    if ordered is None:
        raise BadRequest(f"{name!r} is no provider that was removed; send its row, at least model and base_url or preset.", param="model")
    _check_new(spec, name, others=roster.added, alike=roster.providers)
    return _changed(roster, providers={**roster.providers, name: ordered})


def _comes_back(roster: Roster, described: Collection[str], name: str, *, is_bare: bool) -> bool:
    """Raises: BadRequest: it is described, and was not removed, or more is said of it."""
    if name in described and not (is_bare and roster.off.get(name) == "removed"):
        raise BadRequest(f"{name!r} is in the description; send {{}} to take it back in after it was removed, or enable it.", param="name")
    return name in described


def _check_new(spec: Spec, name: str, *, others: Collection[str], alike: Collection[str]) -> None:
    """Raises: BadRequest"""
    if name in {route.name for route in spec.routes}:
        raise BadRequest(f"{name!r} is the name of a route; choose another.", param="name")
    if name in others or name in _described(spec) or name in _OWN_NAMES:
        raise BadRequest(f"{name!r} means something else already; choose another.", param="name")
    if name not in alike and len(alike) >= MOST_ADDED:
        raise BadRequest(f"{MOST_ADDED} have been added already; describe them in fleet.toml.", param="name")


def _described(spec: Spec) -> frozenset[str]:
    return frozenset((*(model.name for model in spec.models), *(row.name for row in spec.providers)))


def _turned(roster: Roster, spec: Spec, name: str, off: Off | None) -> Roster:
    stands = names(spec, roster)
    if name not in stands or stands[name] == "removed":
        raise UnknownModel(name)
    rest = _without(roster.off, name)
    return _changed(roster, off=rest if off is None else {**rest, name: off})


def _changed(roster: Roster, **parts: Any) -> Roster:
    """The next version."""
    return msgspec.structs.replace(roster, version=roster.version + 1, **parts)


def _without(off: Mapping[str, Off], name: str) -> dict[str, Off]:
    return {other: why for other, why in off.items() if other != name}


# what a description comes to with it


def laid_on(spec: Spec, roster: Roster) -> Spec:
    """The description with what was added. What is off is still in it: router.models.catalogue leaves that out."""
    taken = _described(spec) | {route.name for route in spec.routes}
    new = {name: row for name, row in roster.added.items() if name not in taken}
    abroad = {name: ordered for name, ordered in usable(spec, roster).items() if name not in new}
    if not new and not abroad:
        return spec
    models = (*spec.models, *(_model(name, row) for name, row in new.items()))
    providers = (*spec.providers, *(ordered.row for ordered in abroad.values()))
    ends = {name: row.routes for name, row in new.items()} | {name: ordered.routes for name, ordered in abroad.items()}
    routes = tuple(
        replace(route, chain=(*route.chain, *(name for name, chains in ends.items() if route.name in chains))) for route in spec.routes
    )
    return replace(spec, models=models, providers=providers, routes=routes)


def usable(spec: Spec, roster: Roster) -> dict[str, Ordered]:
    """The providers that were added, without those that this description refuses or has another meaning for."""
    taken = _described(spec) | {route.name for route in spec.routes}
    return {
        name: ordered
        for name, ordered in roster.providers.items()
        if name not in taken and ordered.row.name == name and not refused(ordered.row, spec)
    }


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
