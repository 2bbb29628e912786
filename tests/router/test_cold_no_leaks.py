"""Whatever comes and goes while requests wait, everybody gets an answer or leaves, and nothing stays behind."""

from __future__ import annotations

import asyncio
import random

from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.test_cold_served import cold
from tests.router.upstream import CHAT, DONE, ROLE, SSE_HEAD, Play, answer, chunked, delta

STREAM = SSE_HEAD + chunked([ROLE, delta("one", "stop"), DONE])


async def either(play: Play) -> None:
    await play.send(STREAM if play.heard.json.get("stream") else answer(CHAT))


async def failing_sometimes(play: Play) -> None:
    if len(play.heard.body) % 3:
        await either(play)
    else:
        play.cut()


async def test_nothing_stays_behind_when_requests_wait(start: Start) -> None:
    dice = random.Random(4)
    router: Running = await start(spec=cold("hold", hold_s=0.8, keep_alive_s=0.2, affinity=True, max_held=40))
    for name, script in (("a", either), ("b", failing_sometimes)):
        await router.engine(name, script)
    await router.engine("s", either, "small")
    callers = [asyncio.create_task(call(router, dice)) for _ in range(150)]
    for _ in range(20):
        router.warm(without=dice.choice(["large/a", "large/b", "small/s"]))
        if dice.random() < 0.5:
            router.wired.plane.apply(type(router.wired.plane.snapshot)(2, ()))
        await asyncio.wait(callers, timeout=0.05)
    statuses = await asyncio.gather(*callers)
    plane = router.wired.plane
    await until(lambda: not plane.active)
    assert (plane.room.size, plane.room.size_bytes, plane.room.held("large")) == (0, 0, 0)
    assert router.in_flight() == 0
    assert set(statuses) <= {0, 200, 502, 503}
    assert statuses.count(200) > 30
    for model in ("large", "small"):
        assert await router.metric(f'warmfleet_router_held{{model="{model}"}}') == 0
        assert await router.metric(f'warmfleet_router_in_flight{{model="{model}"}}') == 0


async def call(router: Running, dice: random.Random) -> int:
    """The status of one request that comes some time and may leave before its answer; 0: it left."""
    stream, patience_s = dice.random() < 0.5, dice.choice([0.1, 0.5, 20.0, 20.0])
    async with await router.connect() as caller:
        await caller.send(chat(dice.choice(["large", "auto", "small"]), stream=stream, n=dice.randrange(1000)))
        try:
            async with asyncio.timeout(patience_s):
                reply = await caller.reply()
        except TimeoutError:
            return 0
    assert reply.complete
    if reply.headers["content-type"].startswith("text/event-stream"):
        assert reply.body.endswith(DONE)
    return reply.status
