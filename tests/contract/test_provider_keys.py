"""Keys of providers reach the router's environment from its Nomad variable, by the template of the rendered job, and stand nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from fleet.local.processes import wait_until
from fleet.names import PROVIDER_KEYS_FILE
from fleet.nomad import Nomad
from fleet.render import render_jobs
from fleet.spec import load
from router.providers.keys import Keys
from tests.servers import NomadServer

pytestmark = pytest.mark.contract

TEMPLATES = Path(__file__).parents[2] / "templates"
KEY = 'gsk-"quoted" #no comment $HOME'
FLEET = """\
[fleet]
name = "{name}"
[runtime]
driver = "raw_exec"
[datadog]
enabled = false
[[provider]]
name = "groq"
preset = "groq"
model = "llama-3.1-8b-instant"
[[provider]]
name = "openai"
preset = "openai"
model = "gpt-5.1"
[[route]]
selector = 0
name = "chat"
chain = ["providers"]
"""
JOB = """
job "{job}" {{
  type = "batch"
  group "main" {{
    task "router" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "printenv GROQ_API_KEY OPENAI_API_KEY WARMFLEET_ADMIN_KEY > {out}.part; mv {out}.part {out}"]
      }}
      {template}
      resources {{
        cpu    = 10
        memory = 10
      }}
    }}
  }}
}}
"""


@pytest.fixture
def name() -> str:
    return f"keys-{uuid4().hex[:8]}"


@pytest.fixture
def nomad(nomad_server: NomadServer, name: str) -> Iterator[Nomad]:
    nomad = Nomad(nomad_server.address)
    yield nomad
    nomad.deregister(f"{name}-router")


def rendered(folder: Path, name: str) -> str:
    (folder / "fleet.toml").write_text(FLEET.format(name=name), "utf-8")
    return render_jobs(load(folder / "fleet.toml"), TEMPLATES)["router.nomad.hcl"]


def keys_template(job: str) -> str:
    found = re.search(r"template \{\n\s+destination = \"secrets/keys.env\".*?\nKEYS\n\s+\}", job, re.DOTALL)
    assert found is not None
    return found[0]


def live_template(job: str) -> str:
    found = re.search(r"template \{\n\s+destination = \"secrets/provider_keys\".*?\nKEYS\n\s+\}", job, re.DOTALL)
    assert found is not None
    return found[0]


def put(nomad_server: NomadServer, name: str, items: dict[str, str]) -> None:
    path = f"nomad/jobs/{name}-router"
    requests.put(f"{nomad_server.address}/v1/var/{path}", data=json.dumps({"Path": path, "Items": items}), timeout=30).raise_for_status()


def run(nomad: Nomad, name: str, template: str, out: Path) -> list[str]:
    """The lines of the environment that a task with this template sees."""
    nomad.register(nomad.parse(JOB.format(job=f"{name}-router", template=template, out=out)))
    assert wait_until(out.exists, 90.0), nomad.job(f"{name}-router")
    return out.read_text("utf-8").splitlines()


def test_a_routers_task_gets_the_keys_that_its_variable_holds(nomad_server: NomadServer, nomad: Nomad, name: str, tmp_path: Path) -> None:
    job = rendered(tmp_path, name)
    put(nomad_server, name, {"GROQ_API_KEY": KEY, "OTHER": "not asked for"})
    assert run(nomad, name, keys_template(job), tmp_path / "environment") == [KEY]
    assert "gsk" not in job


def test_a_routers_task_starts_without_any_variable(nomad: Nomad, name: str, tmp_path: Path) -> None:
    assert run(nomad, name, keys_template(rendered(tmp_path, name)), tmp_path / "environment") == []


def test_a_router_is_given_the_keys_that_its_description_names_and_the_admins(name: str, tmp_path: Path) -> None:
    assert re.findall(r"}}(\w+)={{", keys_template(rendered(tmp_path, name))) == ["GROQ_API_KEY", "OPENAI_API_KEY", "WARMFLEET_ADMIN_KEY"]
    text = FLEET.format(name=name)
    (tmp_path / "fleet.toml").write_text(text[: text.index("[[provider]]")], "utf-8")
    job = render_jobs(load(tmp_path / "fleet.toml"), TEMPLATES)["router.nomad.hcl"]
    assert re.findall(r"}}(\w+)={{", keys_template(job)) == ["WARMFLEET_ADMIN_KEY"]


SLEEPS = """
job "{job}" {{
  group "main" {{
    task "router" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "ln -s $NOMAD_SECRETS_DIR {out}; exec sleep 600"]
      }}
      {template}
      resources {{
        cpu    = 10
        memory = 10
      }}
    }}
  }}
}}
"""


def test_a_key_that_is_put_into_the_variable_while_a_router_runs_reaches_it_without_a_restart(
    nomad_server: NomadServer, nomad: Nomad, name: str, tmp_path: Path
) -> None:
    out = tmp_path / "secrets"
    nomad.register(nomad.parse(SLEEPS.format(job=f"{name}-router", template=live_template(rendered(tmp_path, name)), out=out)))
    assert wait_until((out / PROVIDER_KEYS_FILE).exists, 90.0), nomad.job(f"{name}-router")
    keys = Keys({"FIRST_API_KEY": "of the environment"}, out / PROVIDER_KEYS_FILE)
    assert dict(keys) == {"FIRST_API_KEY": "of the environment"}
    put(nomad_server, name, {"FIRST_API_KEY": KEY, "OTHER": "not asked for", "WARMFLEET_ADMIN_KEY": "nor this"})
    assert wait_until(keys.look, 90.0)
    assert dict(keys) == {"FIRST_API_KEY": KEY}
    put(nomad_server, name, {"SECOND_API_KEY": "two"})
    assert wait_until(keys.look, 90.0)
    assert dict(keys) == {"FIRST_API_KEY": "of the environment", "SECOND_API_KEY": "two"}
