"""Real servers for tests: Consul, Nomad and Redis on loopback, with ports and folders of their own, gone when the test run is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fleet.local import agents, leftovers, ports, tools


@dataclass
class ConsulServer:
    """`stop` and `start` keep the address; in dev mode it comes back empty. The one shared by all tests is not to be stopped."""

    ground: agents.Ground
    address: str = field(init=False)
    _agent: agents.Agent | None = None

    def __post_init__(self) -> None:
        self.address = f"http://{ports.HOST}:{self.ground.ports.consul_http}"

    def start(self) -> None:
        self._agent = agents.start_consul(tools.require().consul, self.ground)
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
def ground() -> Iterator[agents.Ground]:
    """At the end, also of a failed test, every process, mount and folder of the ground is gone."""
    lease = ports.lease()
    state = Path(tempfile.mkdtemp(prefix="wf-")).resolve()
    try:
        yield agents.Ground(state, ports.block(lease.base), lease)
    finally:
        leftovers.sweep(state)
        lease.close()


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
