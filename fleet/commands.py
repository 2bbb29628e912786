"""Commands on the fleet description: check, render, validate, docs.

Each one loads, calls pure functions, and reports; files are written here and nowhere deeper. `-var` and `--var` are the same
option, spelled as Nomad's own users spell it and as everybody else does.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click

from fleet.address import completed
from fleet.away import advised
from fleet.documents import fill, tables
from fleet.errors import Denied, Finding, Refused, SpecError
from fleet.lint import lint
from fleet.nomad import Nomad
from fleet.render import SUFFIX, render_jobs
from fleet.spec import Loaded, load
from fleet.terraform import FILE as TFVARS
from fleet.terraform import tfvars


class _Address(click.ParamType[str]):
    """Of Nomad's or Consul's HTTP API, with its scheme."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return completed(value) or self.fail(f"{value!r} is no address: write http://HOST:PORT", param, ctx)


ADDRESS = _Address()
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_DOCUMENTS = Path("docs")
_SPEC = Path("jobs/fleet.toml")
_TEMPLATES = Path("templates")

_DESCRIPTION: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option("--spec", "path", type=_FILE, default=_SPEC, show_default=True, help="The fleet description."),
    click.option("-var-file", "--var-file", "var_files", type=_FILE, multiple=True, help="Overlay file; may be repeated, later wins."),
    click.option("-var", "--var", "variables", multiple=True, metavar="KEY=VALUE", help="Single value: -var router.port=8001."),
    click.option("--templates", type=_FOLDER, default=_TEMPLATES, show_default=True, help="Folder of the job templates."),
)


@dataclass(frozen=True, slots=True)
class Source:
    """What the options of a command name: a description, what is laid on it, and the templates."""

    path: Path
    var_files: tuple[Path, ...] = ()
    variables: tuple[str, ...] = ()
    templates: Path = _TEMPLATES

    @property
    def is_changed(self) -> bool:
        """Something is laid on the file, so what comes out is not what the file alone says."""
        return bool(self.var_files or self.variables)

    @property
    def is_usual(self) -> bool:
        """The checkout's own description: what production runs, whose products stand in the checkout too."""
        return self.path.resolve() == _SPEC.resolve()

    def stands(self, otherwise: str = "") -> None:
        """Raises: SpecError: this is not the root of a checkout, and no other file was named. `otherwise`: what else helps."""
        if self.path == _SPEC and not _SPEC.exists():
            said = f"is not here; run this in the root of the checkout, or name a file with --spec{otherwise}"
            raise SpecError((Finding(str(_SPEC), "", said),))

    def load(self) -> Loaded:
        """Raises: SpecError"""
        self.stands()
        return load(self.path, var_files=self.var_files, variables=self.variables)


