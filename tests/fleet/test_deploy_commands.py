"""plan, deploy, rollback and scale, as they are called wrongly: one clear message, the right exit code, nothing asked of anybody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.deploy.commands import version_to_go_back_to
from fleet.deploy.nomad import Version
from fleet.errors import WarmfleetError

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"

Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(ROOT)
    for name in ("NOMAD_ADDR", "CONSUL_HTTP_ADDR"):
        monkeypatch.delenv(name, raising=False)
    return lambda *args: CliRunner().invoke(main, args)


@pytest.mark.parametrize(
    ("args", "code"),
    [(("plan",), 255), (("deploy",), 1), (("rollback", "redis"), 1), (("scale", "small-model", "2"), 1), (("jobs",), 1)],
)
def test_where_nobody_answers_the_message_says_how_to_name_another_address(call: Call, args: tuple[str, ...], code: int) -> None:
    result = call(*args, "--address", NOBODY)
    assert result.exit_code == code
    assert result.stderr.startswith(f"warmfleet: Nomad at {NOBODY} does not answer; is the address right (--address, NOMAD_ADDR")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("deploy", "--check-index", "3"), "--check-index is about one job"),
        (("deploy", "--check-index", "3", "redis", "router"), "--check-index is about one job"),
        (("deploy", "--rolling", "--detach"), "--rolling needs somebody who watches"),
        (("plan", "--state", "x", "--address", NOBODY), "give one of them"),
        (("scale", "small-model", "many"), "not a valid integer range"),
    ],
)
def test_options_that_contradict_each_other_are_a_wrong_call(call: Call, args: tuple[str, ...], said: str) -> None:
    result = call(*args)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("deploy", "nobody", "--address", NOBODY), "no job nobody in the description; there are: router, autoscaler, redis"),
        (("deploy", "-var", "router.port=x", "--address", NOBODY), "router.port: must be a whole number"),
        (("deploy", "-var", "datadog.image=datadog/agent", "--address", NOBODY), "is not pinned"),
        (("deploy", "--templates", "nowhere", "--address", NOBODY), "there is no template"),
        (("deploy", "--state", "nowhere-at-all"), "nothing is up in nowhere-at-all"),
    ],
)
def test_a_mistake_is_found_before_nomad_is_asked(call: Call, args: tuple[str, ...], said: str) -> None:
    result = call(*args)
    assert (result.exit_code, said in result.stderr) == (1, True), result.stderr


def version(number: int, source: str, *, stable: bool = True, tag: str = "") -> Version:
    return Version(number, stable=stable, stopped=False, tag=tag, source=source, counts={"main": 1})


REMEMBERED = (
    version(9, "new"),
    version(8, "new"),
    version(7, "bad", stable=False),
    version(6, "old", tag="old"),
    version(2, "older", tag="older"),
)


@pytest.mark.parametrize(("wanted", "number"), [("", 6), ("older", 2), ("old", 6), ("8", 8), ("7", 7)])
def test_a_rollback_goes_to_a_tag_a_number_or_the_last_stable_version_that_ran_something_else(wanted: str, number: int) -> None:
    assert version_to_go_back_to(REMEMBERED, "small-model", wanted).number == number


@pytest.mark.parametrize(
    ("versions", "wanted", "said"),
    [
        ((), "", "small-model is not deployed: there is nothing to go back to"),
        (REMEMBERED[:2], "", "no stable version of small-model that ran something else; it remembers: 9, 8. Name one of those"),
        (REMEMBERED, "3", r"no version 3 of small-model; it remembers: 9, 8, 7 \(not stable\), 6 \(old\), 2 \(older\)"),
    ],
)
def test_a_rollback_to_nothing_says_what_there_is(versions: tuple[Version, ...], wanted: str, said: str) -> None:
    with pytest.raises(WarmfleetError, match=said):
        version_to_go_back_to(versions, "small-model", wanted)
