"""The command `reload`: routers take over a changed description without a restart.

The checked description is published in Consul (fleet/published.py), and the command says what came of it. What only a restart can change
(addresses, ports, workers, sizes of tables) is taken over by the next deployment. With `--withdraw` routers go back to the description that
they were deployed with.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from fleet.away import advised
from fleet.commands import ADDRESS, Source, described
from fleet.consul import opened
from fleet.deploy.target import loaded_locally, local_system
from fleet.errors import WarmfleetError
from fleet.names import Names
from fleet.published import publish, withdrawn
from fleet.spec import Loaded
from fleet.taken import Taken, taken


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
            came_of_it = asyncio.run(_published(where, loaded))
        click.echo(f"{fleet.name}: {_told(came_of_it)}")


def place(source: Source, address: str | None, state: Path | None) -> tuple[Loaded, str]:
    """The description as it runs there, and its Consul. Raises: SpecError, StackError."""
    if state is not None and address:
        raise click.UsageError("--state names a local system, --consul (or CONSUL_HTTP_ADDR) another one: give one of them")
    record = local_system(state) if state is not None or (source.is_usual and not address) else None
    loaded = loaded_locally(source, record) if record else source.load()
    return loaded, address or loaded.spec.fleet.consul


async def _published(address: str, loaded: Loaded) -> Taken:
    async with opened(address) as consul:
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
        return f"{published}; no router is seen to pass in Consul, the next one that does goes by it"
    asked = len(found.routers) - found.silent
    unasked = f"; {found.silent} cannot be asked from here: GET /health of each says which one it goes by" if found.silent else ""
    return f"{published}, and {asked} of {len(found.routers)} router(s) go by it{unasked}"
