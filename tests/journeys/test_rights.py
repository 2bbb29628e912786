"""A whole fleet where Nomad and Consul want tokens: deployed, scaled by the autoscaler, and served, each on the rights that
terraform/policies/ gives it and no others. What else those rights are is in tests/contract/test_acl.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.deploy.nomad import Delivery
from fleet.local.jobs import bundled_weights
from fleet.local.processes import wait_until
from fleet.local.tools import CHECKOUT, find_redis
from fleet.state import ModelState, decode
from tests.guarded import NAMESPACE, Guarded, guarded

pytestmark = pytest.mark.journey

FLEET = "acl"
MODEL = f"{FLEET}-small-model"
IN = f"namespace={NAMESPACE}"
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def world() -> Iterator[Guarded]:
    with guarded(FLEET) as made:
        yield made


OVERLAY = """
[fleet]
name = "{fleet}"
namespace = "{namespace}"
consul = "{consul}"
nomad = "{nomad}"
[runtime]
python = "{python}"
[redis]
command = "{redis}"
[router]
port = {port}
[autoscaler]
cooldown_up = "1s"
[[model]]
name = "small-model"
weights = "{weights}"
policy = [{{ kind = "spare", replicas = 2 }}]
[[model]]
name = "large-model"
weights = "{weights}"
"""


@dataclass(frozen=True)
class Person:
    """Somebody with the deployer's two tokens and nothing else."""

    world: Guarded
    overlay: Path
    nomad_token: str
    consul_token: str

    @property
    def nomad(self) -> Delivery:
        return Delivery(self.world.nomad.address, token=self.nomad_token, namespace=NAMESPACE)

    def run(self, command: str, *args: str, files: bool = True) -> str:
        """`warmfleet COMMAND`, which must succeed; what it said."""
        described = ["-var-file", "jobs/local.toml", "-var-file", str(self.overlay)] if files else ["--fleet", FLEET]
        addresses = {"NOMAD_ADDR": self.world.nomad.address, "CONSUL_HTTP_ADDR": self.world.consul.address}
        environment = {**os.environ, **addresses, "NOMAD_TOKEN": self.nomad_token, "CONSUL_HTTP_TOKEN": self.consul_token}
        argv = [sys.executable, "-c", "from fleet.cli import main; main()", command, *described, *args]
        done = subprocess.run(argv, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done
        return done.stdout


@pytest.fixture
def person(world: Guarded, tmp_path: Path) -> Person:
    values = {"consul": world.consul.address, "nomad": world.nomad.address, "python": sys.executable, "redis": find_redis()}
    overlay = tmp_path / "overlay.toml"
    port = world.ground.ports.router
    overlay.write_text(OVERLAY.format(**values, fleet=FLEET, namespace=NAMESPACE, port=port, weights=bundled_weights()))
    return Person(world, overlay, world.nomad_token("deployer"), world.consul_token("deployer"))


def published(world: Guarded) -> ModelState | None:
    answer = world.consul.ask("GET", f"/v1/kv/{world.names.model_state('small-model')}?raw")
    return decode(answer.content) if answer.status_code == 200 else None


def story(world: Guarded) -> list[Any]:
    """What became of the replicas, for the message of a failure."""
    rows = world.nomad.told("GET", f"/v1/job/{MODEL}/allocations?{IN}")
    return [[row["ClientStatus"], [e["DisplayMessage"] for t in (row["TaskStates"] or {}).values() for e in t["Events"]]] for row in rows]


def warm(world: Guarded) -> int:
    state = published(world)
    return state.ready if state else 0


def test_a_fleet_is_deployed_scaled_and_served_on_these_rights_alone(world: Guarded, person: Person) -> None:
    person.run("deploy", "redis", "small-model", "router", "autoscaler")
    assert wait_until(lambda: warm(world) == 2, PATIENCE_S), (published(world), story(world))
    events = world.nomad.told("GET", f"/v1/job/{MODEL}/scale?{IN}")["TaskGroups"]["main"]["Events"]
    assert any("small-model 1 -> 2" in event["Message"] for event in events), "the autoscaler acted, with its task's own identity"

    chat = {"model": "small-model", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    answer = requests.post(f"http://127.0.0.1:{world.ground.ports.router}/v1/chat/completions", json=chat, timeout=60)
    assert answer.status_code == 200, answer.text

    assert "is warm and serves" in person.run("deploy", "small-model", "-var", "model.small-model.context=1024")
    assert "is published, and 1 of 1 router(s) go by it" in person.run("reload")
    assert "is paused" in person.run("pause", "to see whether I may", files=False)
    assert "small-model" in person.run("explain", "small-model", files=False)
    assert "is scaled again" in person.run("resume", files=False)

    person.run("deploy", "small-model", "--detach", "-var", "model.small-model.context=512")
    deployment = person.nomad.latest_deployment(MODEL)
    assert deployment is not None
    person.nomad.fail(deployment.deployment_id)
    (running, *_) = [a for a in person.nomad.allocations(MODEL) if a.live]
    assert isinstance(person.nomad.logs(running.alloc_id, "small-model"), str)
