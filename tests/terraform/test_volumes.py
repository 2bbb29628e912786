"""A real Nomad makes the volumes that Terraform asks for, and places the rendered jobs on them.

Only what has to do with volumes is left of a job: its tasks would need Docker and GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests

from fleet.local.processes import wait_until
from fleet.nomad import Nomad
from fleet.render import render_jobs
from fleet.spec import load
from tests import servers
from tests.terraform import configuration
from tests.terraform.configuration import ROOT, bare

pytestmark = pytest.mark.contract

Capabilities = list[dict[str, str]]


def _declared(name: str) -> Capabilities:
    """Of a volume in terraform/volumes.tf, in Nomad's words."""
    [body] = [one.body for one in configuration.resources() if str(one) == f"nomad_dynamic_host_volume.{name}"]
    return [{"AccessMode": bare(one["access_mode"]), "AttachmentMode": bare(one["attachment_mode"])} for one in body["capability"]]


class Volumes:
    def __init__(self, server: servers.NomadServer) -> None:
        self._address = server.address
        self._made: list[str] = []
        [node] = requests.get(f"{server.address}/v1/nodes", timeout=10).json()
        self._node = node["ID"]

    def make(self, capabilities: Capabilities) -> str:
        """A volume of a new name; gone at the end of the test."""
        name = f"volume-{uuid4().hex[:8]}"
        asked = {"Name": name, "PluginID": "mkdir", "NodeID": self._node, "RequestedCapabilities": capabilities}
        answer = requests.put(f"{self._address}/v1/volume/host/create", json={"Volume": asked}, timeout=20)
        assert answer.status_code == 200, answer.text
        self._made.append(answer.json()["Volume"]["ID"])
        assert wait_until(lambda: self._state(self._made[-1]) == "ready", 60)
        return name

    def _state(self, volume: str) -> str:
        return str(requests.get(f"{self._address}/v1/volume/host/{volume}", timeout=10).json()["State"])

    def remove(self) -> None:
        for volume in self._made:
            requests.delete(f"{self._address}/v1/volume/host/{volume}/delete", timeout=20).raise_for_status()


@pytest.fixture
def volumes(nomad_server: servers.NomadServer) -> Iterator[Volumes]:
    made = Volumes(nomad_server)
    yield made
    made.remove()


def _unplaced(server: servers.NomadServer, job: str, count: int, *variables: str) -> dict[str, Any]:
    """Why the groups of a rendered job would not be placed with so many allocations; {} where they would."""
    text = render_jobs(load(ROOT / "jobs/fleet.toml", variables=variables), ROOT / "templates")[f"{job}.nomad.hcl"]
    parsed = Nomad(server.address).parse(text)
    [group] = parsed["TaskGroups"]
    task = {
        "Name": "wait",
        "Driver": "raw_exec",
        "Config": {"command": "/bin/sleep", "args": ["1"]},
        "Resources": {"CPU": 10, "MemoryMB": 10},
    }
    bare_group = {"Name": group["Name"], "Count": count, "Volumes": group["Volumes"], "Tasks": [task]}
    name = f"volumes-{uuid4().hex[:8]}"
    asked = {"ID": name, "Name": name, "Type": "service", "Datacenters": ["*"], "TaskGroups": [bare_group]}
    answer = requests.post(f"{server.address}/v1/job/{name}/plan", json={"Job": asked}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()["FailedTGAllocs"] or {}


def test_replicas_of_one_node_share_the_weights(nomad_server: servers.NomadServer, volumes: Volumes) -> None:
    name = volumes.make(_declared("weights"))
    assert _unplaced(nomad_server, "small-model", 2, f"model.small-model.volume={name}") == {}


def test_redis_gets_the_volume_of_the_sessions(nomad_server: servers.NomadServer, volumes: Volumes) -> None:
    name = volumes.make(_declared("sessions"))
    assert _unplaced(nomad_server, "redis", 1, f"redis.volume={name}") == {}


def test_a_volume_that_does_not_offer_what_the_job_asks_for_is_not_used(nomad_server: servers.NomadServer, volumes: Volumes) -> None:
    name = volumes.make([{"AccessMode": "single-node-multi-writer", "AttachmentMode": "file-system"}])
    failed = _unplaced(nomad_server, "small-model", 1, f"model.small-model.volume={name}")
    assert failed["main"]["ConstraintFiltered"] == {"missing compatible host volumes": 1}
