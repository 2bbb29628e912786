"""check, render and validate, as they are called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli import main
from tests import servers

ROOT = Path(__file__).parents[2]

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line in a checkout of its own that has descriptions and templates and no jobs yet."""
    (tmp_path / "jobs").mkdir()
    for name in ("fleet.toml", "local.toml"):
        shutil.copy(ROOT / "jobs" / name, tmp_path / "jobs" / name)
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOMAD_ADDR", raising=False)
    return lambda *args: CliRunner().invoke(main, args)


def test_check_says_what_it_has_judged(call: Call) -> None:
    result = call("check")
    assert (result.exit_code, result.output) == (0, "jobs/fleet.toml: 2 models, 2 routes, 6 jobs: nothing to object\n")


@pytest.mark.parametrize("option", ["-var", "--var"])
def test_check_names_every_finding_and_fails(call: Call, option: str) -> None:
    result = call("check", option, "router.port=x", option, "router.count=0")
    assert result.exit_code == 1
    assert "router.port: must be a whole number" in result.stderr
    assert "router.count: must be at least 1, not 0" in result.stderr


def test_check_judges_the_jobs_too(call: Call) -> None:
    result = call("check", "-var", "datadog.image=datadog/agent")
    assert result.exit_code == 1
    assert "datadog-agent.nomad.hcl:" in result.stderr
    assert "is not pinned" in result.stderr


def test_render_writes_what_has_changed_and_says_so(call: Call) -> None:
    assert "jobs/router.nomad.hcl: written\n" in call("render").output
    assert call("render").output == "jobs: 6 jobs, none changed\n"
    Path("jobs/redis.nomad.hcl").write_text("stale")
    assert call("render").output == "jobs/redis.nomad.hcl: written\n"


def test_render_makes_only_the_jobs_asked_for(call: Call) -> None:
    assert call("render", "redis", "small-model").exit_code == 0
    assert sorted(path.name for path in Path("jobs").glob("*.hcl")) == ["redis.nomad.hcl", "small-model.nomad.hcl"]


def test_render_refuses_a_job_that_is_not_made(call: Call) -> None:
    result = call("render", "tiny-model")
    assert result.exit_code == 2
    assert "no job tiny-model; there are: router, autoscaler, redis, datadog-agent, small-model, large-model" in result.stderr


def test_render_names_a_job_that_is_no_longer_made(call: Call) -> None:
    Path("jobs/old-model.nomad.hcl").write_text("")
    assert "jobs/old-model.nomad.hcl: no longer made from the description" in call("render").stderr
    assert Path("jobs/old-model.nomad.hcl").exists()


@pytest.mark.parametrize("option", [("-var-file", "jobs/local.toml"), ("--var-file", "jobs/local.toml"), ("-var", "router.port=1")])
def test_render_does_not_overwrite_production_with_an_overlay(call: Call, option: tuple[str, str]) -> None:
    result = call("render", *option)
    assert result.exit_code == 2
    assert "--out FOLDER or --stdout" in result.stderr
    assert not list(Path("jobs").glob("*.hcl"))
    assert call("render", *option, "--out", "elsewhere").exit_code == 0
    assert Path("elsewhere/router.nomad.hcl").exists()


def test_render_prints_a_job_as_it_would_write_it(call: Call) -> None:
    printed = call("render", "--stdout", "redis").output
    call("render", "redis")
    assert printed == Path("jobs/redis.nomad.hcl").read_text()


def test_a_missing_description_is_one_message(call: Call) -> None:
    result = call("check", "--spec", "none.toml")
    assert (result.exit_code, result.stderr) == (1, "warmfleet: none.toml: cannot be read: No such file or directory\n")


@pytest.mark.contract
def test_validate_reports_every_job(call: Call, nomad_server: servers.NomadServer) -> None:
    result = call("validate", "-var-file", "jobs/local.toml", "--address", nomad_server.address)
    assert result.exit_code == 0, result.output
    names = ["router", "autoscaler", "redis", "small-model", "large-model"]
    assert result.output.splitlines() == [f"{name}.nomad.hcl: valid" for name in names]


@pytest.mark.contract
def test_validate_fails_with_nomads_own_words(call: Call, nomad_server: servers.NomadServer) -> None:
    model = Path("templates/model.nomad.hcl.j2")
    model.write_text(model.read_text().replace("    restart {", "    restart {\n      nonsense = 1"))
    redis = Path("templates/redis.nomad.hcl.j2")
    redis.write_text(redis.read_text().replace("count          = 1", "count          = -1"))
    result = call("validate", "-var-file", "jobs/local.toml", "--address", nomad_server.address)
    assert result.exit_code == 1
    assert 'Unsupported argument; An argument named "nonsense" is not expected here' in result.output
    assert "redis.nomad.hcl: " in result.output
    assert "router.nomad.hcl: valid" in result.output
    assert "refuses 3 job(s)" in result.stderr


def test_validate_says_when_nobody_answers(call: Call) -> None:
    result = call("validate", "--address", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "Nomad at http://127.0.0.1:9 does not answer" in result.stderr


def test_the_environment_names_nomad_and_an_option_wins(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOMAD_ADDR", "http://127.0.0.1:7")
    assert "http://127.0.0.1:7 does not answer" in call("validate").stderr
    assert "http://127.0.0.1:9 does not answer" in call("validate", "--address", "http://127.0.0.1:9").stderr
