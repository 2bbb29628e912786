"""What must hold for [[provider]] rows, beyond the type and bounds of each key. Pure: rows in, (key, message) out.

A key never stands in a description, so nothing here can repeat one: values that might be keys are not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from fleet.model import Router
from fleet.presets import filled
from fleet.provider import PROVIDERS, Provider
from fleet.reach import is_loopback, is_metadata
from fleet.units import format_duration

_NOT_FOR_OTHERS = ("WARMFLEET_", "CONSUL_", "NOMAD_", "VAULT_", "DD_")
_NEEDED = ("model", "messages", "prompt", "input", "stream")


def provider_complaints(row: Provider, router: Router) -> Iterator[tuple[str, str]]:
    """(key, message) for each thing wrong with a row by itself."""
    provider = filled(row)
    yield from _address(provider, may_be_link_local=router.allow_link_local)
    if provider.key_env.startswith(_NOT_FOR_OTHERS):
        yield "key_env", f"{provider.key_env} is a secret of this fleet, which no provider may be sent; name a variable of its own"
    for name in provider.drop:
        if name in _NEEDED:
            yield "drop", f"{name!r} cannot be left out: without it a request says nothing"
    slo = provider.slo
    clocks = ("answer_timeout", provider.answer_s), ("slo.first_token_timeout", slo.first_token_s), ("slo.idle_timeout", slo.idle_s)
    for key, value_s in clocks:
        if value_s > router.total_s:
            limit = format_duration(router.total_s)
            yield key.partition(".")[0], f"{key} is {format_duration(value_s)}, and router.total_timeout = {limit} ends a request before it"


def _address(provider: Provider, *, may_be_link_local: bool) -> Iterator[tuple[str, str]]:
    if not provider.base_url:
        yield "base_url", "is required where no preset says it: what stands before /chat/completions, such as https://api.example.com/v1"
        return
    if not (url := _split(provider.base_url)) or not url.hostname:
        yield "base_url", f"{provider.base_url!r} names no host, or a port that is none, or is not ASCII"
    elif is_metadata(url.hostname) and not may_be_link_local:
        yield "base_url", f"{provider.base_url!r} is where a machine is told its own secrets; router.allow_link_local = true takes it"
    elif url.scheme == "http" and not is_loopback(url.hostname):
        yield "base_url", f"{provider.base_url!r} would send keys and prompts in clear text: use https, or a host on loopback"
    elif url.scheme == "http" and provider.ca_file:
        yield "ca_file", "is for https; remove it"


def _split(url: str) -> SplitResult | None:
    """None: it is no address, or its port is none, or it has what cannot stand in a request's head."""
    try:
        split = urlsplit(url)
        return split if split.port != 0 and url.isascii() and url.isprintable() and split.scheme in ("http", "https") else None
    except ValueError:
        return None


def name_complaints(providers: Mapping[int, str], models: set[str], routes: set[str]) -> Iterator[tuple[int, str]]:
    """(row, message) for names that mean something else already: models, routes and providers share one namespace."""
    for index, name in providers.items():
        if name in (PROVIDERS, "auto"):
            yield index, f"{name!r} has a meaning of its own; choose another name"
        elif name in models or name in routes:
            kind = "model" if name in models else "route"
            yield index, f"{name!r} is a {kind} too; whoever asks for it could not say which one is meant"
