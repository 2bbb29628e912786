"""Operating router processes, on a real Consul: workers, a reload, a Consul that comes back empty, and who may be listened to."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from fleet import names
from router.process import listener
from tests import servers
from tests.contract.test_router_consul import FLEET, SPEC, Process, engine, free_port, registered, until_refusing
from tests.router.client import Caller, chat
from tests.router.upstream import Play, Upstream, answer, says_hello
from tests.servers import ConsulServer

pytestmark = pytest.mark.contract

CHECKOUT = Path(__file__).parents[2]


@asynccontextmanager
async def router(consul: str, folder: Path, *, public: int = 0, text: str = SPEC, **limits: object) -> AsyncIterator[Process]:
    """A router process with settings of [router]; `public` is a port that it shares."""
    described = folder / "fleet.toml"
    lines = "".join(f"{key} = {value}\n" for key, value in limits.items())
    described.write_text(text.format(consul=consul, drain="2s").replace("[router]\n", f"[router]\n{lines}"))
    port, log = free_port(), folder / f"router-{free_port()}.log"
    environment = {**os.environ, names.ENV_SPEC: str(described), names.ENV_HOST: "127.0.0.1", names.ENV_PORT: str(port)}
    if public:
        environment[names.ENV_PUBLIC_PORT] = str(public)
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "router", env=environment, stdout=out, stderr=out)
    try:
        yield Process(port, process, log)
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(holds: Callable[[], object], deadline_s: float = 120.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def answered(process: Process) -> float:
    """How many requests all workers together have answered with 200, as any one of them says."""
    text = (await process.get("/metrics")).body.decode()
    line = 'warmfleet_router_requests_total{model="large",route="best",status="200"} '
    return next((float(row.removeprefix(line)) for row in text.splitlines() if row.startswith(line)), 0.0)


async def test_workers_share_a_port_and_their_numbers_are_one_sum(consul_server: ConsulServer, tmp_path: Path) -> None:
    address = consul_server.address
    async with engine(says_hello) as one, registration(address, "one", one), router(address, tmp_path, workers=2) as process:
        await process.until("/health", 200, "j['workers'] == {'alive': 2, 'wanted': 2} and j['models'] == {'large': 1}")
        for n in range(1, 41):
            assert (await process.call(chat())).status == 200
            if n % 10 == 0:
                assert await answered(process) == n


async def test_a_worker_that_is_killed_comes_back_and_what_it_counted_stays(consul_server: ConsulServer, tmp_path: Path) -> None:
    address = consul_server.address
    async with engine(says_hello) as one, registration(address, "one", one), router(address, tmp_path, workers=2) as process:
        await process.until("/health", 200, "j['workers']['alive'] == 2 and j['models'] == {'large': 1}")
        for _ in range(20):
            await process.call(chat())
        assert await answered(process) == 20
        killed = children(process.process.pid)[0]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: len(left := children(process.process.pid)) == 2 and killed not in left)
        await process.until("/health", 200, "j['workers']['alive'] == 2 and j['ready']")
        assert await answered(process) == 20
        await process.call(chat())
        assert await answered(process) == 21


@pytest.mark.parametrize("workers", [1, 2])
async def test_numbers_of_all_workers_go_to_dogstatsd(
    consul_server: ConsulServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    address, requests, gauges = consul_server.address, 0, set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(60)
        monkeypatch.setenv("DD_AGENT_HOST", "127.0.0.1")
        monkeypatch.setenv("DD_DOGSTATSD_PORT", str(agent.getsockname()[1]))
        async with engine(says_hello) as one, registration(address, "one", one), router(address, tmp_path, workers=workers) as process:
            await process.until("/health", 200, f"j['workers']['alive'] == {workers} and j['models'] == {{'large': 1}}")
            for _ in range(12):
                await process.call(chat())
            while requests < 12:
                for line in (await asyncio.to_thread(agent.recv, 65536)).decode().splitlines():
                    name, _, value = line.partition("|")[0].partition(":")
                    requests += int(float(value)) if name == "warmfleet.router.requests" and "status:200" in line else 0
                    gauges |= {line.partition("|#")[0]} if name == "warmfleet.router.endpoints" else set()
    assert requests == 12
    assert "warmfleet.router.endpoints:1|g" in {gauge.replace("1.0|", "1|") for gauge in gauges}


async def test_a_worker_that_keeps_dying_ends_the_router(consul_server: ConsulServer, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="times right after its start"):
        async with router(consul_server.address, tmp_path, workers=2) as process:
            await process.until("/health", 200, "j['workers']['alive'] == 2")
            survivor, killed = children(process.process.pid)
            (tmp_path / "fleet.toml").unlink()  # no worker can start any more
            os.kill(killed, signal.SIGKILL)
            async with asyncio.timeout(180):
                assert await process.process.wait() == 1
            await until(lambda: not Path(f"/proc/{survivor}").exists())


async def test_workers_whose_parent_is_killed_leave_too(consul_server: ConsulServer, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        async with router(consul_server.address, tmp_path, workers=2) as process:
            await process.until("/health", 200, "j['workers']['alive'] == 2")
            workers = children(process.process.pid)
            process.process.kill()
            await process.process.wait()
            await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


async def test_a_stop_lets_every_worker_finish(consul_server: ConsulServer, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(play: Play) -> None:
        await go_on.wait()
        await play.send(answer(b'{"object":"late"}'))

    address = consul_server.address
    async with engine(slow) as one, registration(address, "one", one), router(address, tmp_path, workers=2) as process:
        await process.until("/health", 200, "j['workers']['alive'] == 2 and j['models'] == {'large': 1}")
        async with AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(await Caller.connect(process.port)) for _ in range(6)]
            for caller in callers:
                await caller.send(chat())
            await until(lambda: len(one.heard) == 6)
            process.process.terminate()
            await until_refusing(process.port)
            go_on.set()
            replies = [await caller.reply() for caller in callers]
            assert {(reply.status, reply.headers["connection"]) for reply in replies} == {(200, "close")}


async def test_two_routers_share_the_public_port_and_one_may_leave(consul_server: ConsulServer, tmp_path: Path) -> None:
    address, public = consul_server.address, free_port()
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    async with engine(says_hello) as one, registration(address, "one", one), router(address, tmp_path / "second", public=0) as bystander:
        await bystander.until("/health", 200)
        async with router(address, tmp_path / "first", public=public) as first:
            await first.until("/health", 200, "j['models'] == {'large': 1}")
            async with router(address, tmp_path / "second", public=public) as second:
                await second.until("/health", 200, "j['models'] == {'large': 1}")
                first.process.terminate()
                statuses = [(await Process(public, second.process, second.log).call(chat())).status for _ in range(50)]
                assert statuses == [200] * 50
                assert await first.process.wait() == 0
                await until(lambda: (found := listener.ask("127.0.0.1", public)) is not None and found.close() is None)


def test_only_a_router_of_the_same_port_is_believed() -> None:
    public = listener.bind("127.0.0.1", 0)
    with public:
        assert listener.ask("127.0.0.1", public.getsockname()[1]) is None


async def test_a_port_that_another_program_has_is_named(tmp_path: Path) -> None:
    with listener.bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(listener.NoSocket, match=f"cannot listen on 127.0.0.1:{port}"):
            listener.obtain("127.0.0.1", port, 0.2)


async def test_a_reload_changes_routes_and_limits_and_a_mistake_changes_nothing(consul_server: ConsulServer, tmp_path: Path) -> None:
    address = consul_server.address
    async with engine(says_hello) as one, registration(address, "one", one), router(address, tmp_path) as process:
        booted = (await process.until("/health", 200, "j['models'] == {'large': 1}")).json["description"]
        assert (await process.call(chat("quick"))).status == 404
        changed = tmp_path / "changed.toml"
        route = '[[route]]\nselector = 1\nname = "quick"\nchain = ["large"]\n'
        changed.write_text((tmp_path / "fleet.toml").read_text() + route)
        await warmfleet("reload", "--spec", str(changed))
        await process.until("/v1/models/quick", 200)
        assert (await process.call(chat("quick"))).status == 200
        wrong = tmp_path / "wrong.toml"
        wrong.write_text(changed.read_text().replace("large", "larger", 1))
        assert "larger" in await warmfleet("reload", "--spec", str(wrong), code=1)
        await warmfleet("reload", "--spec", str(changed), "--withdraw")
        await process.until("/v1/models/quick", 404)
        assert (await process.get("/health")).json["description"] == booted


async def warmfleet(*arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-c", "from fleet.cli import main; main()", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_a_consul_that_comes_back_empty_takes_no_replica_away(tmp_path: Path) -> None:
    with servers.consul() as consul:
        address = consul.address
        async with engine(says_hello) as one, engine(says_hello) as two, router(address, tmp_path) as process:
            async with registration(address, "one", one), registration(address, "two", two):
                await process.until("/health", 200, "j['models'] == {'large': 2}")
                await asyncio.to_thread(consul.stop)
                await process.until("/health", 200, "'consul' in [d['what'] for d in j['degraded']]")
                await until(lambda: '"event":"consul_lost"' in process.log.read_text())
                await asyncio.to_thread(consul.start)
                await process.until(
                    "/health", 200, "[d['what'] for d in j['degraded']] == ['kept_endpoints'] and j['models'] == {'large': 2}"
                )
                assert {(await process.call(chat())).status for _ in range(5)} == {200}
            async with registration(address, "one", one), registration(address, "two", two):
                await process.until("/health", 200, "j['status'] == 'ok' and j['models'] == {'large': 2}")
            await process.until("/health", 200, "j['models'] == {'large': 0}")


def registration(consul: str, alloc: str, upstream: Upstream) -> AbstractAsyncContextManager[None]:
    return registered(consul, FLEET.model_service, f"svc-{alloc}", upstream.port, model="large", alloc_id=alloc)


async def test_the_access_log_goes_to_stdout_as_json_lines(consul_server: ConsulServer, tmp_path: Path) -> None:
    address = consul_server.address
    async with engine(says_hello) as one, registration(address, "one", one), router(address, tmp_path, access_log='"all"') as process:
        await process.until("/health", 200, "j['models'] == {'large': 1}")
        await process.call(chat(headers={"x-request-id": "req-mine"}))
        await until(lambda: '"request_id":"req-mine"' in process.log.read_text())
        await until(lambda: '"event":"endpoint_warm"' in process.log.read_text())


@pytest.mark.parametrize(("allow", "code"), [("false", 2), ("true", 0)])
async def test_a_router_beyond_loopback_must_be_allowed(tmp_path: Path, allow: str, code: int) -> None:
    described = tmp_path / "fleet.toml"
    described.write_text(SPEC.format(consul="http://127.0.0.1:9", drain="1s").replace("[router]\n", f"[router]\nallow_open = {allow}\n"))
    port = free_port()
    environment = {**os.environ, names.ENV_SPEC: str(described), names.ENV_HOST: "0.0.0.0", names.ENV_PORT: str(port)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "router", env=environment, stderr=asyncio.subprocess.PIPE)
    try:
        if code == 0:
            await Process(port, process, described).until("/health", 503)
            process.terminate()
        async with asyncio.timeout(120):
            _, said = await process.communicate()
        assert process.returncode == code
        assert (b"router.allow_open" in said) == (code == 2)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