def described(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of the description, as its argument `source`."""

    @functools.wraps(command)
    def packed(*, path: Path, var_files: tuple[Path, ...], variables: tuple[str, ...], templates: Path, **rest: Any) -> None:
        command(source=Source(path, var_files, variables, templates), **rest)

    decorated: Callable[..., None] = packed
    for option in reversed(_DESCRIPTION):
        decorated = option(decorated)
    return decorated


@click.command()
@described
def check(source: Source) -> None:
    """Judge the fleet description and the jobs it makes.

    Reports every finding at once, each with its file, line and key; exit code 1 if there are any. Needs no server.
    """
    loaded = source.load()
    jobs = _rendered(loaded, source)
    spec = loaded.spec
    click.echo(f"{source.path}: {len(spec.models)} models, {len(spec.routes)} routes, {len(jobs)} jobs: nothing to object")


@click.command()
@described
@click.option("--out", type=_FOLDER, help="Folder to write to.  [default: the description's own]")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the jobs instead of writing them.")
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
def render(source: Source, out: Path | None, to_stdout: bool, jobs: tuple[str, ...]) -> None:
    """Make the Nomad jobs from the fleet description.

    JOB is router, autoscaler, redis, datadog-agent or a model's name; without any, all are made. They stand beside their description,
    and are what production runs: with an overlay or a single value, say where the result goes (--out or --stdout). With the jobs of
    jobs/fleet.toml go the variables of terraform/, where that folder is.
    """
    usual = source.path.parent
    if source.is_changed and out is None and not to_stdout:
        raise click.UsageError(f"{usual}/ holds what production runs; with -var-file or -var, add --out FOLDER or --stdout")
    loaded = source.load()
    files = _chosen(_rendered(loaded, source), jobs)
    if to_stdout:
        click.echo("\n".join(files.values()), nl=False)
        return
    _write(files, out or usual, complete=not jobs)
    if out is None and source.is_usual and TFVARS.parent.is_dir():
        _write_tfvars(loaded)


@click.command()
@described
@click.option("--address", type=ADDRESS, envvar="NOMAD_ADDR", help="Nomad's HTTP API; NOMAD_ADDR does the same.  [default: fleet.nomad]")
def validate(source: Source, address: str | None) -> None:
    """Ask a real Nomad whether it would take every job.

    Nothing is deployed. NOMAD_TOKEN and NOMAD_CACERT are used where they are set. Exit code 1 if any job is refused.
    """
    loaded = source.load()
    nomad = _nomad(loaded, address)
    refused = 0
    for name, text in _rendered(loaded, source).items():
        with advised():
            errors = _errors(nomad, text)
        refused += bool(errors)
        click.echo(f"{name}: {'; '.join(errors) or 'valid'}")
    if refused:
        raise SpecError((Finding(nomad.address, "", f"refuses {refused} job(s), for the reasons above"),))


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit code 1 if the tables are stale.")
@click.pass_context
def docs(context: click.Context, only_check: bool) -> None:
    """Make the tables of docs/ anew.

    Settings, metrics, commands and the paths of the API are read from the code that defines them.
    """
    group = context.find_root().command
    assert isinstance(group, click.Group)  # noqa: S101  the command line is one
    found = [_document(path, blocks) for path, blocks in _documents(group).items()]
    stale = [document for document in found if document.is_stale]
    if only_check and stale:
        raise SpecError(tuple(Finding(str(one.path), "", "its tables are stale; run `warmfleet docs`") for one in stale))
    for one in stale:
        one.path.write_text(one.made, "utf-8")
    for one in found:
        click.echo(f"{one.path}: {'written' if one.is_stale else 'up to date'}")


@dataclass(frozen=True, slots=True)
class _Document:
    """`made`: its text as it should be."""

    path: Path
    made: str
    is_stale: bool


def _documents(group: click.Group) -> dict[Path, Mapping[str, Callable[[], str]]]:
    """Those that have generated blocks; other packages bring theirs through entry points, because the shared words know nobody."""
    elsewhere = {_DOCUMENTS / f"{found.name}.md": found.load()() for found in entry_points(group="warmfleet.documents")}
    return {_DOCUMENTS / "operations.md": tables(group), **elsewhere}


def _document(path: Path, blocks: Mapping[str, Callable[[], str]]) -> _Document:
    if not path.exists():
        raise SpecError((Finding(str(path), "", "is not here; run this in the root of the checkout"),))
    text = path.read_text("utf-8")
    made = fill(text, blocks, where=str(path))
    return _Document(path, made, is_stale=made != text)


def _rendered(loaded: Loaded, source: Source) -> dict[str, str]:
    """Raises: SpecError: also where a job lacks a safeguard, so that none is written or deployed without."""
    jobs = render_jobs(loaded, source.templates)
    if findings := lint(jobs, loaded.spec):
        raise SpecError(findings)
    return jobs


def _chosen(files: Mapping[str, str], jobs: tuple[str, ...]) -> dict[str, str]:
    unknown = [job for job in jobs if job + SUFFIX not in files]
    if unknown:
        there = ", ".join(name.removesuffix(SUFFIX) for name in files)
        raise click.UsageError(f"no job {', '.join(unknown)}; there are: {there}")
    return {name: text for name, text in files.items() if not jobs or name.removesuffix(SUFFIX) in jobs}


def _write(files: Mapping[str, str], folder: Path, *, complete: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    changed = [name for name, text in files.items() if not (folder / name).exists() or (folder / name).read_text("utf-8") != text]
    for name in changed:
        (folder / name).write_text(files[name], "utf-8")
        click.echo(f"{folder / name}: written")
    if not changed:
        click.echo(f"{folder}: {len(files)} jobs, none changed")
    for old in sorted(folder.glob(f"*{SUFFIX}")) if complete else ():
        if old.name not in files:
            click.echo(f"{old}: no longer made from the description; remove it once its job is stopped", err=True)


def _write_tfvars(loaded: Loaded) -> None:
    text = tfvars(loaded.spec)
    if not TFVARS.exists() or TFVARS.read_text("utf-8") != text:
        TFVARS.write_text(text, "utf-8")
        click.echo(f"{TFVARS}: written")


def _nomad(loaded: Loaded, address: str | None) -> Nomad:
    fleet = loaded.spec.fleet
    return Nomad(
        address or fleet.nomad,
        token=os.environ.get("NOMAD_TOKEN"),
        namespace=fleet.namespace,
        region=fleet.region,
    )


def _errors(nomad: Nomad, text: str) -> tuple[str, ...]:
    try:
        return nomad.validate(nomad.parse(text))
    except Denied:
        raise
    except Refused as error:
        return (str(error),)
