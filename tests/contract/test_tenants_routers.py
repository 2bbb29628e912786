"""Several router processes, one Redis: a budget is the fleet's, and the usage log adds up to what was spent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio

from fleet import names
from fleet.key import digest
from tests.contract.test_router_consul import SPEC, Process, engine, free_port, replica
from tests.router.client import Caller, chat
from tests.router.upstream import ROLE, SSE_HEAD, Play, Script, Upstream, chunked, says_hello
from tests.servers import ConsulServer, RedisServer

pytestmark = pytest.mark.contract

KEY = "sk-contract"
AUTH = {"authorization": f"Bearer {KEY}"}
HELLO_NANO = 7 * 10_000 + 3 * 100_000


def described(consul: str, redis_url: str, tenant: str, limits: str, **router: object) -> str:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in router.items())
    text = SPEC.format(consul=consul, drain="2s").replace("[fleet]\n", f'[fleet]\nredis = "{redis_url}"\n')
    text = text.replace("[router]\n", f"[router]\n{lines}").replace(
        'weights = "w"\n', 'weights = "w"\ncost = { input = 0.01, output = 0.1 }\n'
    )
    return f'{text}\n[[tenant]]\nname = "{tenant}"\nkey_sha256 = ["{digest(KEY)}"]\n{limits}\n'


def written(folder: Path, text: str) -> Path:
    folder.mkdir()
    spec = folder / "fleet.toml"
    spec.write_text(text)
    return spec


@asynccontextmanager
async def process(folder: Path, text: str) -> AsyncIterator[Process]:
    spec, port, log = written(folder, text), free_port(), folder / "router.log"
    environment = {**os.environ, names.ENV_SPEC: str(spec), names.ENV_HOST: "127.0.0.1", names.ENV_PORT: str(port)}
    with log.open("wb") as out:
        started = await asyncio.create_subprocess_exec(sys.executable, "-m", "router", env=environment, stdout=out, stderr=out)
    try:
        yield Process(port, started, log)
        if started.returncode is None:
            started.terminate()
            async with asyncio.timeout(60):
                await started.wait()
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGKILL)
            await started.wait()


class Fleet:
    """Two routers, of which one has two workers, over one engine."""

    def __init__(self, stack: AsyncExitStack, upstream: Upstream, client: redis.asyncio.Redis) -> None:
        self.stack = stack
        self.upstream = upstream
        self.redis = client
        self.tenant = f"t-{uuid.uuid4().hex[:12]}"
        self.routers: list[Process] = []

    async def purse(self) -> tuple[int, int]:
        """(spent, held)"""
        values = await self.redis.hmget(f"{names.REDIS_BUDGET_PREFIX}contract-router:{self.tenant}:life", "spent", "held")
        return int(values[0] or 0), int(values[1] or 0)

    async def until(self, spent: int, held: int) -> None:
        async with asyncio.timeout(90):
            while await self.purse() != (spent, held):  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.02)

    async def presume_dead(self) -> None:
        """Two minutes later: whoever holds something, and shows no life, is forgotten."""
        for name in await self.redis.hkeys(f"{names.REDIS_BUDGET_PREFIX}contract-router:{self.tenant}:life"):
            if name.startswith(b"held:"):
                await self.redis.delete(names.REDIS_ROUTER_PREFIX + name.removeprefix(b"held:").decode())

    async def settled(self) -> int:
        """What is spent, once nothing is set aside any more."""
        async with asyncio.timeout(60):
            while (await self.purse())[1]:  # noqa: ASYNC110 - a poll with a deadline
                await asyncio.sleep(0.02)
        return (await self.purse())[0]


@asynccontextmanager
async def fleet(
    consul: str, redis_url: str, folder: Path, limits: str, *, script: Script = says_hello, **router: object
) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(engine(script))
        await stack.enter_async_context(replica(consul, f"of-{uuid.uuid4().hex[:8]}", upstream))  # type: ignore[arg-type]
        client = await stack.enter_async_context(redis.asyncio.from_url(redis_url))
        made = Fleet(stack, upstream, client)
        for number, workers in enumerate((1, 2)):
            text = described(consul, redis_url, made.tenant, limits, workers=workers, **router)
            made.routers.append(await stack.enter_async_context(process(folder / f"router-{number}", text)))
        for one, workers in zip(made.routers, (1, 2), strict=True):
            await one.until("/health", 200, f"j['models'] == {{'large': 1}} and j['workers']['alive'] == {workers}")
        yield made


async def until_refused(router: Process, answers: Counter[tuple[int, str]], **more: object) -> None:
    """One caller, on one connection, who asks until it is told that no more will come of it."""
    async with await Caller.connect(router.port) as caller:
        while True:
            await caller.send(chat("large", headers=AUTH, **more))
            reply = await caller.reply()
            assert reply.status in (200, 429, 503), reply
            code = "" if reply.status == 200 else reply.code
            answers[reply.status, code] += 1
            if reply.status == 429:
                return
            assert reply.status == 200 or code == "limits_away", reply.body  # a busy machine may take its time for Redis
            if code:
                await asyncio.sleep(0.2)  # it stays away for a second, in which asking again would keep the machine busy


async def test_two_routers_and_many_callers_never_spend_more_than_a_budget(
    consul_server: ConsulServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    log, answers = tmp_path / "usage.jsonl", Counter[tuple[int, str]]()
    budget = 0.05
    async with fleet(consul_server.address, redis_server.url, tmp_path, f"budget_usd = {budget}", usage_log=str(log)) as made:
        await asyncio.gather(*(until_refused(made.routers[n % 2], answers, max_tokens=10) for n in range(32)))
        spent = await made.settled()
        assert answers[429, "insufficient_quota"] == 32
        assert spent == answers[200, ""] * HELLO_NANO == len(made.upstream.heard) * HELLO_NANO
        assert spent <= budget * 1e9
        reserve = (len(made.upstream.heard[0].body) + 256) * 10_000 + 10 * 100_000
        assert spent > budget * 1e9 - 32 * reserve, "nobody was refused while there was room for all who asked at once"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(round(line["cost_usd"] * 1e9) for line in lines) == spent, "the log is written to its end when a router stops"
    assert Counter(line["outcome"] for line in lines)["answered"] == answers[200, ""]
    assert {line["tenant"] for line in lines} == {made.tenant}


async def hello_or_endless(play: Play) -> None:
    """A stream never ends."""
    if not play.heard.json.get("stream"):
        await says_hello(play)
        return
    await play.send(SSE_HEAD + chunked([ROLE], end=False))
    await play.until_left()


async def test_a_router_that_is_killed_keeps_no_money_and_what_it_had_promised_is_spent(
    consul_server: ConsulServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    limits = "budget_usd = 0.3"
    async with fleet(consul_server.address, redis_server.url, tmp_path, limits, script=hello_or_endless) as made:
        dying, living = made.routers
        async with await Caller.connect(dying.port) as caller:
            await caller.send(chat("large", headers=AUTH, stream=True, max_tokens=100))
            async with asyncio.timeout(90):
                while not made.upstream.heard:  # noqa: ASYNC110 - a poll with a deadline
                    await asyncio.sleep(0.02)
            spent, promised = await made.purse()
            assert (spent, promised > 100 * 100_000) == (0, True), "at least its answer at full length"
            dying.process.kill()
            await dying.process.wait()
        assert (await living.call(chat("large", headers=AUTH, max_tokens=10))).status == 200
        await made.until(HELLO_NANO, promised)
        await made.presume_dead()
        dear = await living.call(chat("large", headers=AUTH, max_tokens=9_999))
        assert (dear.status, dear.code) == (429, "insufficient_quota")
        await made.until(HELLO_NANO + promised, 0)
        assert (await living.call(chat("large", headers=AUTH, max_tokens=10))).status == 200
        await made.until(2 * HELLO_NANO + promised, 0)
