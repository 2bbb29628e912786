"""status, pause and explain against a real Consul: who is scaled, who is not, and where that can be seen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from click.testing import CliRunner, Result

from fleet.cli import main
from fleet.local import records
from fleet.local.agents import Agent
from fleet.local.processes import Process, start_time
from fleet.local.records import Record
from tests.servers import NomadServer

pytestmark = pytest.mark.contract

Call = Callable[..., Result]


@pytest.fixture
def fleet() -> str:
    return f"f{uuid4().hex[:8]}"


@pytest.fixture
def call(tmp_path: Path, nomad_server: NomadServer, fleet: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """The command line beside a local system without jobs, on the servers of the test run; one autoscaler passes."""
    for name in ("NOMAD_ADDR", "CONSUL_HTTP_ADDR"):
        monkeypatch.delenv(name, raising=False)
    this = Process(os.getpid(), start_time(os.getpid()) or 0)
    servers = (("nomad", nomad_server.address), ("consul", nomad_server.consul))
    agents = tuple(Agent(name, address, this, Path("/no")) for name, address in servers)
    state = tmp_path / "state"
    records.begin(state, Record(phase="up", owner=this, fleet=fleet, router="http://127.0.0.1:8", agents=agents))
    agent = f"{nomad_server.consul}/v1/agent/service"
    row = {"ID": fleet, "Name": f"{fleet}-autoscaler", "Address": "127.0.0.1", "Port": 9, "Check": {"TTL": "1h", "Status": "passing"}}
    requests.put(f"{agent}/register", json=row, timeout=10).raise_for_status()
    yield lambda *args: CliRunner().invoke(main, [*args, "--state", str(state)])
    requests.put(f"{agent}/deregister/{fleet}", timeout=10).raise_for_status()
    requests.delete(f"{nomad_server.consul}/v1/kv/warmfleet/{fleet}/?recurse=true", timeout=10).raise_for_status()


def test_status_shows_the_autoscaler_and_whether_it_is_paused(call: Call) -> None:
    assert "autoscaler  http://127.0.0.1:9/status" in call("status").output
    assert "paused" not in call("status").output
    assert call("pause", "moving GPUs").exit_code == 0
    assert ": moving GPUs   (`warmfleet resume` ends that)" in call("status").output
    assert json.loads(call("status", "--json").output)["autoscaler"]["paused"].endswith(": moving GPUs")
    assert call("resume").exit_code == 0
    assert "paused" not in call("status").output


def test_a_pause_needs_a_reason(call: Call) -> None:
    result = call("pause", " ")
    assert (result.exit_code, "say why" in result.stderr) == (2, True)


def test_a_model_that_nobody_knows_is_answered_with_those_that_there_are(call: Call, nomad_server: NomadServer, fleet: str) -> None:
    assert "nothing was decided there yet" in call("explain", "small").stderr
    for name in ("small", "large"):
        url = f"{nomad_server.consul}/v1/kv/warmfleet/{fleet}/models/{name}"
        requests.put(url, data=b"{}", timeout=10).raise_for_status()
    assert "has no model 'smal'; there are: large, small" in call("explain", "smal").stderr
