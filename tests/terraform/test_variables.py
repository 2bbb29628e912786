"""The variables that Terraform gets from the description, and when `warmfleet render` writes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.spec import load
from fleet.terraform import tfvars
from tests.terraform.configuration import ROOT

DESCRIPTION = ROOT / "jobs/fleet.toml"
Call = Callable[..., Result]


@pytest.mark.parametrize(
    ("variables", "name", "value"),
    [
        ((), "node_pools", ["gpu"]),
        (("model.small-model.node_pool=default",), "node_pools", ["gpu"]),
        (("model.small-model.node_pool=gpu-small",), "node_pools", ["gpu", "gpu-small"]),
        ((), "weights_volumes", [{"name": "models", "node_pool": "gpu"}]),
        (
            ("model.small-model.node_pool=gpu-small",),
            "weights_volumes",
            [{"name": "models", "node_pool": "gpu"}, {"name": "models", "node_pool": "gpu-small"}],
        ),
        ((), "router_key_names", ["WARMFLEET_ADMIN_KEY"]),
        ((), "task_drivers", ["docker"]),
        (("redis.driver=raw_exec", "redis.volume="), "task_drivers", ["docker", "raw_exec"]),
        (("redis.volume=",), "sessions_volume", ""),
        (("datadog.enabled=false",), "datadog_agent", False),
        (('fleet.datacenters=["dc1", "dc2"]',), "datacenters", ["dc1", "dc2"]),
    ],
)
def test_terraform_is_told_what_the_description_says(variables: tuple[str, ...], name: str, value: object) -> None:
    assert json.loads(tfvars(load(DESCRIPTION, variables=variables).spec))[name] == value


def test_terraform_is_told_the_names_of_keys(tmp_path: Path) -> None:
    more = tmp_path / "more.toml"
    more.write_text(
        """
        [[provider]]
        name = "groq"
        preset = "groq"
        model = "some-model"

        [[provider]]
        name = "ours"
        base_url = "https://llm.example.com/v1"
        key_env = "OUR_KEY"
        model = "some-model"

        [[provider]]
        name = "open"
        base_url = "https://open.example.com/v1"
        model = "some-model"
        """
    )
    spec = load(DESCRIPTION, var_files=[more]).spec
    assert {"GROQ_API_KEY", "OUR_KEY"} <= set(json.loads(tfvars(spec))["router_key_names"])


def test_terraform_is_told_no_count() -> None:
    more = ("model.small-model.replicas.max=9", "router.count=3", "autoscaler.count=3")
    assert tfvars(load(DESCRIPTION, variables=more).spec) == tfvars(load(DESCRIPTION).spec)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line in a checkout of its own, with a description, templates and an empty folder terraform."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "terraform").mkdir()
    shutil.copy(DESCRIPTION, tmp_path / "jobs/fleet.toml")
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, args)


WRITTEN = "terraform/fleet.auto.tfvars.json: written"


def test_render_writes_the_variables_when_they_have_changed(call: Call) -> None:
    assert WRITTEN in call("render").output
    assert WRITTEN not in call("render").output
    Path("terraform/fleet.auto.tfvars.json").write_text("{}")
    assert WRITTEN in call("render").output


@pytest.mark.parametrize("options", [("--stdout",), ("--out", "elsewhere"), ("-var", "fleet.name=blue", "--out", "elsewhere")])
def test_render_leaves_the_variables_of_production_alone(call: Call, options: tuple[str, ...]) -> None:
    assert call("render", *options).exit_code == 0
    assert not Path("terraform/fleet.auto.tfvars.json").exists()


def test_render_makes_no_folder_where_nobody_uses_terraform(call: Call) -> None:
    Path("terraform").rmdir()
    assert call("render").exit_code == 0
    assert not Path("terraform").exists()
