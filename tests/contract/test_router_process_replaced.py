"""The only router of a node is replaced by Nomad, under traffic, and no caller notices."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet.names import Names
from fleet.nomad import Allocation, Nomad
from fleet.render import render_jobs
from fleet.spec import load
from tests.contract.test_router_consul import engine, free_port, registered
from tests.router.client import Caller, Reply, chat
from tests.router.upstream import DONE, SSE_HEAD, Play, chunked, delta, says_hello
from tests.servers import NomadServer

pytestmark = pytest.mark.contract

CHECKOUT = Path(__file__).parents[2]
NAMES = Names("replaced")
SPEC = """
[fleet]
name = "replaced"
consul = "{consul}"
shutdown_delay = "500ms"
[runtime]
driver = "raw_exec"
python = "{python}"
[check]
interval = "1s"
[redis]
driver = "raw_exec"
[datadog]
enabled = false
read = false
[router]
port = {port}
cpu = 100
memory = "200MiB"
drain = "5s"
workers = {workers}
max_sessions = {sessions}
[[model]]
name = "large"
engine = "llamacpp"
weights = "w"
cold_start = "10s"
capacity = {{ concurrency = 2, requests_per_min = 60.0 }}
[[route]]
selector = 0
name = "best"
chain = ["large"]
"""


@dataclass
class Traffic:
    """Callers that never rest. `failures` says what any of them met that was not a whole 200."""

    port: int
    served: int = 0
    failures: list[str] = field(default_factory=list)
    over: bool = False

    async def anew(self) -> None:
        """Each request on a connection of its own."""
        while not self.over:
            async with await Caller.connect(self.port) as caller:
                await self._one(caller, chat())

    async def on_and_on(self, request: bytes, pause_s: float) -> None:
        """One connection for all requests, and another one only when the router has said that it closes it."""
        while not self.over:
            async with await Caller.connect(self.port) as caller:
                said = ""
                while said != "close" and not self.over:
                    said = (await self._one(caller, request)).headers.get("connection", "")
                    await asyncio.sleep(pause_s)

    async def _one(self, caller: Caller, request: bytes) -> Reply:
        await caller.send(request)
        reply = await caller.reply()
        if reply.status != 200 or not reply.complete or b"error" in reply.body:
            self.failures.append(f"{reply.status} complete={reply.complete} {reply.body[-200:]!r}")
            self.over = True
        self.served += 1
        return reply


@asynccontextmanager
async def running(traffic: Traffic) -> AsyncIterator[None]:
    get, stream = b"GET /v1/models HTTP/1.1\r\nhost: r\r\n\r\n", chat(stream=True)
    callers = [traffic.anew(), traffic.on_and_on(chat(), 0.005), traffic.on_and_on(chat(), 0.7), traffic.on_and_on(get, 0.01)]
    tasks = [asyncio.create_task(caller) for caller in (*callers, traffic.on_and_on(stream, 0.01))]
    try:
        yield
    finally:
        traffic.over = True
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if ended is not None:
                traffic.failures.append(repr(ended))


async def script(play: Play) -> None:
    """Answers at once, or in a stream of half a second."""
    if not play.heard.json.get("stream"):
        await says_hello(play)
        return
    await play.send(SSE_HEAD + chunked([delta("one")], end=False))
    for _ in range(10):
        await asyncio.sleep(0.05)
        await play.send(chunked([delta("more")], end=False))
    await play.send(chunked([delta("end", "stop"), DONE]))


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(90):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.2)


def register(nomad: Nomad, folder: Path, **values: object) -> None:
    described = folder / "fleet.toml"
    described.write_text(SPEC.format(python=sys.executable, **values))
    hcl = render_jobs(load(described), CHECKOUT / "templates")["router.nomad.hcl"]
    nomad.register(nomad.parse(hcl), source=hcl)


def live(nomad: Nomad) -> list[Allocation]:
    return [a for a in nomad.allocations(NAMES.job("router")) if a.client_status in ("pending", "running")]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_router_that_is_replaced_twice_fails_no_request(nomad_server: NomadServer, tmp_path: Path, workers: int) -> None:
    nomad, port = Nomad(nomad_server.address), free_port()
    values = {"consul": nomad_server.consul, "port": port, "workers": workers}
    traffic = Traffic(port)
    async with engine(script) as one, registered(nomad_server.consul, NAMES.model_service, "svc-r", one.port, model="large", alloc_id="a"):
        try:
            register(nomad, tmp_path, sessions=1000, **values)
            await until(lambda: _answers(port))
            async with running(traffic):
                before: set[str] = set()
                for sessions in (2000, 3000):
                    before |= {a.alloc_id for a in live(nomad)}
                    register(nomad, tmp_path, sessions=sessions, **values)
                    await _replacement(nomad, traffic, before)
            assert traffic.failures == []
            assert len(before) == 2
        finally:
            nomad.deregister(NAMES.job("router"), purge=False)
            await until(lambda: not live(nomad))
            nomad.deregister(NAMES.job("router"))


def _answers(port: int) -> bool:
    async def ask() -> bool:
        try:
            async with await Caller.connect(port) as caller:
                await caller.send(chat())
                return (await caller.reply()).status == 200
        except OSError:
            return False

    return asyncio.run(ask())


async def _replacement(nomad: Nomad, traffic: Traffic, before: set[str]) -> None:
    """Only a new router is left, and it serves."""
    await until(lambda: _replaced(nomad, before) or traffic.over)
    served = traffic.served
    await until(lambda: traffic.served > served + 50 or traffic.over)


def _replaced(nomad: Nomad, before: set[str]) -> bool:
    now = live(nomad)
    return len(now) == 1 and now[0].client_status == "running" and now[0].alloc_id not in before
