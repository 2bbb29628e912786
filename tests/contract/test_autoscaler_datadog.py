"""What the autoscaler tells a Datadog agent: its metrics and its news, over UDP as an agent hears them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from fleet.nomad import Nomad
from tests import servers
from tests.contract.autoscaler_program import autoscaler, description
from tests.contract.autoscaler_world import MODEL, job_of_sleepers, own_names, registered, until

pytestmark = pytest.mark.contract


class Agent(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.heard += data.decode().splitlines()


async def test_an_agent_hears_metrics_and_news(nomad_server: servers.NomadServer, tmp_path: Path) -> None:
    names, nomad, document = own_names(), Nomad(nomad_server.address), tmp_path / "fleet.json"
    described = json.dumps(description(names, nomad_server)).replace('"min": 1', '"min": 2')
    document.write_text(described)
    transport, agent = await asyncio.get_running_loop().create_datagram_endpoint(Agent, local_addr=("127.0.0.1", 0))
    port = str(transport.get_extra_info("sockname")[1])

    async def heard() -> str:
        return "\n".join(agent.heard)

    try:
        with registered(nomad, job_of_sleepers(names)):
            async with autoscaler(document, tmp_path / "log", DD_AGENT_HOST="127.0.0.1", DD_DOGSTATSD_PORT=port):
                await until(heard, lambda said: f"{MODEL} scaled 1 -> 2" in said)
                await until(heard, lambda said: "warmfleet.autoscaler.replicas" in said)
    finally:
        transport.close()
    events = [line for line in agent.heard if line.startswith("_e{")]
    assert any("leads, term 1" in line for line in events)
    (scaled,) = [line for line in events if "scaled 1 -> 2" in line]
    assert "raised to the minimum 2" in scaled
    assert f"model:{MODEL}" in scaled
    assert any(line.startswith(f"warmfleet.autoscaler.replicas:2|g|#model:{MODEL},state:desired") for line in agent.heard)
    assert any(line.startswith("warmfleet.autoscaler.leads:1|g") for line in agent.heard)
