"""The command `warmfleet`.

Each command lives with what it does; this module only names them, and turns a WarmfleetError into one message and exit code 1.
Commands are imported when they are called. Those of other packages are found through the entry points `warmfleet.commands`, because
the shared words know nobody; one whose optional packages are not installed says so when it is called.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Never

import click

from fleet.errors import WarmfleetError

_COMMANDS = {
    "up": "fleet.local.commands:up",
    "down": "fleet.local.commands:down",
    "status": "fleet.local.commands:status",
    "check": "fleet.commands:check",
    "render": "fleet.commands:render",
    "validate": "fleet.commands:validate",
    "plan": "fleet.deploy.commands:plan",
    "deploy": "fleet.deploy.commands:deploy",
    "rollback": "fleet.deploy.commands:rollback",
    "scale": "fleet.deploy.commands:scale",
    "jobs": "fleet.deploy.commands:jobs",
    "docs": "fleet.commands:docs",
    "boards": "fleet.boards.commands:boards",
    "reload": "fleet.reload:reload",
    "key": "fleet.key:key",
    "explain": "fleet.live:explain",
    "pause": "fleet.live:pause",
    "resume": "fleet.live:resume",
}


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(_elsewhere().names)]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return _command_elsewhere(name)
        module, attribute = _COMMANDS[name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except WarmfleetError as error:
            click.echo(f"warmfleet: {error}", err=True)
            sys.exit(1)


def _elsewhere() -> EntryPoints:
    return entry_points(group="warmfleet.commands")


def _command_elsewhere(name: str) -> click.Command | None:
    for found in _elsewhere().select(name=name):
        try:
            command: click.Command = found.load()
        except ModuleNotFoundError as error:
            return _absent(name, error)
        return command
    return None


def _absent(name: str, error: ModuleNotFoundError) -> click.Command:
    def say() -> Never:
        raise WarmfleetError(f"`warmfleet {name}` needs the Python package {error.name}: install warmfleet with its extras") from error

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=say, context_settings=anything, short_help=f"(needs the Python package {error.name})")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="warmfleet")
def main() -> None:
    """LLM serving on Nomad that is warm before the traffic comes."""
