"""Whatever engines and callers do, nothing stays behind."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from router.app import ended
from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.upstream import CHAT, DONE, ROLE, SSE_HEAD, Play, answer, chunked, delta, resets, says_hello, silent

STREAM = SSE_HEAD + chunked([ROLE, delta("one"), delta("two", "stop"), DONE])


async def whole_stream(play: Play) -> None:
    await play.send(STREAM)


async def cut_anywhere(play: Play) -> None:
    await play.send(STREAM[: random.Random(len(play.heard.body) + play.heard.body.count(b"7")).randrange(len(STREAM))])
    play.cut()


async def busy(play: Play) -> None:
    await play.send(answer(b"{}", 503))


async def fails(play: Play) -> None:
    await play.send(answer(b"{}", 500))


async def closes_after(play: Play) -> None:
    await play.send(answer(CHAT))
    play.writer.close()


SCRIPTS = (whole_stream, cut_anywhere, busy, fails, closes_after, resets, says_hello, silent)


async def test_nothing_stays_behind(start: Start) -> None:
    dice = random.Random(20)

    async def anything(play: Play) -> None:
        await dice.choice(SCRIPTS)(play)

    router: Running = await start(engines=[("a", anything), ("b", anything), ("c", anything, "small")])
    for _ in range(12):
        await asyncio.gather(*(_call(router, dice) for _ in range(12)))
        router.warm(without=dice.choice(["", "large/a", "large/b"]))
    router.warm()
    plane = router.wired.plane
    await until(lambda: not plane.active)
    assert router.in_flight() == 0
    assert all(plane.tally.of(model).in_flight == 0 for model in ("large", "small"))
    await until(lambda: not router.wired.protocol.lines_open)
    assert plane.tally.of("large").arrivals == 144


async def _call(router: Running, dice: random.Random) -> None:
    """A caller that waits for its answer, or leaves at some time."""
    async with await router.connect() as caller:
        await caller.send(chat(stream=dice.random() < 0.7, headers={"x-session-id": f"s{dice.randrange(5)}"}, n=dice.randrange(99)))
        try:
            async with asyncio.timeout(dice.choice([0.01, 0.05, 0.3])):
                reply = await caller.reply()
        except TimeoutError:
            return
        if reply.complete and reply.headers["content-type"].startswith("text/event-stream"):
            assert reply.body.endswith(DONE)


async def test_a_part_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(asyncio.sleep(0))]
    await asyncio.sleep(0.01)
    await ended(tasks)
    assert [task.cancelled() for task in tasks] == [True, False]
