"""Commands on a fleet that runs: explain, pause, resume.

They find it through Consul: that of a local system where one is up, else that of the description, else the one that is named.
CONSUL_HTTP_TOKEN is used where it is set. A pause is a key in Consul, which every autoscaler reads in each pass.
"""

from __future__ import annotations

import asyncio
import functools
import getpass
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import click

from fleet.away import advised
from fleet.commands import ADDRESS, Source
from fleet.consul import Consul, opened
from fleet.errors import StackError, Unreachable
from fleet.explained import explained, published
from fleet.local import records, tools
from fleet.names import Names
from fleet.state import Pause, decode, decode_pause, encode

T = TypeVar("T")

_FILE = click.Path(path_type=Path, dir_okay=False)
_TIMEOUT_S = 5.0
_STATE = "Folder of a local system, as `warmfleet up` makes it.  [default: .warmfleet in the checkout, where it is up]"


@dataclass(frozen=True, slots=True)
class Place:
    """A fleet and the Consul that knows it."""

    names: Names
    consul: str


_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option("--spec", "path", type=_FILE, default=Path("jobs/fleet.toml"), show_default=True, help="The fleet description."),
    click.option("--state", type=click.Path(path_type=Path), default=tools.CHECKOUT / ".warmfleet", help=_STATE),
    click.option("--consul", type=ADDRESS, envvar="CONSUL_HTTP_ADDR", help="Consul's HTTP API; CONSUL_HTTP_ADDR does the same."),
    click.option("--fleet", help="The fleet's name.  [default: fleet.name]"),
)


def _placed(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options that say which fleet is meant, as its argument `place`."""

    @functools.wraps(command)
    def packed(*, path: Path, state: Path, consul: str | None, fleet: str | None, **rest: Any) -> None:
        command(place=place_of(path, state, consul, fleet), **rest)

    decorated: Callable[..., None] = packed
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def place_of(path: Path, state: Path, consul: str | None, fleet: str | None) -> Place:
    """Raises: SpecError: neither a local stack nor a description says where the fleet is."""
    local = None if consul else records.read(state)
    if local is not None and local.address("consul"):
        return Place(Names(fleet or local.fleet), local.address("consul"))
    if consul and fleet:
        return Place(Names(fleet), consul)
    source = Source(path)
    source.stands(otherwise=", or the fleet itself with --consul and --fleet")
    described = source.load().spec.fleet
    return Place(Names(fleet or described.name), consul or described.consul)


@click.command()
@_placed
@click.option("--last", type=click.IntRange(1, 50), default=3, show_default=True, help="So many decisions.")
@click.option("--json", "as_json", is_flag=True, help="The autoscaler's own answer.")
@click.argument("model")
def explain(place: Place, model: str, last: int, as_json: bool) -> None:
    """Say why a model has as many replicas as it has.

    The last decisions that said something new, with the signals, votes, forecast and clamps they rest on.
    """
    click.echo(asyncio.run(_with(place, lambda consul: _explain(consul, place, model, last, as_json))))


@click.command()
@_placed
@click.argument("reason")
def pause(place: Place, reason: str) -> None:
    """Stop all scaling of the fleet until `resume`.

    What runs goes on running; signals are read and the state is published; nothing is scaled. REASON is shown to everybody.
    """
    if not reason.strip():
        raise click.BadParameter("say why: everybody who wonders will read it", param_hint="REASON")
    document = encode(Pause(by=getpass.getuser(), reason=reason, since=time.time()))
    before = asyncio.run(_with(place, lambda consul: _put(consul, place.names.pause, document)))
    click.echo(f"{place.names.fleet} is paused: {reason}" + (f" (before: {decode_pause(before).reason})" if before else ""))


@click.command()
@_placed
def resume(place: Place) -> None:
    """Let the fleet be scaled again."""
    before = asyncio.run(_with(place, lambda consul: _taken(consul, place.names.pause)))
    click.echo(f"{place.names.fleet} is scaled again" if before else f"{place.names.fleet} was not paused")


async def _with(place: Place, work: Callable[[Consul], Coroutine[None, None, T]]) -> T:
    async with opened(place.consul) as consul:
        with advised(place.consul):
            return await work(consul)


async def _put(consul: Consul, key: str, document: bytes) -> bytes | None:
    """Returns: what was there before."""
    before, index = await consul.document(key)
    if not await consul.put(key, document, index=index):
        raise Unreachable(f"{key} was changed by somebody else at the same moment: try again")
    return before


async def _taken(consul: Consul, key: str) -> bytes | None:
    before, _ = await consul.document(key)
    await consul.delete(key)
    return before


async def _explain(consul: Consul, place: Place, model: str, last: int, as_json: bool) -> str:
    answers = await _answers(consul, place, model)
    for url, answer in sorted(answers.items(), key=lambda row: not row[1].get("leads")):
        return json.dumps(answer, indent=2) if as_json else explained(answer, asked=url, last=last)
    document, _ = await consul.document(place.names.model_state(model))
    if document is None:
        prefix = place.names.model_state_prefix
        known = sorted(key.removeprefix(prefix) for key in (await consul.documents(prefix, wait_s=0)).value)
        there = f"there are: {', '.join(known)}" if known else "nothing was decided there yet: is that the right Consul and fleet?"
        raise StackError(f"fleet {place.names.fleet} in Consul at {place.consul} has no model {model!r}; {there}")
    return document.decode() if as_json else published(decode(document), now=time.time())


async def _answers(consul: Consul, place: Place, model: str) -> dict[str, dict[str, Any]]:
    """Of all autoscalers that Consul knows, by address; without those that do not answer or do not know the model."""
    instances = (await consul.instances(place.names.autoscaler_service)).value
    urls = [f"http://{instance.host}:{instance.port}" for instance in instances]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as session:
        found = await asyncio.gather(*(_ask(session, f"{url}/explain/{model}") for url in urls))
    return {url: answer for url, answer in zip(urls, found, strict=True) if answer}


async def _ask(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    try:
        async with session.get(url) as response:
            answer: dict[str, Any] = await response.json() if response.status == 200 else {}
            return answer
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {}
