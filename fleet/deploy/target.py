"""Which fleet is meant, and how to reach it: from options, environment, and a local system that is up.

An address that is named (--address, NOMAD_ADDR) always wins. Without one, a local system that is up is the target, with jobs/local.toml
and this machine's values laid on the description, as `make up` did; otherwise fleet.nomad and fleet.consul of the description.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from fleet.commands import ADDRESS, Source, described
from fleet.deploy.nomad import Delivery
from fleet.deploy.run import Model
from fleet.deploy.warmth import Warmth
from fleet.errors import SpecError, WarmfleetError
from fleet.lint import lint
from fleet.local import jobs as local_jobs
from fleet.local import records, tools
from fleet.local.records import Record
from fleet.names import Names
from fleet.render import SUFFIX, deadlines, render_jobs
from fleet.spec import Loaded

_OPTIONS: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option(
        "--address", type=ADDRESS, envvar="NOMAD_ADDR", help="Nomad's HTTP API; NOMAD_ADDR does the same.  [default: fleet.nomad]"
    ),
    click.option(
        "--consul",
        type=ADDRESS,
        envvar="CONSUL_HTTP_ADDR",
        help="Consul's HTTP API; CONSUL_HTTP_ADDR does the same.  [default: fleet.consul]",
    ),
    click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of a local system, as `warmfleet up` makes it.  [default: .warmfleet in the checkout, where it is up]",
    ),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A described fleet and the Nomad it runs on. `where` says for people which one it is."""

    loaded: Loaded
    templates: Path
    nomad: Delivery
    consul: str
    where: str

    @property
    def names(self) -> Names:
        return Names(self.loaded.spec.fleet.name)

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything that the description makes a job of, and this target takes."""
        return tuple(self.texts())

    def texts(self) -> dict[str, str]:
        """HCL by part. Raises: SpecError: a template or the result of one is wrong."""
        files = render_jobs(self.loaded, self.templates)
        if findings := lint(files, self.loaded.spec):
            raise SpecError(findings)
        return {name.removesuffix(SUFFIX): text for name, text in files.items()}

    def models(self, *, prompts: bool = True) -> dict[str, Model]:
        token = os.environ.get("CONSUL_HTTP_TOKEN")
        service = self.names.model_service
        return {
            model.name: Model(Warmth(self.consul, token, service, model.name, prompts), deadlines(model.cold_start_s).progress_s)
            for model in self.loaded.spec.models
        }


def targeted(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of description and target, as its argument `target`: called, it finds the target."""

    @wraps(command)
    def packed(*, source: Source, address: str | None, consul: str | None, state: Path | None, **rest: Any) -> None:
        command(target=lambda: find(source, address, consul, state), **rest)

    decorated: Callable[..., None] = packed
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return described(decorated)


def find(source: Source, address: str | None, consul: str | None, state: Path | None) -> Target:
    """Raises: SpecError, StackError: the description or the state folder is wrong."""
    if state is not None and address:
        raise click.UsageError("--state names a local system, --address (or NOMAD_ADDR) another one: give one of them")
    record = local_system(state) if not address else None
    loaded = loaded_locally(source, record) if record else source.load()
    fleet = loaded.spec.fleet
    nomad = Delivery(
        address or fleet.nomad,
        token=os.environ.get("NOMAD_TOKEN"),
        namespace=fleet.namespace,
        region=fleet.region,
    )
    where = f"the local system, Nomad at {nomad.address}" if record else f"Nomad at {nomad.address}"
    return Target(loaded, source.templates, nomad, consul if consul and not record else fleet.consul, where)


def local_system(state: Path | None) -> Record | None:
    """The system of a state folder that is up. Raises: WarmfleetError: a folder was named, and nothing is up there."""
    folder = state or tools.CHECKOUT / ".warmfleet"
    record = records.read(folder) if folder.exists() else None
    if state is not None and record is None:
        raise WarmfleetError(f"nothing is up in {state}: run `warmfleet up --state {state}` first")
    return record if record is not None and record.address("nomad") and record.address("consul") else None


def loaded_locally(source: Source, record: Record) -> Loaded:
    """The description as the local system runs it. Raises: SpecError."""
    if source.var_files:
        raise click.UsageError("-var-file does not go with the local system: edit jobs/local.toml, or use -var")
    values = [
        f"fleet.consul={record.address('consul')}",
        f"fleet.nomad={record.address('nomad')}",
        f"runtime.python={sys.executable}",
        f"redis.command={tools.find_redis()}",
        f"router.port={urlsplit(record.router).port}",
    ]
    overlay = source.path.parent / "local.toml"
    source.stands()
    if not overlay.exists():
        raise click.UsageError(
            f"a local system is up, and {overlay} is not there to lay this machine over {source.path}: "
            "name the Nomad that you mean (--address or NOMAD_ADDR), or end the local system first (`make down`)"
        )
    return local_jobs.read_over(source.path, overlay, values, source.variables)
