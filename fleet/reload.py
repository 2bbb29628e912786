"""The command `reload`: routers take over a changed description without a restart.

The checked description is put into Consul as one document; every router watches it. What only a restart can change (addresses, ports,
workers, sizes of tables) is taken over by the next deployment. `--withdraw` removes the document: routers go back to the one they
were deployed with; a deployment of the routers does so too, or what was published before would win over what was deployed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import click

from fleet.away import advised
from fleet.commands import ADDRESS, Source, described
from fleet.consul import Consul
from fleet.deploy.target import loaded_locally, local_system
from fleet.errors import Conflict, WarmfleetError
from fleet.names import Names
from fleet.spec import Loaded, resolved_json
from fleet.taken import Taken, taken

T = TypeVar("T")


@click.command()
@described
@click.option("--consul", "address", type=ADDRESS, envvar="CONSUL_HTTP_ADDR", help="Consul's HTTP API; CONSUL_HTTP_ADDR does the same.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Folder of a local system, as `warmfleet up` makes it.")
@click.option("--withdraw", is_flag=True, help="Remove the published description instead.")
def reload(source: Source, address: str | None, state: Path | None, withdraw: bool) -> None:
    """Let running routers take over the description.

    Routes, models, their SLOs and the routers' limits change at once; nothing is restarted. A description with a mistake is not published.
    Says how many routers go by it then; exit code 1 where one does not.
    Without --consul and --spec it goes to the local system while it is up, with jobs/local.toml; else to fleet.consul.
    CONSUL_HTTP_TOKEN is used where it is set.
    """
    loaded, where = place(source, address, state)
    fleet = loaded.spec.fleet
    click.echo(f"to Consul at {where}")
    if withdraw:
        with advised(where):
            was_there = withdrawn(where, Names(fleet.name))
        click.echo(f"{fleet.name}: routers go by what they were deployed with" if was_there else f"{fleet.name}: nothing was published")
    else:
        with advised(where):
            came_of_it = asyncio.run(_with(where, lambda consul: _published(consul, loaded)))
        click.echo(f"{fleet.name}: {_told(came_of_it)}")


def place(source: Source, address: str | None, state: Path | None) -> tuple[Loaded, str]:
    """The description as it runs there, and its Consul. Raises: SpecError, StackError."""
    if state is not None and address:
        raise click.UsageError("--state names a local system, --consul (or CONSUL_HTTP_ADDR) another one: give one of them")
    record = local_system(state) if state is not None or (source.is_usual and not address) else None
    loaded = loaded_locally(source, record) if record else source.load()
    return loaded, address or loaded.spec.fleet.consul


async def publish(consul: Consul, loaded: Loaded) -> None:
    """Raises: Conflict: somebody else published at the same moment; ControlPlaneError."""
    key = Names(loaded.spec.fleet.name).spec
    _, index = await consul.document(key)
    if not await consul.put(key, resolved_json(loaded).encode(), index=index):
        raise Conflict(f"somebody else has just published a description at {key}; look whose is right, then reload again")


async def _published(consul: Consul, loaded: Loaded) -> Taken:
    await publish(consul, loaded)
    return await taken(consul, Names(loaded.spec.fleet.name).router_service, loaded.source_hash)


def _told(found: Taken) -> str:
    """Raises: WarmfleetError: a router goes on by another description."""
    published = f"description {found.wanted} is published"
    if found.others:
        who = ", ".join(f"{url} goes by {digest}" for url, digest in sorted(found.others.items()))
        advice = "its log says why (description_refused); publish a right one, or take this one back with `warmfleet reload --withdraw`"
        raise WarmfleetError(f"{published}, but {who}: {advice}")
    if not found.routers:
        return f"{published}; no router passes in Consul, the next one that does goes by it"
    asked = len(found.routers) - found.silent
    unasked = f"; {found.silent} cannot be asked from here: GET /health of each says which one it goes by" if found.silent else ""
    return f"{published}, and {asked} of {len(found.routers)} router(s) go by it{unasked}"


def withdrawn(address: str, names: Names) -> bool:
    """Removes the published description; False: there was none. Raises: ControlPlaneError."""
    return asyncio.run(_with(address, lambda consul: _withdraw(consul, names)))


async def _withdraw(consul: Consul, names: Names) -> bool:
    document, _ = await consul.document(names.spec)
    if document is not None:
        await consul.delete(names.spec)
    return document is not None


async def _with(address: str, work: Callable[[Consul], Coroutine[None, None, T]]) -> T:
    consul = Consul(address, os.environ.get("CONSUL_HTTP_TOKEN"))
    try:
        return await work(consul)
    finally:
        await consul.close()
