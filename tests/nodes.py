"""A Nomad of several nodes with mock GPUs, for tests that no single dev agent can carry.

Each node is a Nomad client beside a Consul agent of its own, as production has it. The first node is server too, of both. Its GPUs are
files: Nomad's example device plugin makes a device `nomad/file/mock` of every file in a folder, so one is plugged in by writing a file
and breaks when its permissions say so.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from fleet.local import agents, build, tools
from fleet.local.agents import Agent, Ground
from fleet.local.processes import wait_until
from tests import servers

DEVICE = "nomad/file/mock"
_BROKEN, _WELL = 0o001, 0o600
_PATIENCE_S = 90.0


@dataclass(frozen=True)
class Node:
    """One machine: `gpus` is the folder whose files are its devices."""

    name: str
    ground: Ground
    gpus: Path

    def has_gpus(self, working: Collection[str]) -> None:
        """Plugs in or mends these, and breaks all others: one that is taken away would make the plugin fail."""
        for gpu in {*working, *(file.name for file in self.gpus.iterdir())}:
            (self.gpus / gpu).touch()
            (self.gpus / gpu).chmod(_WELL if gpu in working else _BROKEN)


@dataclass(frozen=True)
class Cluster:
    nodes: tuple[Node, ...]
    consul: Agent
    nomad: Agent

    def nomad_node(self, name: str) -> dict[str, Any]:
        """Nomad's own record of a node, with its devices."""
        rows = _get(self.nomad.address, "/v1/nodes", resources="true")
        return next(row for row in rows if row["Name"] == name)

    def healthy_gpus(self, name: str) -> set[str]:
        groups = self.nomad_node(name)["NodeResources"]["Devices"] or ()
        return {gpu["ID"] for group in groups for gpu in group["Instances"] if gpu["Healthy"]}

    def drain(self, name: str) -> None:
        """As `nomad node drain -enable` does, without a deadline by which everything is stopped."""
        body = {"DrainSpec": {"Deadline": 0, "IgnoreSystemJobs": True}}
        self._post(f"/v1/node/{self.nomad_node(name)['ID']}/drain", body)

    def cordon(self, name: str, *, eligible: bool = False) -> None:
        """As `nomad node eligibility` does: nothing new is placed there. Eligible again, it is drained no more."""
        node_id = self.nomad_node(name)["ID"]
        if eligible:
            self._post(f"/v1/node/{node_id}/drain", {"DrainSpec": None, "MarkEligible": True})
        else:
            self._post(f"/v1/node/{node_id}/eligibility", {"NodeID": node_id, "Eligibility": "ineligible"})

    def _post(self, path: str, body: dict[str, Any]) -> None:
        requests.post(self.nomad.address + path, json=body, timeout=10).raise_for_status()


@contextmanager
def cluster(**gpus: Collection[str]) -> Iterator[Cluster]:
    """Nodes of these names with these GPUs, ready. Everything of them is gone at the end, whatever happened.

    At least one GPU each: Nomad waits 50 s for the first word of a device plugin, and this one says nothing about an empty folder.
    """
    build.build_missing((tools.EXAMPLE_DEVICE,))
    with ExitStack() as left:
        nodes = tuple(_node(name, left.enter_context(servers.ground()), ids) for name, ids in gpus.items())
        consuls = [_consul(node, nodes[0], left) for node in nodes]
        for consul in consuls:  # a Nomad that finds none looks again after 15 s
            agents.await_consul(consul)
        nomads = [_nomad(node, nodes[0], consul.address, left) for node, consul in zip(nodes, consuls, strict=True)]
        agents.await_nomad(nomads[0])
        ready = lambda: sum(map(agents._runs_tasks, _get(nomads[0].address, "/v1/nodes"))) == len(nodes)  # noqa: E731
        assert wait_until(ready, _PATIENCE_S), agents.log_tail(nomads[-1].log)
        yield Cluster(nodes, consuls[0], nomads[0])


def _node(name: str, ground: Ground, gpus: Collection[str]) -> Node:
    node = Node(name, ground, ground.state / "gpus")
    node.gpus.mkdir()
    node.has_gpus(gpus)
    return node


def _consul(node: Node, first: Node, left: ExitStack) -> Agent:
    config = agents.consul_config(node.ground.ports) | {"node_name": node.name, "data_dir": str(node.ground.state / "consul" / "data")}
    is_server = node is first
    if not is_server:
        config |= {"retry_join": [f"127.0.0.1:{first.ground.ports.consul_serf_lan}"], "retry_interval": "1s"}
    return _started("consul", config, node, left, dev=is_server)


def _nomad(node: Node, first: Node, consul: str, left: ExitStack) -> Agent:
    config = agents.nomad_config(node.ground.state / "nomad", node.ground.ports, consul) | {
        "name": node.name,
        "plugin_dir": str(_plugins(node)),
    }
    device = {"dir": str(node.gpus), "list_period": "500ms", "unhealthy_perm": "---------x"}
    config["plugin"] |= {tools.EXAMPLE_DEVICE: {"config": device}}
    if node is not first:
        config["server"] = {"enabled": False}
        config["client"] |= {"enabled": True, "servers": [f"127.0.0.1:{first.ground.ports.nomad_rpc}"], "network_interface": "lo"}
    return _started("nomad", config, node, left, dev=node is first)


def _plugins(node: Node) -> Path:
    folder = node.ground.state / "plugins"
    folder.mkdir()
    plugin = tools.find(tools.EXAMPLE_DEVICE)
    assert plugin is not None
    shutil.copy2(plugin, folder / tools.EXAMPLE_DEVICE)
    return folder


def _started(name: str, config: dict[str, Any], node: Node, left: ExitStack, *, dev: bool) -> Agent:
    agent = servers.start(name, config, node.ground, dev=dev)
    left.callback(agents.stop, agent)
    return agent


def _get(address: str, path: str, **params: str) -> Any:
    answer = requests.get(address + path, params, timeout=10)
    answer.raise_for_status()
    return answer.json()
