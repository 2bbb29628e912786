"""Real servers for tests: Consul, Nomad and Redis on loopback, with ports and folders of their own, gone when the test run is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet.errors import StackError
from fleet.local import agents, leftovers, ports, tools
from fleet.local.processes import Process, is_alive, start_time

# A server that is alone looks after its leadership all the time. Consul's shortest pace for that is half of what it needs at rest,
# and some live as long as the test run.
_LESS_OFTEN = {"performance": {"raft_multiplier": 5}}


@dataclass
class ConsulServer:
    """`stop` and `start` keep the address; in dev mode it comes back empty. The one shared by all tests is not to be stopped."""

    ground: agents.Ground
    address: str = field(init=False)
    _agent: agents.Agent | None = None

    def __post_init__(self) -> None:
        self.address = f"http://{ports.HOST}:{self.ground.ports.consul_http}"

    def start(self) -> None:
        self._agent = start("consul", agents.consul_config(self.ground.ports) | _LESS_OFTEN, self.ground)
        agents.await_consul(self._agent)

    def stop(self) -> None:
        if self._agent is not None:
            agents.stop(self._agent)
            self._agent = None


@dataclass(frozen=True)
class NomadServer:
    address: str
    consul: str


@dataclass
class RedisServer:
    """`stop` and `start` as often as a test likes: the port, and so the url, stays."""

    ground: agents.Ground
    url: str = field(init=False)
    _agent: agents.Agent | None = None

    def __post_init__(self) -> None:
        self.url = f"redis://{ports.HOST}:{self.ground.ports.redis}/0"

    def start(self) -> None:
        self._agent = agents.start_redis(tools.find_redis(), self.ground)
        agents.await_redis(self._agent)

    def stop(self) -> None:
        if self._agent is not None:
            agents.stop(self._agent)
            self._agent = None


@contextmanager
def state_folder() -> Iterator[Path]:
    """A folder for a stack's or a server's state. At the end, also of a failed test, every process, mount and file of it is gone.

    Its name says whose it is, so that what a killed test run left is swept by the next one.
    """
    _sweep_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"wf-{os.getpid()}-{start_time(os.getpid())}-")).resolve()
    try:
        yield folder
    finally:
        if folder.exists():
            leftovers.sweep(folder)


def _sweep_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).resolve().glob("wf-*-*-*"):
        pid, started = folder.name.split("-")[1:3]
        with suppress(StackError, FileNotFoundError):  # its own run may be removing it, or another one sweeping it too
            if folder.stat().st_uid == os.getuid() and not is_alive(Process(int(pid), int(started))):
                leftovers.sweep(folder)


@contextmanager
def ground() -> Iterator[agents.Ground]:
    """A state folder, and a block of ports that no other test run and no local system uses."""
    with state_folder() as state, closing(ports.lease()) as lease:
        yield agents.Ground(state, ports.block(lease.base), lease)


def start(name: str, config: Mapping[str, Any], own: agents.Ground, *, dev: bool = True) -> agents.Agent:
    """A `consul` or `nomad` agent with a configuration of the test's own. Who starts it awaits and stops it."""
    file = agents._write(agents._folder(own.state, name), dict(config))
    how = ["-client", ports.HOST, "-bind", ports.HOST, "-config-file", str(file)] if name == "consul" else ["-config", str(file)]
    argv = [str(getattr(tools.require(), name)), "agent", *(["-dev"] if dev else []), *how]
    return agents._start(name, argv, f"http://{ports.HOST}:{getattr(own.ports, f'{name}_http')}", own)


@contextmanager
def consul() -> Iterator[ConsulServer]:
    with ground() as own:
        server = ConsulServer(own)
        server.start()
        yield server
        server.stop()


@contextmanager
def nomad(consul_address: str) -> Iterator[NomadServer]:
    programs = tools.require()
    with ground() as own:
        agent = agents.start_nomad(programs.nomad, own, consul=consul_address)
        agents.await_nomad(agent)
        yield NomadServer(agent.address, consul_address)
        agents.stop(agent)


@contextmanager
def redis() -> Iterator[RedisServer]:
    with ground() as own:
        server = RedisServer(own)
        server.start()
        yield server
        server.stop()
