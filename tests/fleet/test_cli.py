"""The command line names every command, also those of packages that it does not know."""

from importlib.metadata import EntryPoint, EntryPoints

import click
import pytest
from click.testing import CliRunner

from fleet import cli


def test_help_lists_the_commands_of_other_packages_too() -> None:
    said = CliRunner().invoke(cli.main, ["--help"])
    assert said.exit_code == 0
    assert all(name in said.output for name in ("up", "deploy", "explain", "simulate"))


def test_a_command_that_nobody_has_is_a_usage_error() -> None:
    assert CliRunner().invoke(cli.main, ["nonsense"]).exit_code == 2


def test_a_command_whose_packages_are_absent_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = EntryPoints([EntryPoint("guess", "no_such_package.commands:main", "warmfleet.commands")])
    monkeypatch.setattr(cli, "entry_points", absent.select)
    assert "needs the Python package no_such_package" in CliRunner().invoke(cli.main, ["--help"]).output
    said = CliRunner().invoke(cli.main, ["guess", "--any", "option"])
    assert said.exit_code == 1
    assert "install warmfleet with its extras" in said.stderr


def test_every_command_explains_itself() -> None:
    context = click.Context(cli.main)
    for name in cli.main.list_commands(context):
        command = cli.main.get_command(context, name)
        assert command is not None and command.get_short_help_str()
