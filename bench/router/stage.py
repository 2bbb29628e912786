"""The stage: one stub upstream for all, Consul and Redis for our router, a sink for DogStatsD, and the proxies started on it.

Everything is on loopback, on a block of ports that no other stack uses, and carries the stage's folder in its environment; when the
stage is left, also by an error, every process of it is ended by its id and the folder is gone.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.router import catalog, wire
from bench.router.errors import BenchError
from bench.router.proxies import Backing, Proxy
from bench.router.upstream import Counts
from fleet.local import agents, leftovers, ports, tools
from fleet.local.processes import Process, is_alive, spawn, terminate, wait_until

_READY_S = 90.0
_STOP_S = 15.0
_CORES = sorted(os.sched_getaffinity(0))
_OF_PROXIES, _OF_OTHERS = _CORES[-1:], _CORES[:-1] or _CORES


@dataclass
class Stage:
    """`upstreams` are the ports of the stub, which is one process."""

    ground: agents.Ground
    consul: str
    redis: str
    statsd: socket.socket
    upstreams: tuple[int, ...] = ()
    _free: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        first, last = self.ground.ports.dynamic
        self._free = iter(range(first, last + 1))

    @property
    def folder(self) -> Path:
        return self.ground.state

    def port(self) -> int:
        """A port of the stage's block that nothing listens on. Raises: BenchError: all have been given out."""
        free = next(filter(ports.is_free, self._free), None)
        if free is None:
            raise BenchError("the stage has no free port left; stop what listens between 20000 and 32000 on this machine")
        return free

    def backing(self, *, redis: bool = True) -> Backing:
        return Backing(self.consul, self.redis if redis else "", self.statsd.getsockname()[1])

    def spawn(self, name: str, argv: Sequence[str], env: dict[str, str] | None = None) -> Process:
        """A program of the stage, its output in `<name>.log`."""
        setting = [f"{key}={value}" for key, value in {"PYTHONPATH": str(tools.CHECKOUT), **(env or {})}.items()]
        return spawn(["/usr/bin/env", *setting, *argv], self.folder / f"{name}.log", marker=self.folder)

    def counts(self) -> Counts:
        """What the stub upstream has done so far."""
        return msgspec.json.decode(get(self.upstreams[0], "/bench"), type=Counts)

    def register(self, service: str, replicas: int) -> None:
        """So many passing replicas of the model in Consul, all of them the stub upstream."""
        for n in range(replicas):
            catalog.register(self.consul, service, catalog.Registered(f"{service}-{n}", self.upstreams[n % len(self.upstreams)]))


@contextmanager
def stage(upstreams: int = 2) -> Iterator[Stage]:
    """A stage with its servers up."""
    lease = ports.lease()
    ground = agents.Ground(Path(tempfile.mkdtemp(prefix="wf-bench-")).resolve(), ports.block(lease.base), lease)
    try:
        with (
            _cores(_OF_OTHERS),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
        ):  # bound and never read: the kernel drops what is too much
            sink.bind((ports.HOST, 0))
            yield _set(ground, sink, upstreams)
    finally:
        leftovers.sweep(ground.state)
        lease.close()


@contextmanager
def _cores(cores: Sequence[int]) -> Iterator[None]:
    """What is started here runs on these cores: a proxy has one to itself, so that where the load happens to run is no part of its cost."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _set(ground: agents.Ground, sink: socket.socket, upstreams: int) -> Stage:
    programs = tools.require()
    consul, redis = agents.start_consul(programs.consul, ground), agents.start_redis(programs.redis, ground)
    built = Stage(ground, consul.address, redis.address, sink)
    built.upstreams = tuple(built.port() for _ in range(upstreams))
    if built.upstreams:
        stub = built.spawn("upstream", [sys.executable, "-m", "bench.router.upstream", *map(str, built.upstreams)])
        await_ready(built, "upstream", stub, lambda: bool(get(built.upstreams[-1], "/bench")))
    agents.await_redis(redis)
    agents.await_consul(consul)
    return built


@contextmanager
def started(on: Stage, proxy: Proxy) -> Iterator[Process]:
    """The proxy, once a chat through it has been answered."""
    for name, text in proxy.files.items():
        (on.folder / name).write_text(text)
    with _cores(_OF_PROXIES):
        process = on.spawn(proxy.name, proxy.argv, dict(proxy.env))
    try:
        await_ready(on, proxy.name, process, lambda: chats(proxy.port))
        yield process
    finally:
        terminate([process], grace_s=_STOP_S)


def await_ready(on: Stage, name: str, process: Process, ready: object) -> None:
    """Raises: BenchError: it ended, or was not ready in time; with the end of its log."""
    assert callable(ready)
    done = wait_until(lambda: not is_alive(process) or ready(), _READY_S)
    if not done or not is_alive(process):
        what = "was not ready in time" if is_alive(process) else "ended right after its start"
        raise BenchError(f"{name} {what}; the end of its log:\n{agents.log_tail(on.folder / f'{name}.log')}")


def chats(port: int) -> bool:
    """One whole answer to one small chat."""
    body = json.dumps({"model": wire.MODEL, "messages": [{"role": "user", "content": "hi"}]})
    return b'"choices"' in _ask(port, "POST", wire.PATH, body)


def get(port: int, path: str) -> bytes:
    """What is answered with 200; empty for anything else."""
    return _ask(port, "GET", path, None)


def _ask(port: int, method: str, path: str, body: str | None) -> bytes:
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=10)
    try:
        connection.request(method, path, body, {"content-type": "application/json", "authorization": f"Bearer {wire.KEY}"})
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else b""
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def pause(seconds: float) -> None:
    """The time a measurement takes."""
    time.sleep(seconds)
