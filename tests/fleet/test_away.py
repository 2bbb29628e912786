"""Commands say what to do where nobody answers, and which names they take."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.away import advised
from fleet.cli import main
from fleet.errors import Unreachable

CHECKOUT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "words",
    [
        ["pause", "a reason", "--fleet", "t"],
        ["resume", "--fleet", "t"],
        ["explain", "small-model", "--fleet", "t"],
        ["reload"],
        ["reload", "--withdraw"],
    ],
)
def test_a_consul_that_does_not_answer_is_named_with_what_to_do(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    result = CliRunner().invoke(main, [*words, "--consul", NOBODY])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"warmfleet: Consul at {NOBODY} does not answer; is the address right (--consul, CONSUL_HTTP_ADDR")


def test_a_nomad_that_does_not_answer_is_named_without_the_words_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    result = CliRunner().invoke(main, ["validate", "--address", NOBODY])
    assert (result.exit_code, "HTTPConnection" in result.stderr) == (1, False)
    assert f"Nomad at {NOBODY} does not answer; is the address right (--address, NOMAD_ADDR or fleet.nomad)?" in result.stderr


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(Unreachable, match=r"^changed by somebody else$"), advised(NOBODY):
        raise Unreachable("changed by somebody else")


@pytest.mark.parametrize("name", ["Acme Co", 'a"b', "-a", "a_b", "x" * 64])
def test_a_key_is_made_for_names_only_that_fleet_toml_takes(name: str) -> None:
    result = CliRunner().invoke(main, ["key", "--name", name])
    assert (result.exit_code, "sk-wf-" in result.output) == (2, False)


@pytest.mark.parametrize(
    "words",
    [["check"], ["explain", "small-model", "--consul", NOBODY], ["pause", "a reason", "--consul", NOBODY]],
    ids=lambda words: words[0],
)
def test_outside_of_a_checkout_a_command_says_where_to_run_it(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, "run this in the root of the checkout, or name a file with --spec" in result.stderr) == (1, True)


def test_outside_of_a_checkout_a_fleet_can_be_named_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["pause", "a reason", "--state", "none", "--consul", NOBODY]
    assert "or the fleet itself with --consul and --fleet" in CliRunner().invoke(main, words).stderr
    assert f"Consul at {NOBODY} does not answer" in CliRunner().invoke(main, [*words, "--fleet", "any"]).stderr


def test_the_list_of_commands_fits_a_screen_of_80_columns() -> None:
    _, _, commands = CliRunner().invoke(main, ["--help"], terminal_width=80).output.partition("Commands:")
    assert "pause" in commands
    assert "..." not in commands
