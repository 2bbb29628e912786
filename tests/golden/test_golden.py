"""The committed jobs are what the description and the templates make today, in Nomad's own format, and Nomad takes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests

from fleet.local import tools
from fleet.nomad import Nomad
from fleet.render import render_jobs
from fleet.spec import load
from tests import servers

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "jobs"
PRODUCTION = render_jobs(load(JOBS / "fleet.toml"), ROOT / "templates")
LOCAL = render_jobs(load(JOBS / "fleet.toml", var_files=[JOBS / "local.toml"]), ROOT / "templates")
BOTH = [pytest.param(PRODUCTION, name, id=f"production-{name}") for name in PRODUCTION]
BOTH += [pytest.param(LOCAL, name, id=f"local-{name}") for name in LOCAL]


@pytest.mark.parametrize("name", PRODUCTION)
def test_a_committed_job_is_what_is_rendered_now(name: str) -> None:
    path = JOBS / name
    committed = path.read_text("utf-8") if path.exists() else ""
    assert committed == PRODUCTION[name], f"jobs/{name} is stale: run `make render` (or `warmfleet render`) and commit the result"


def test_no_job_is_committed_that_is_not_made() -> None:
    left = {path.name for path in JOBS.glob("*.nomad.hcl")} - set(PRODUCTION)
    assert not left, f"no longer made from jobs/fleet.toml: {left}; remove the files once the jobs are stopped"


@pytest.fixture(scope="module")
def nomad(nomad_server: servers.NomadServer) -> Nomad:
    """A Nomad with the node pool of production."""
    pool = {"Name": "gpu", "Description": "nodes with GPUs"}
    requests.post(f"{nomad_server.address}/v1/node/pools", json=pool, timeout=10).raise_for_status()
    return Nomad(nomad_server.address)


@pytest.mark.contract
@pytest.mark.parametrize(("jobs", "name"), BOTH)
def test_nomad_takes_the_job(nomad: Nomad, jobs: dict[str, str], name: str) -> None:
    assert nomad.validate(nomad.parse(jobs[name])) == ()


@pytest.mark.contract
@pytest.mark.parametrize(("jobs", "name"), BOTH)
def test_the_job_is_in_the_format_that_nomad_gives_it(jobs: dict[str, str], name: str) -> None:
    command = [tools.require().nomad, "fmt", "-"]
    formatted = subprocess.run(command, input=jobs[name], capture_output=True, text=True, check=True, timeout=60)
    assert formatted.stdout == jobs[name], f"write templates/ so that {name} needs no `nomad fmt`; the linter reads that form"
