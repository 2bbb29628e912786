"""The local stack on agents that outlive a `kill -9`, as they do in production: state on disk, and somebody who starts them again.

The dev agents of `make up` forget everything when they die. Here Consul is a server with a data folder, Nomad a server and a client of
their own, so that a node's agent can die and take up its tasks again. The test is the init system: `start_again` is what systemd does.
The jobs are those of `make up` but for one thing: tasks may be restarted more often, because a journey kills more in a minute
than any sensible policy allows in an hour.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet.local import agents, jobs, ports, records, stack, tools
from fleet.local.agents import Agent, Ground
from fleet.local.processes import Process, start_time
from tests import servers
from tests.journeys.fleet import Fleet

_READY_S = 90.0
_ATTEMPTS = re.compile(r"^(\s+attempts = )\d+$", re.MULTILINE)


@dataclass
class Durable:
    """The agents by name: consul, nomad-server, nomad-client. Killed ones are started again by `start_again`, at their old places."""

    ground: Ground
    programs: tools.Tools
    agents: dict[str, Agent] = field(default_factory=dict)

    def start(self) -> None:
        for name in ("consul", "nomad-server", "nomad-client"):
            self.start_again(name)

    def kill(self, name: str) -> None:
        """-9, and gone."""
        pid = self.agents[name].process.pid
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def stop(self) -> None:
        for agent in reversed(self.agents.values()):
            agents.stop(agent)

    def start_again(self, name: str) -> None:
        """Raises: StackError: it ended before it answered, or does not answer."""
        agent = self.agents[name] = self._spawned(name)
        path = "/v1/agent/self" if name == "nomad-client" else "/v1/status/leader"
        agents._await(agent, lambda: bool(agents._get(agent.address, path)))

    def _spawned(self, name: str) -> Agent:
        folder = agents._folder(self.ground.state, name)
        binary, config, port = self._settings(name, folder)
        path = agents._write(folder, config)
        return agents._start(
            name, [str(binary), "agent", "-config-file" if name == "consul" else "-config", str(path)], _url(port), self.ground
        )

    def _settings(self, name: str, folder: Path) -> tuple[Path, dict[str, Any], int]:
        given = self.ground.ports
        if name == "consul":
            return self.programs.consul, consul_config(folder, given), given.consul_http
        if name == "nomad-server":
            return self.programs.nomad, server_config(folder, given), given.nomad_http
        return self.programs.nomad, client_config(folder, given), given.redis  # which no Redis takes: ours is a job


def consul_config(folder: Path, given: ports.Ports) -> dict[str, Any]:
    server = {"server": True, "bootstrap_expect": 1, "performance": {"raft_multiplier": 1}, "connect": {"enabled": False}}
    return agents.consul_config(given) | server | {"data_dir": str(folder / "data"), "bind_addr": ports.HOST, "client_addr": ports.HOST}


def server_config(folder: Path, given: ports.Ports) -> dict[str, Any]:
    config = agents.nomad_config(folder, given, _url(given.consul_http))
    del config["client"], config["plugin"]
    return config | {"server": {"enabled": True, "bootstrap_expect": 1, "raft_multiplier": 1}}


def client_config(folder: Path, given: ports.Ports) -> dict[str, Any]:
    config = agents.nomad_config(folder, given, _url(given.consul_http))
    found = {"enabled": True, "network_interface": "lo", "servers": [f"{ports.HOST}:{given.nomad_rpc}"]}
    return config | {"client": config["client"] | found, "ports": config["ports"] | {"http": given.redis}}


@contextmanager
def durable(variables: Sequence[str]) -> Iterator[tuple[Fleet, Durable]]:
    """The fleet, passing, and its agents."""
    with servers.state_folder() as state, closing(ports.lease()) as lease:
        own = Durable(Ground(state, ports.block(lease.base), lease), tools.require())
        records.begin(state, records.Record(phase="starting", owner=Process(os.getpid(), start_time(os.getpid()) or 0)))
        own.start()
        agents.await_nomad(own.agents["nomad-server"])
        record = _deployed(own, variables)
        records.write(state, record)
        jobs.await_passing(record, stack.Silent().show, _READY_S)
        yield Fleet(state, record), own
        jobs.deregister(record, 15)
        own.stop()


def _deployed(own: Durable, variables: Sequence[str]) -> records.Record:
    loaded = jobs.read(tools.CHECKOUT, jobs.machine_values(own.ground.ports, own.programs), variables)
    rendered = {part: _ATTEMPTS.sub(r"\g<1>25", text) for part, text in _rendered(own, loaded).items()}
    nomad, consul = own.agents["nomad-server"], own.agents["consul"]
    jobs.register(nomad.address, rendered, stack.Silent().say)
    router = f"http://{ports.HOST}:{loaded.spec.router.port}"
    owner = Process(os.getpid(), start_time(os.getpid()) or 0)
    named = (Agent("nomad", nomad.address, nomad.process, nomad.log), consul)
    return records.Record(phase="up", owner=owner, fleet=loaded.spec.fleet.name, router=router, parts=tuple(rendered), agents=named)


def _rendered(own: Durable, loaded: Any) -> Mapping[str, str]:
    return jobs.render(loaded, tools.CHECKOUT / "templates", own.ground.state / "jobs")


def _url(port: int) -> str:
    return f"http://{ports.HOST}:{port}"
