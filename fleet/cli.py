"""The command `warmfleet`.

Each command lives with what it does; this module only names them, and turns a WarmfleetError, and a file or folder that cannot
be used, or a full disk, into one message and exit code 1.
Commands are imported when they are called, not when they are listed. Those of other packages are found through the entry points
`warmfleet.commands`, because the shared words know nobody; one whose optional packages are not installed says so when it is called.
"""

from __future__ import annotations

import errno
import sys
from importlib.metadata import EntryPoints, entry_points
from typing import Any

import click

from fleet.errors import WarmfleetError
from fleet.lazy import Lazy

_FULL = (errno.ENOSPC, errno.EDQUOT)  # of a write, which names no file
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)

_COMMANDS = {
    "up": Lazy("fleet.local.commands:up", "Start the whole system on this machine and chat with it once."),
    "down": Lazy("fleet.local.commands:down", "Stop everything that `up` started and remove its folder."),
    "status": Lazy("fleet.local.commands:status", "Say what is up."),
    "check": Lazy("fleet.commands:check", "Judge the fleet description and the jobs it makes."),
    "render": Lazy("fleet.commands:render", "Make the Nomad jobs from the fleet description."),
    "validate": Lazy("fleet.commands:validate", "Ask a real Nomad whether it would take every job."),
    "plan": Lazy("fleet.deploy.commands:plan", "Show what `deploy` would change, and whether it fits."),
    "deploy": Lazy("fleet.deploy.commands:deploy", "Bring jobs to what the description says, warm before traffic."),
    "rollback": Lazy("fleet.deploy.commands:rollback", "Go back to an earlier version of a job, warm before traffic."),
    "scale": Lazy("fleet.deploy.commands:scale", "Set a model's replicas by hand, and wait until they are warm."),
    "jobs": Lazy("fleet.deploy.commands:jobs", "List the fleet's jobs as Nomad has them."),
    "docs": Lazy("fleet.commands:docs", "Make the tables of docs/ anew."),
    "boards": Lazy("fleet.boards.commands:boards", "Make Datadog's dashboard, monitors and SLO for the fleet."),
    "reload": Lazy("fleet.reload:reload", "Let running routers take over the description."),
    "key": Lazy("fleet.key:key", "Make a key for a tenant, and its hash for fleet.toml."),
    "explain": Lazy("fleet.live:explain", "Say why a model has as many replicas as it has."),
    "pause": Lazy("fleet.live:pause", "Stop all scaling of the fleet until `resume`."),
    "resume": Lazy("fleet.live:resume", "Let the fleet be scaled again."),
}


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(_elsewhere().names)]

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        lazy = _lazy(name)
        return None if lazy is None else lazy.command(name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.sentence) for name in self.list_commands(context) if (lazy := _lazy(name))])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except WarmfleetError as error:
            click.echo(f"warmfleet: {error}", err=True)
            sys.exit(1)
        except OSError as error:
            if error.errno in _FULL:
                click.echo(f"warmfleet: {error.strerror}: free some room there, or write elsewhere", err=True)
                sys.exit(1)
            if error.filename is None:
                raise
            whose = "; is it another user's, or read-only?" if error.errno in _NOT_OURS else ""
            click.echo(f"warmfleet: {error.filename}: {error.strerror}{whose}", err=True)
            sys.exit(1)


def _elsewhere() -> EntryPoints:
    return entry_points(group="warmfleet.commands")


def _lazy(name: str) -> Lazy | None:
    """Raises: TypeError: an entry point leads to something else."""
    if name in _COMMANDS:
        return _COMMANDS[name]
    for found in _elsewhere().select(name=name):
        lazy = found.load()
        if not isinstance(lazy, Lazy):
            raise TypeError(f"the entry point {found.value} of {name} is no fleet.lazy.Lazy")
        return lazy
    return None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="warmfleet")
def main() -> None:
    """LLM serving on Nomad that is warm before the traffic comes."""
