"""The router in this process, on a loopback port, over scripted engines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvicorn
import uvloop

from fleet.model import Capacity, Fleet, Model, Replicas, Route, Router, Slo, Spec
from router.app import Wired, wire
from router.process.server import config
from router.replicas.snapshot import Endpoint, Snapshot
from tests.router.client import Caller, Reply
from tests.router.upstream import Script, Upstream

# Nobody waits and nobody is sent where others like him are, unless a test is about that: see with_limits.
LIMITS = Router(max_body_bytes=1024**2, connect_s=1.0, drain_s=1.0, max_held=0, affinity=False)


def model(name: str, **slo: float) -> Model:
    return Model(
        name=name,
        engine="vllm",
        weights=name,
        replicas=Replicas(),
        capacity=Capacity(concurrency=4, requests_per_min=60),
        cold_start_s=60.0,
        slo=Slo(**slo) if slo else Slo(first_token_s=10.0, idle_s=10.0),
    )


ROUTES = (
    Route(selector=0, name="best", chain=("large", "small")),
    Route(selector=3, name="quick", chain=("small",)),
    Route(selector=10, name="fallback", chain=("small", "large")),
)
FLEET = Fleet(name="t", consul="http://127.0.0.1:9")
SPEC = Spec(fleet=FLEET, router=LIMITS, models=(model("large"), model("small"), model("lone")), routes=ROUTES)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of production: its transports raise where asyncio's do not."""
    return {"uvloop": uvloop.new_event_loop}


async def until(true: Callable[[], object], deadline_s: float = 10.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.005)


@dataclass
class Running:
    """A router under test. `engines` by allocation id."""

    wired: Wired
    server: uvicorn.Server
    port: int
    engines: dict[str, Upstream] = field(default_factory=dict)
    _serving: asyncio.Task[None] | None = None

    async def engine(self, alloc: str, script: Script, model: str = "large") -> Upstream:
        """Starts an engine; `warm` makes the router see it."""
        engine = Upstream(script)
        await engine.start()
        self.engines[f"{model}/{alloc}"] = engine
        return engine

    def warm(self, *, without: str = "") -> None:
        """Consul reports every engine passing, but for one."""
        engines = {key: engine for key, engine in self.engines.items() if key != without}
        endpoints = [Endpoint(key, key.split("/")[1], key.split("/")[0], "127.0.0.1", e.port) for key, e in engines.items()]
        self.wired.plane.heard()
        self.wired.plane.apply(Snapshot(1, tuple(endpoints)))

    async def call(self, data: bytes) -> Reply:
        async with await Caller.connect(self.port) as caller:
            await caller.send(data)
            return await caller.reply()

    async def connect(self) -> Caller:
        return await Caller.connect(self.port)

    async def get(self, path: str) -> Reply:
        return await self.call(f"GET {path} HTTP/1.1\r\nhost: router\r\n\r\n".encode())

    def in_flight(self) -> int:
        return sum(replica.in_flight for replica in self.wired.plane.replicas())

    def heard(self) -> int:
        return sum(len(engine.heard) for engine in self.engines.values())

    async def metric(self, line: str) -> float | None:
        text = (await self.get("/metrics")).body.decode()
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line + " ")), None)


Start = Callable[..., Any]
Far = Callable[[Script], Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start()`, `await start(engines=[("a", script), ("b", script, "small")], spec=...)`; all is stopped at the end."""
    async with AsyncExitStack() as stack:

        async def run(*, engines: list[Any] = (), spec: Spec = SPEC) -> Running:  # type: ignore[assignment]
            running = await _run(spec)
            stack.push_async_callback(_stop, running)
            for engine in engines:
                await running.engine(*engine)
            running.warm()
            return running

        yield run


async def _run(spec: Spec) -> Running:
    wired = wire(spec)
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config(wired, "127.0.0.1", "0"))
    running = Running(wired, server, sock.getsockname()[1])
    running._serving = asyncio.create_task(server._serve(sockets=[sock]))
    await until(lambda: server.started)
    return running


async def _stop(running: Running) -> None:
    running.server.should_exit = True
    assert running._serving is not None
    await running._serving
    for engine in running.engines.values():
        await engine.stop()


def with_limits(**limits: Any) -> Spec:
    return replace(SPEC, router=replace(LIMITS, **limits))


def with_slo(**slo: float) -> Spec:
    return replace(SPEC, models=(model("large", **slo), model("small", **slo)))


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    """`await far(script)`: a server of somebody else."""
    async with AsyncExitStack() as stack:

        async def run(script: Script) -> Upstream:
            server = Upstream(script)
            await server.start()
            stack.push_async_callback(server.stop)
            return server

        yield run
