"""`warmfleet boards`: writes the Datadog documents, or says which are stale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from fleet.boards.files import MONITORS, files
from fleet.commands import Source, described
from fleet.errors import Finding, SpecError

_FOLDER = Path("terraform/datadog")


@click.command()
@described
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=f"Folder to write to.  [default: {_FOLDER}]")
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit code 1 if a file is stale.")
def boards(source: Source, out: Path | None, only_check: bool) -> None:
    """Make Datadog's dashboard, monitors and SLO for the fleet.

    Terraform takes them from terraform/datadog; each can be imported by hand in Datadog's own pages too.
    """
    if (source.is_changed or not source.is_usual) and out is None:
        raise click.UsageError(f"{_FOLDER} is about jobs/fleet.toml as it stands; with --spec, -var-file or -var, add --out FOLDER")
    folder, wanted = out or _FOLDER, files(source.load().spec)
    stale = list(_stale(folder, wanted))
    if only_check and stale:
        raise SpecError(tuple(Finding(str(path), "", "is stale; run `warmfleet boards`") for path in stale))
    for path in stale:
        _bring_up_to_date(path, wanted.get(path.relative_to(folder).as_posix()))
    if not stale:
        click.echo(f"{folder}: {len(wanted)} documents, none changed")


def _stale(folder: Path, wanted: Mapping[str, str]) -> Iterator[Path]:
    """What differs or is not there, and monitors that are no longer made."""
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            yield path
    for path in sorted((folder / MONITORS).glob("*.json")):
        if path.relative_to(folder).as_posix() not in wanted:
            yield path


def _bring_up_to_date(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        click.echo(f"{path}: removed, no longer made from the description")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        click.echo(f"{path}: written")
