"""`warmfleet up`, `down` and `status`: the local chain for people and scripts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from fleet.errors import StackError, WarmfleetError
from fleet.local import agents, build, chat, stack, tools
from fleet.local import status as looking
from fleet.local.progress import progress, table
from fleet.local.records import Record
from fleet.local.status import Part, Status
from fleet.names import ENV_KEY

NOT_UP = 3

_state = click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=tools.CHECKOUT / ".warmfleet",
    show_default=".warmfleet in the checkout",
    help="folder for everything this system keeps while it runs",
)


@click.command()
@_state
@click.option(
    "-var", "--var", "variables", multiple=True, metavar="KEY=VALUE", help="single setting, such as router.port=8001; wins over all files"
)
@click.option("--own-ports", is_flag=True, help="leave the well-known ports 8500, 4646 and 8000 alone")
def up(state: Path, variables: tuple[str, ...], own_ports: bool) -> None:
    """Start the whole system on this machine and chat with it once.

    Nomad, Consul, Redis, two small models, router and autoscaler, all on loopback. Where it is up already, this says so.
    """
    found = looking.look(state)
    if found.state == "degraded":
        raise StackError(_half_up(state, found))
    if found.state == "up" and found.record:
        click.echo("already up")
        click.echo(urls(found.record))
        return
    tools.require_checkout()
    click.echo(f"starting in {state}")
    try:
        running = _started(state, variables, own_ports)
        asks_for_key = _chat(running)
    except WarmfleetError as error:
        raise StackError(f"{error}\n{_hint(state)}") from error
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted. {_hint(state)}", err=True)
        raise SystemExit(130) from None
    click.echo(next_steps(running, asks_for_key=asks_for_key))


@click.command()
@_state
def down(state: Path) -> None:
    """Stop everything that `up` started and remove its folder."""
    with progress() as shown:
        ended = stack.down(state, progress=shown)
    click.echo("down" if ended else "nothing is up")


@click.command()
@_state
@click.option("--json", "as_json", is_flag=True, help="one JSON document")
def status(state: Path, as_json: bool) -> None:
    """Say what is up. Exit code 0 if everything is, 3 if something or everything is down."""
    found = looking.look(state)
    if as_json:
        click.echo(json.dumps(document(found), indent=2))
    else:
        _print(found)
    raise SystemExit(0 if found.state == "up" else NOT_UP)


def document(found: Status) -> dict[str, Any]:
    """What `status --json` prints: state, url of each server, numbers of each job, problems in sentences."""
    record = found.record
    addresses = {"router": record.router, "nomad": record.address("nomad"), "consul": record.address("consul")} if record else {}
    return {
        "state": found.state,
        **{name: {"url": url} for name, url in addresses.items()},
        **({"autoscaler": {"url": found.autoscaler, "paused": found.paused}} if record else {}),
        "jobs": {part.name: _numbers(part) for part in found.parts},
        "problems": list(found.problems),
    }


def urls(record: Record) -> str:
    nomad = record.address("nomad")
    pages = "/ui" if nomad and agents.has_web_pages(nomad) else "   (API only: built from source, without web pages)"
    rows = {
        "router": record.router,
        "Nomad": nomad and nomad + pages,
        "Consul": record.address("consul") and f"{record.address('consul')}/ui",
    }
    return "\n".join(f"  {name:11} {url}" for name, url in rows.items() if url)


def next_steps(record: Record, *, asks_for_key: bool) -> str:
    body = f'{{"model": "{_model(record)}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    key = f' -H "authorization: Bearer ${ENV_KEY}"' if asks_for_key else ""
    curl = f"curl {record.router}/v1/chat/completions{key} -H 'content-type: application/json' -d '{body}'"
    return f"up\n{urls(record)}\n\nTry:\n  {curl}\n  {record.router}/docs in a browser: the whole API\n  make status\n  make down"


def _started(state: Path, variables: tuple[str, ...], own_ports: bool) -> Record:
    build.build_missing()
    with progress() as shown:
        running = stack.up(state, usual_ports=not own_ports, variables=variables, progress=shown)
        shown.say("asking the router")
    return running


def _chat(running: Record) -> bool:
    """Says what the first model answers. Returns: whether the router asks callers for a key."""
    key, model = os.environ.get(ENV_KEY, ""), _model(running)
    try:
        answer = chat.ask(running.router, model, key)
    except chat.KeyWanted:
        click.echo(f"\n{model} was not asked: the fleet has tenants, and {ENV_KEY} holds no key that one of them may ask it with\n")
        return True
    click.echo(f"\n{model}, asked {chat.QUESTION!r}: {answer}\n")
    return bool(key)


def _model(record: Record) -> str:
    return next(part for part in record.parts if part not in looking.OUR_PARTS)


def _print(found: Status) -> None:
    click.echo(found.state)
    if found.record:
        click.echo(urls(found.record))
    if found.autoscaler:
        click.echo(f"  autoscaler  {found.autoscaler}/status   (`warmfleet explain MODEL` says it in words)")
    if found.paused:
        click.echo(f"scaling is paused by {found.paused}   (`warmfleet resume` ends that)")
    if found.parts:
        Console().print(table(found.parts))
    for sentence in filter(None, (*found.problems, found.advice)):
        click.echo(sentence)


def _numbers(part: Part) -> dict[str, Any]:
    return {
        "status": part.status,
        "desired": part.desired,
        "running": part.running,
        "passing": part.passing,
        "failed": part.failed,
        "failure": part.failure,
    }


def _half_up(state: Path, found: Status) -> str:
    problems = "".join(f"\n  {problem}" for problem in found.problems)
    return f"it is only half up in {state}:{problems}\n{found.advice}".rstrip()


def _hint(state: Path) -> str:
    if not state.exists():
        return "Nothing was started."
    return f"What was started is still there: logs in {state}/*/log. `make down` ends and removes it."
