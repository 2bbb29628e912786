"""Providers that are added by order while routers run: what is kept of one, and what its row may not say beyond what no row may.

    ca_file      a file of the router's machine: only the description may name one
    key_env      the name of a variable that ends in _API_KEY, so that nothing else of the router's environment is ever sent anywhere;
                 one that the description or a preset uses goes to the host of that one only
    base_url     not the ports of this fleet's own Consul, Nomad, Redis and routers

Law: whoever may give orders may send requests abroad, but neither read the machine's secrets nor turn somebody's key to another host.
An order is judged when it is given and again under each description. No key is ever in an order, a roster or an answer. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from fleet.errors import Finding, SpecError
from fleet.model import Spec
from fleet.presets import PRESETS, filled
from fleet.provider import PROVIDERS, Provider
from fleet.provider_rules import provider_complaints
from fleet.reach import is_loopback
from fleet.spec import read_provider
from router.errors import BadRequest
from router.wire.requests import AUTO

_KEY_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]*_API_KEY").fullmatch
_OWN_NAMES: Final = (PROVIDERS, AUTO)


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that the description does not know. `routes`: whose chains it ends; the word "providers" means it in any case."""

    row: Provider
    routes: tuple[str, ...] = ()


def read(name: str, document: bytes, spec: Spec) -> Ordered | None:
    """A row as JSON, with `routes` beside its own keys; None: nothing is said about it.

    Raises: BadRequest: with all that is wrong with it.
    """
    said = _decoded(document)
    if not said:
        return None
    routes, wrong = _routes(said.pop("routes", []), spec)
    if said.setdefault("name", name) != name:
        wrong.append(Finding("", "name", f"is another one than that of the path, {name}; leave it out"))
    try:
        row = read_provider(said, lambda row: complaints(row, spec))
    except SpecError as error:
        wrong += error.findings
    if wrong:
        raise BadRequest("The provider's row is wrong. " + "; ".join(map(_shown, wrong)) + ".", param=wrong[0].key)
    return Ordered(row=row, routes=routes)


def complaints(row: Provider, spec: Spec) -> Iterator[tuple[str, str]]:
    """(key, message) for each thing wrong with a row that came by order, under a description."""
    yield from provider_complaints(row, spec.router)
    if row.name in _OWN_NAMES:
        yield "name", f"{row.name!r} has a meaning of its own; choose another name"
    if row.ca_file:
        yield "ca_file", "is a file of the router's machine; describe the provider in fleet.toml"
    if row.key_env:
        yield from _key(row, spec)
    if _is_own(row, spec):
        yield "base_url", "is an address of this fleet itself"


def refused(row: Provider, spec: Spec) -> str:
    """Why a row that was taken once cannot be used under this description; empty: it can."""
    return "; ".join(f"{key}: {message}" for key, message in complaints(row, spec))


def _key(row: Provider, spec: Spec) -> Iterator[tuple[str, str]]:
    if not _KEY_NAME(row.key_env):
        yield "key_env", "must end in _API_KEY, because nothing else of the router's environment is sent anywhere by order"
    described = (filled(each) for each in spec.providers if each.name != row.name)
    users = (*((each.key_env, each.base_url) for each in described), *((preset.key_env, preset.base_url) for preset in PRESETS.values()))
    hosts = {urlsplit(url).hostname for name, url in users if name == row.key_env}
    if hosts and _host(row) not in hosts:
        yield "key_env", f"{row.key_env} is the key for {' and '.join(sorted(filter(None, hosts)))}; name another one for this host"


def _host(row: Provider) -> str | None:
    try:
        return urlsplit(row.base_url).hostname
    except ValueError:
        return None


def _is_own(row: Provider, spec: Spec) -> bool:
    """On loopback, and at a port on which something of this fleet listens."""
    host = _host(row)
    if host is None or not is_loopback(host):
        return False
    own = {_port(spec.fleet.consul), _port(spec.fleet.nomad), _port(spec.fleet.redis), spec.router.port, spec.autoscaler.port} - {0}
    return _port(row.base_url) in own


def _port(address: str) -> int:
    """0: none."""
    try:
        url = urlsplit(address)
        return url.port or {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}.get(url.scheme, 0)
    except ValueError:
        return 0


def _decoded(document: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(document, type=dict[str, Any]) if document else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The request body must be a JSON object with the keys of a [[provider]] row.") from error


def _routes(said: object, spec: Spec) -> tuple[tuple[str, ...], list[Finding]]:
    there = {route.name for route in spec.routes}
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        return (), [Finding("", "routes", "must be an array of names of routes")]
    names = tuple(dict.fromkeys(said))
    listed = ", ".join(sorted(there)) or "none"
    return names, [Finding("", "routes", f"there is no route {each[:100]!r}; there are: {listed}") for each in names if each not in there]


def _shown(finding: Finding) -> str:
    return f"{finding.key}: {finding.message}"
