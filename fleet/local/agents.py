"""Consul, Nomad and Redis of one machine: their configuration, start and stop.

Every port is explicit and every listener is on loopback. Both agents run in dev mode: state in memory, no peers. Nomad ended with
SIGTERM ends its tasks and unmounts their folders; Nomad killed does neither, which is what fleet/local/leftovers.py is for.
What is deployed on them is not decided here.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet.errors import StackError
from fleet.local.ports import HOST, Lease, Ports
from fleet.local.processes import Process, is_alive, listens, spawn, terminate, wait_until

READY_S = 60.0
_STOP_S = 20.0

# A socket for the task's own questions to Nomad, which ours do not ask; in a long folder its path is longer than a socket's may be.
_HARMLESS = "error creating task api socket"

# Without this the agent probes the clouds' metadata addresses, and dies at start where AWS_CA_BUNDLE is set.
_NO_CLOUDS = "env_aws,env_gce,env_azure,env_digitalocean"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where servers stand: a state folder (absolute) and a block of ports that nobody else uses."""

    state: Path
    ports: Ports
    lease: Lease


@dataclass(frozen=True, slots=True)
class Agent:
    """A started server. `log` is where its output goes."""

    name: str
    address: str
    process: Process
    log: Path


def start_consul(binary: Path, ground: Ground) -> Agent:
    """Starts a Consul dev agent below the state folder; `await_consul` says when it answers."""
    folder = _folder(ground.state, "consul")
    config = _write(folder, consul_config(ground.ports))
    argv = [str(binary), "agent", "-dev", "-client", HOST, "-bind", HOST, "-config-file", str(config)]
    return _start("consul", argv, f"http://{HOST}:{ground.ports.consul_http}", ground)


def start_nomad(binary: Path, ground: Ground, *, consul: str) -> Agent:
    """Starts a Nomad dev agent (server and client) below the state folder; `consul` is where it registers services."""
    folder = _folder(ground.state, "nomad")
    config = _write(folder, nomad_config(folder, ground.ports, consul))
    argv = [str(binary), "agent", "-dev", "-config", str(config)]
    return _start("nomad", argv, f"http://{HOST}:{ground.ports.nomad_http}", ground)


def start_redis(binary: Path, ground: Ground) -> Agent:
    """Starts a Redis server without persistence below the state folder."""
    folder = _folder(ground.state, "redis")
    argv = [str(binary), "--bind", HOST, "--port", str(ground.ports.redis), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    return _start("redis", argv, f"redis://{HOST}:{ground.ports.redis}/0", ground)


def consul_config(ports: Ports) -> dict[str, Any]:
    return {
        "node_name": "local",
        "disable_update_check": True,
        "log_level": "WARN",
        "ports": {
            "http": ports.consul_http,
            "grpc": ports.consul_grpc,
            "server": ports.consul_server,
            "serf_lan": ports.consul_serf_lan,
            "serf_wan": ports.consul_serf_wan,
            "dns": -1,
            "https": -1,
            "grpc_tls": -1,
        },
    }


def nomad_config(folder: Path, ports: Ports, consul: str) -> dict[str, Any]:
    """Nomad's configuration. Tasks run by raw_exec only: no container engine is assumed, and none is asked."""
    return {
        "name": "local",
        "bind_addr": HOST,
        "advertise": {"http": HOST, "rpc": HOST, "serf": HOST},
        "ports": {"http": ports.nomad_http, "rpc": ports.nomad_rpc, "serf": ports.nomad_serf},
        "data_dir": str(folder / "data"),
        "disable_update_check": True,
        "log_level": "WARN",
        "consul": {"address": urlsplit(consul).netloc},
        "client": {
            "alloc_mounts_dir": str(folder / "mounts"),
            "min_dynamic_port": ports.dynamic[0],
            "max_dynamic_port": ports.dynamic[1],
            "max_kill_timeout": "10m",
            "options": {"fingerprint.denylist": _NO_CLOUDS, "driver.allowlist": "raw_exec"},
        },
        "plugin": {"raw_exec": {"config": {"enabled": True}}},
    }


def await_consul(agent: Agent) -> None:
    """Raises: StackError: it ended, or has no leader in time; with the end of its log."""
    _await(agent, lambda: bool(_get(agent.address, "/v1/status/leader")))


def await_nomad(agent: Agent) -> None:
    """Ready: a node that can run tasks, and a key to sign their identities with. Errors as in `await_consul`."""
    _await(agent, lambda: any(map(_runs_tasks, _get(agent.address, "/v1/nodes") or ())) and _has_key(agent.address))


def await_redis(agent: Agent) -> None:
    """Errors as in `await_consul`."""
    port = urlsplit(agent.address).port or 0
    _await(agent, lambda: _answers(port))


def stop(agent: Agent) -> None:
    """Ends one agent, and waits until it is gone. Nothing to do where it is gone already."""
    terminate([agent.process], grace_s=_STOP_S)


def log_tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, indented, without what Nomad says of every task and means nothing; empty where there is none."""
    if not log.exists():
        return ""
    said = [line for line in log.read_text(errors="replace").splitlines() if _HARMLESS not in line]
    return "\n".join(f"    {line}" for line in said[-lines:])


def _folder(state: Path, name: str) -> Path:
    folder = state / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(folder: Path, config: dict[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(config, indent=2) + "\n")
    return path


def _start(name: str, argv: list[str], address: str, ground: Ground) -> Agent:
    log = ground.state / name / "log"
    return Agent(name, address, spawn(argv, log, marker=ground.state, inherit_fd=ground.lease.held.fileno()), log)


def _await(agent: Agent, ready: Callable[[], bool]) -> None:
    """Somebody else's server, which was quicker to take the port, is not taken for the agent: that one ends, and its log says why."""
    port = urlsplit(agent.address).port or 0
    done = wait_until(lambda: not is_alive(agent.process) or (listens(agent.process, port) and ready()), READY_S)
    if not is_alive(agent.process):
        raise StackError(f"{agent.name} ended right after its start; the end of {agent.log}:\n{log_tail(agent.log)}")
    if not done:
        raise StackError(
            f"{agent.name} at {agent.address} was not ready within {READY_S:.0f} s; the end of {agent.log}:\n{log_tail(agent.log)}"
        )


def has_web_pages(nomad: str) -> bool:
    """A Nomad built from its module comes without its web pages; released ones have them."""
    return b"not available in this binary" not in _read(nomad, "/ui/")


def _get(address: str, path: str) -> Any:
    """JSON answered with 200; None for anything else, also for no answer."""
    try:
        return json.loads(_read(address, path))
    except ValueError:
        return None


def _read(address: str, path: str) -> bytes:
    """What is answered with 200; empty for anything else, also for no answer."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read() if response.status == 200 else b""
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def _runs_tasks(node: dict[str, Any]) -> bool:
    driver = (node.get("Drivers") or {}).get("raw_exec") or {}
    return bool(node["Status"] == "ready" and driver.get("Healthy"))


def _has_key(address: str) -> bool:
    """Without one, registering a job fails with "keyring has not been initialized yet"."""
    return any(key["State"] == "active" for key in _get(address, "/v1/operator/keyring/keys") or ())


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
