"""Every file of terraform/ can be read, stands in the canonical form, and pins what it uses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.local import tools
from tests.terraform import configuration
from tests.terraform.configuration import FILES, bare
from tests.terraform.schema import SCHEMAS

NAMED = [pytest.param(path, id=path.name) for path in FILES]


@pytest.mark.parametrize("path", NAMED)
def test_a_file_can_be_read(path: Path) -> None:
    assert configuration.read(path)


@pytest.mark.contract
def test_every_file_is_in_canonical_form(tmp_path: Path) -> None:
    """Nomad formats HCL as Terraform does, and is always there. It looks at files of its own suffix only."""
    for path in FILES:
        shutil.copy(path, tmp_path / f"{path.name}.hcl")
    asked = [tools.require().nomad, "fmt", "-check", "-list", tmp_path]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", ""), "run `terraform fmt -recursive terraform`"


def test_the_providers_are_pinned_to_the_versions_whose_schemas_are_known() -> None:
    [terraform] = configuration.blocks("terraform")
    [pinned] = terraform["required_providers"]
    versions = {name: bare(provider["version"]) for name, provider in pinned.items() if not name.startswith("__")}
    assert versions == {name: schema["version"] for name, schema in SCHEMAS.items()}


def test_every_input_says_what_it_is_and_of_what_type() -> None:
    for name, body in configuration.variables().items():
        assert body.get("description"), f"variable {name} has no description"
        assert body.get("type"), f"variable {name} has no type"


def test_secrets_are_marked_and_do_not_outlive_a_run() -> None:
    secret = {name for name, body in configuration.variables().items() if body.get("sensitive")}
    lasting = {name for name in secret if not configuration.variables()[name].get("ephemeral")}
    assert secret == {"datadog_agent_key", "datadog_reader", "router_keys"}
    assert not lasting, "a secret that is not ephemeral is written into plans"


def test_terraform_owns_no_job_and_so_no_count() -> None:
    assert not [str(resource) for resource in configuration.resources() if resource.kind == "nomad_job"]
    assert not list(configuration.blocks("module")), "a module is for what is used twice"
