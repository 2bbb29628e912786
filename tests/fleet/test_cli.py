"""The command line names every command, also those of packages that it does not know, and imports none that is not called."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fleet import cli
from fleet.lazy import Lazy

CHECKOUT = Path(__file__).parents[2]
COMMAND_LINE = """
import json, sys
from fleet.cli import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
GUESSING = """
import click
from fleet.lazy import Lazy

@click.command()
def stuck():
    raise OSError(5, "Input/output error")

COMMAND = Lazy("no_such_package.commands:main", "Guess well.")
WRONG = "Guess"
STUCK = Lazy("guessing:stuck", "Get stuck.")
"""
HEAVY = {"numpy", "lightgbm", "fastapi", "pydantic", "aiohttp", "requests", "rich", "jinja2"}
NOT_FOR_STATUS = {"numpy", "lightgbm", "fastapi"}


@pytest.fixture
def guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings the command `guess`, which needs what nobody has."""
    about = tmp_path / "guess-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: guess\nVersion: 1.0\n", "utf-8")
    commands = "guess = guessing:COMMAND\nwrong = guessing:WRONG\nstuck = guessing:STUCK\n"
    (about / "entry_points.txt").write_text(f"[warmfleet.commands]\n{commands}", "utf-8")
    (tmp_path / "guessing.py").write_text(GUESSING, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "guessing", raising=False)


def imported(*words: str) -> set[str]:
    """All modules that a process has which runs `warmfleet` with these words."""
    ran = subprocess.run([sys.executable, "-c", COMMAND_LINE, *words], capture_output=True, text=True, check=False)
    return set(json.loads(ran.stderr.splitlines()[-1]))


def test_help_lists_the_commands_of_other_packages_too() -> None:
    said = CliRunner().invoke(cli.main, ["--help"])
    assert said.exit_code == 0
    assert all(name in said.output for name in ("up", "deploy", "explain", "simulate"))


def test_a_command_that_nobody_has_is_a_usage_error() -> None:
    assert CliRunner().invoke(cli.main, ["nonsense"]).exit_code == 2


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = {"--spec": CHECKOUT / "jobs/fleet.toml", "--templates": CHECKOUT / "templates", "--out": tmp_path / "file" / "jobs"}
    said = CliRunner().invoke(cli.main, ["render", *(str(word) for option in options.items() for word in option)])
    assert (said.exit_code, said.stderr) == (1, f"warmfleet: {tmp_path / 'file' / 'jobs'}: Not a directory\n")


@pytest.mark.usefixtures("guess")
def test_an_error_of_the_system_that_names_no_file_is_not_hidden_in_one_message() -> None:
    """Whose it is nobody could tell from it."""
    said = CliRunner().invoke(cli.main, ["stuck"])
    assert isinstance(said.exception, OSError)
    assert "warmfleet:" not in said.stderr


@pytest.mark.usefixtures("guess")
def test_a_command_whose_packages_are_absent_is_listed_and_says_which() -> None:
    (guess,) = entry_points(group="warmfleet.commands", name="guess")
    listed = Lazy.command(guess.load(), "guess")
    assert listed.get_short_help_str() == "Guess well."
    for rest in (["--any", "option"], ["--help"]):
        said = CliRunner().invoke(cli.main, ["guess", *rest])
        assert said.exit_code == 1
        assert "needs the Python package no_such_package" in said.stderr
        assert "`make setup`" in said.stderr


@pytest.mark.usefixtures("guess")
def test_an_entry_point_that_is_no_command_is_named() -> None:
    said = CliRunner().invoke(cli.main, ["wrong"])
    assert isinstance(said.exception, TypeError)
    assert "guessing:WRONG" in str(said.exception)


def test_every_command_explains_itself_as_it_is_listed() -> None:
    context = click.Context(cli.main)
    help_said = " ".join(CliRunner().invoke(cli.main, ["--help"], terminal_width=200).output.split())
    for name in cli.main.list_commands(context):
        command = cli.main.get_command(context, name)
        assert command is not None
        assert f"{name} {command.get_short_help_str(limit=120)}" in help_said


def test_help_imports_no_command() -> None:
    assert imported("--help") & HEAVY == set()


def test_status_imports_neither_the_routers_nor_the_autoscalers_packages(tmp_path: Path) -> None:
    loaded = imported("status", "--state", str(tmp_path / "none"))
    assert "fleet.local.status" in loaded
    assert loaded & NOT_FOR_STATUS == set()


class OnAFullDisk(cli._Commands):
    """The command line with one more command, which writes where there is no room."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        writes = click.Command("write", callback=lambda: Path("/dev/full").write_text("x"))
        return writes if name == "write" else super().get_command(context, name)


def test_a_full_disk_is_one_sentence() -> None:
    result = CliRunner().invoke(OnAFullDisk(), ["write"])
    assert (result.exit_code, result.stderr) == (1, "warmfleet: No space left on device: free some room there, or write elsewhere\n")
