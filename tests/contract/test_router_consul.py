"""The router follows a real Consul, as its own process does: from the description in a file to an answer, and to its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio

from fleet import names, state
from fleet.consul import Consul
from fleet.names import Names
from fleet.state import ModelState
from tests.router.client import Caller, Reply, chat
from tests.router.upstream import CHAT, DONE, SSE_HEAD, Play, Upstream, chunked, delta, says_hello
from tests.servers import ConsulServer, RedisServer

pytestmark = pytest.mark.contract

FLEET = Names("contract-router")
SPEC = """
[fleet]
name = "contract-router"
consul = "{consul}"
[runtime]
driver = "raw_exec"
[redis]
driver = "raw_exec"
[router]
drain = "{drain}"
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
on_cold = "shed"
"""


@dataclass
class Process:
    port: int
    process: asyncio.subprocess.Process
    log: Path

    async def call(self, data: bytes) -> Reply:
        async with await Caller.connect(self.port) as caller:
            await caller.send(data)
            return await caller.reply()

    async def get(self, path: str) -> Reply:
        return await self.call(f"GET {path} HTTP/1.1\r\nhost: r\r\n\r\n".encode())

    async def until(self, path: str, status: int, holds: str = "True") -> Reply:
        """Polls until the answer has the status and `holds`, an expression over its JSON `j`, is true."""
        async with asyncio.timeout(120):
            while True:
                if (reply := await self._try(path)) is not None and reply.status == status and eval(holds, {"j": reply.json}):
                    return reply
                await asyncio.sleep(0.05)

    async def _try(self, path: str) -> Reply | None:
        try:
            return await self.get(path)
        except (ConnectionError, TimeoutError):  # not started yet, which on a busy machine takes a while
            assert self.process.returncode is None, self.log.read_text()
            return None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@asynccontextmanager
async def router_process(consul: str, folder: Path, drain: str = "5s") -> AsyncIterator[Process]:
    described = folder / "fleet.toml"
    described.write_text(SPEC.format(consul=consul, drain=drain))
    port = free_port()
    environment = {**os.environ, names.ENV_SPEC: str(described), names.ENV_HOST: "127.0.0.1", names.ENV_PORT: str(port)}
    log = folder / "router.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "router", env=environment, stderr=stderr)
    try:
        yield Process(port, process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def registered(consul: str, service: str, service_id: str, port: int, **meta: str) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(consul) as http:
        body = {"Name": service, "ID": service_id, "Address": "127.0.0.1", "Port": port, "Meta": meta}
        body["Check"] = {"TTL": "600s", "Status": "passing", "CheckID": f"check-{service_id}"}
        assert (await http.put("/v1/agent/service/register", json=body)).status == 200
        try:
            yield
        finally:
            await http.put(f"/v1/agent/service/deregister/{service_id}")


async def set_check(consul: str, service_id: str, verdict: str) -> None:
    async with aiohttp.ClientSession(consul) as http:
        assert (await http.put(f"/v1/agent/check/{verdict}/check-{service_id}")).status == 200


@asynccontextmanager
async def engine(script: object) -> AsyncIterator[Upstream]:
    upstream = Upstream(script)  # type: ignore[arg-type]
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


def replica(consul: str, alloc: str, upstream: Upstream) -> object:
    return registered(consul, FLEET.model_service, f"svc-{alloc}", upstream.port, model="large", alloc_id=alloc)


def document(draining: tuple[str, ...]) -> bytes:
    return state.encode(
        ModelState(model="large", desired=2, placed=2, ready=2, draining=draining, cold_start_p50_s=1, cold_start_p90_s=1, updated_at=0)
    )


async def test_a_router_follows_consul(consul_server: ConsulServer, redis_server: RedisServer, tmp_path: Path) -> None:
    address = consul_server.address
    async with router_process(address, tmp_path) as router, engine(says_hello) as one, engine(says_hello) as two:
        await router.until("/health", 200, "j['models'] == {'large': 0}")
        assert (await router.call(chat())).code == "model_not_warm"
        async with replica(address, "one", one), replica(address, "two", two):  # type: ignore[attr-defined]
            await router.until("/health", 200, "j['models'] == {'large': 2}")
            assert (await router.call(chat())).body == CHAT
            await set_check(address, "svc-one", "fail")
            await router.until("/health", 200, "j['models'] == {'large': 1}")
            assert {(await router.call(chat())).route["replica"] for _ in range(4)} == {"two"}
            await set_check(address, "svc-one", "pass")
            await router.until("/health", 200, "j['models'] == {'large': 2}")
            consul = Consul(address)
            await consul.put(FLEET.model_state("large"), document(("two",)), index=0)
            await router.until("/health", 200, "j['models'] == {'large': 1}")
            assert {(await router.call(chat())).route["replica"] for _ in range(4)} == {"one"}
            await consul.put(FLEET.model_state_prefix + "broken", b"{", index=0)
            assert (await router.call(chat())).status == 200
            port = int(redis_server.url.split(":")[2].split("/")[0])
            async with registered(address, FLEET.redis_service, "svc-redis", port):
                await _until_in_redis(router, redis_server.url)
            await consul.delete(FLEET.model_state_prefix)
            await consul.close()


async def _until_in_redis(router: Process, url: str) -> None:
    """The router has found Redis through Consul once a session of it is there."""
    async with redis.asyncio.from_url(url) as client, asyncio.timeout(90):
        while not await client.exists(names.session_key("contract-found")):
            await router.call(chat(headers={"x-session-id": "contract-found"}))
            await asyncio.sleep(0.02)


async def test_a_router_that_loses_consul_serves_on_and_says_so(tmp_path: Path) -> None:
    """A Consul of its own: a small server that answers once, and then is gone."""
    async with engine(says_hello) as one:
        row = {
            "Node": {"Address": "127.0.0.1"},
            "Service": {"ID": "s", "Address": "", "Port": one.port, "Tags": [], "Meta": {"model": "large", "alloc_id": "one"}},
            "Checks": [{"Status": "passing"}],
        }

        async def consul(play: Play) -> None:
            rows = json.dumps([row] if b"/health/" in play.heard.head and b"-model" in play.heard.head else []).encode()
            if b"index=" in play.heard.head.split(b"\r\n")[0]:
                await play.until_left()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nX-Consul-Index: 5\r\n"
            await play.send(head + b"content-length: %d\r\n\r\n" % len(rows) + rows)

        fake = Upstream(consul)
        await fake.start()
        try:
            async with router_process(f"http://127.0.0.1:{fake.port}", tmp_path) as router:
                await router.until("/health", 200, "j['status'] == 'ok' and j['models'] == {'large': 1}")
                await fake.stop()
                lost = (await router.until("/health", 200, "j['status'] == 'degraded'")).json
                assert lost["degraded"][0]["what"] == "consul"
                assert lost["degraded"][0]["since"] <= time.time()
                assert (await router.call(chat())).body == CHAT
                assert b"warmfleet_router_snapshot_age " in (await router.get("/metrics")).body
        finally:
            await fake.stop()


async def test_a_router_that_never_saw_consul_is_starting(tmp_path: Path) -> None:
    async with router_process(f"http://127.0.0.1:{free_port()}", tmp_path) as router:
        assert (await router.until("/health", 503)).json["status"] == "starting"


@pytest.mark.parametrize(("drain", "good"), [("20s", True), ("1s", False)])
async def test_a_router_that_is_stopped_ends_its_streams_well(consul_server: ConsulServer, tmp_path: Path, drain: str, good: bool) -> None:
    go_on = asyncio.Event()

    async def slow(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([delta("one")], end=False))
        await go_on.wait()
        await play.send(chunked([delta("two", "stop"), DONE]))

    address = consul_server.address
    async with engine(slow) as one, replica(address, "one", one), router_process(address, tmp_path, drain) as router:  # type: ignore[attr-defined]
        await router.until("/health", 200, "j['models'] == {'large': 1}")
        async with await Caller.connect(router.port) as caller:
            await caller.send(chat(stream=True))
            await caller.until(1)
            router.process.send_signal(signal.SIGTERM)
            await until_refusing(router.port)
            if good:
                go_on.set()
            reply = await caller.reply()
        assert reply.complete
        assert reply.body.endswith(DONE)
        assert (b"stream_truncated" not in reply.body) == good
        async with asyncio.timeout(90):
            assert await router.process.wait() == 0
        go_on.set()


async def until_refusing(port: int) -> None:
    async with asyncio.timeout(90):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                return
            writer.close()
            await asyncio.sleep(0.02)
