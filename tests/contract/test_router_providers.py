"""Providers and router processes: keys from the environment, and workers that agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fleet import names
from tests.contract.test_router_consul import SPEC, Process, engine
from tests.contract.test_router_process_operations import router
from tests.router.abroad import KEY, KEY_ENV
from tests.router.client import chat, post
from tests.router.upstream import answer, plays, says_hello
from tests.servers import ConsulServer

pytestmark = pytest.mark.contract

ADMIN = "admin-key-for-tests"
PROVIDER = """
[[provider]]
name = "far"
model = "vendor/far-1"
base_url = "http://127.0.0.1:PORT/v1"
key_env = "FAR_KEY"
cost = {{ input = 1.0, output = 10.0 }}
"""


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setenv(names.ENV_ADMIN_KEY, ADMIN)


@asynccontextmanager
async def workers(consul: ConsulServer, folder: Path, port: int, *, count: int = 2) -> AsyncIterator[Process]:
    """A router whose route goes on with a provider."""
    text = SPEC.replace('chain = ["large"]\non_cold = "shed"', 'chain = ["large", "far"]\nhold = "0s"') + PROVIDER.replace(
        "PORT", str(port)
    )
    async with router(consul.address, folder, text=text, workers=count) as process:
        await process.until("/health", 200, f"j['workers']['alive'] == {count}")
        yield process


async def test_workers_count_providers_as_one_and_all_obey_an_order(consul_server: ConsulServer, tmp_path: Path, keys: None) -> None:
    async with engine(says_hello) as far, workers(consul_server, tmp_path, far.port) as process:
        for _ in range(20):
            reply = await process.call(chat())
            assert (reply.status, reply.route["model"]) == (200, "far")
        (standing,) = (await process.get("/providers")).json["providers"]
        assert (standing["requests"], standing["successes"], standing["processes"]["closed"]) == (20, 20, 2)
        assert standing["cost"]["spent"] == pytest.approx(20 * (0.007 + 0.03))
        assert standing["average_latency_ms"] > 0
        order = post("/simulate/failure", {"name": "far", "seconds": 300}, {"authorization": f"Bearer {ADMIN}"})
        assert (await process.call(order)).status == 200
        await process.until("/providers", 200, "j['providers'][0]['processes']['simulated'] == 2")
        for _ in range(10):
            assert (await process.call(chat())).status >= 500
        assert len(far.heard) == 20
    assert KEY not in process.log.read_text()


async def test_a_key_that_is_refused_is_said_in_the_log_without_the_key(consul_server: ConsulServer, tmp_path: Path, keys: None) -> None:
    async with (
        engine(plays(answer(b'{"error":{"message":"no"}}', 401))) as far,
        workers(consul_server, tmp_path, far.port, count=1) as process,
    ):
        assert (await process.call(chat())).status == 502
    log = process.log.read_text()
    assert "provider far refuses us with HTTP 401: look at the key in FAR_KEY of its row" in log
    assert KEY not in log
    assert KEY not in (tmp_path / "fleet.toml").read_text()
