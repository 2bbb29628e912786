"""Which fleet a command means: the local system only with its own overlay, and another description only where it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fleet.cli import main
from fleet.commands import Source
from fleet.deploy.target import find
from fleet.local import records
from fleet.local.agents import Agent
from fleet.local.processes import Process
from fleet.local.records import Record
from fleet.reload import place

ROOT = Path(__file__).parents[2]
NOMAD, CONSUL = "http://127.0.0.1:9", "http://127.0.0.1:19"
TEMPLATES = ROOT / "templates"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of a local system that is up, as far as its record says."""
    nobody = Process(0, 0)
    servers = tuple(Agent(name, address, nobody, Path("/no")) for name, address in (("nomad", NOMAD), ("consul", CONSUL)))
    folder = tmp_path / "state"
    records.begin(folder, Record(phase="up", owner=nobody, fleet="warmfleet", router="http://127.0.0.1:8", agents=servers))
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A description of somebody's own, without an overlay beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    text = (ROOT / "jobs" / "fleet.toml").read_text("utf-8").replace('name = "warmfleet" ', 'name = "mine" ')
    (folder / "prod.toml").write_text(text, "utf-8")
    return folder


def source(path: Path) -> Source:
    return Source(path, (), (), TEMPLATES)


def test_the_local_system_runs_the_description_that_is_named_over_which_its_overlay_lies(state: Path, mine: Path) -> None:
    shutil.copy(ROOT / "jobs" / "local.toml", mine)
    found = find(source(mine / "prod.toml"), None, None, state)
    assert (found.loaded.spec.fleet.name, found.nomad.address, found.consul) == ("mine", NOMAD, CONSUL)
    assert found.loaded.spec.runtime.driver == "raw_exec"


def test_a_description_without_an_overlay_is_not_taken_for_the_local_systems(state: Path, mine: Path) -> None:
    with pytest.raises(click.UsageError, match=r"a local system is up, and .*local.toml is not there .* name the Nomad that you mean"):
        find(source(mine / "prod.toml"), None, None, state)
    assert find(source(mine / "prod.toml"), "http://127.0.0.1:7", None, None).nomad.address == "http://127.0.0.1:7"


def test_reload_publishes_to_the_local_system_what_runs_there(state: Path) -> None:
    loaded, consul = place(source(ROOT / "jobs" / "fleet.toml"), None, state)
    assert (consul, loaded.spec.runtime.driver, loaded.spec.fleet.consul) == (CONSUL, "raw_exec", CONSUL)


def test_reload_of_another_description_goes_where_that_says(mine: Path) -> None:
    loaded, consul = place(source(mine / "prod.toml"), None, None)
    assert (loaded.spec.fleet.name, consul) == ("mine", loaded.spec.fleet.consul)


def test_reload_is_not_told_two_places(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["reload", "--state", str(state), "--consul", CONSUL])
    assert (result.exit_code, "give one of them" in result.stderr) == (2, True)


def test_jobs_of_another_description_stand_beside_it_and_touch_nothing_else(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("jobs", "terraform"):
        (tmp_path / folder).mkdir()
    shutil.copytree(TEMPLATES, tmp_path / "templates")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["render", "--spec", "mine/prod.toml"])
    assert result.exit_code == 0, result.output
    assert (mine / "router.nomad.hcl").exists()
    assert [*(tmp_path / "jobs").iterdir(), *(tmp_path / "terraform").iterdir()] == []


def test_boards_of_another_description_do_not_replace_those_that_terraform_applies(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["boards", "--check", "--spec", str(mine / "prod.toml")])
    assert (result.exit_code, "add --out FOLDER" in result.stderr) == (2, True)
