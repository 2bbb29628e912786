"""Answers too large to hold: whole, or ended so that the caller can tell that they are not."""

from __future__ import annotations

import asyncio

import pytest

from tests.router.client import Reply, chat
from tests.router.conftest import Running, Start, until
from tests.router.upstream import Play, Script

WHOLE = b'{"data":"' + b"x" * 400_000 + b'"}'
CUT = WHOLE[:-2]
OLD_CHAT = chat().replace(b" HTTP/1.1", b" HTTP/1.0")


def ends_with_connection(body: bytes, *, kind: str = "application/json", extra: str = "") -> Script:
    """An engine that says nowhere how long its answer is."""

    async def script(play: Play) -> None:
        await play.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{extra}\r\n".encode() + body)
        play.writer.close()

    return script


ENDS = [
    ("JSON that is whole", ends_with_connection(WHOLE), True),
    ("JSON that is whole and has an empty line behind it", ends_with_connection(WHOLE + b"\r\n"), True),
    ("a list", ends_with_connection(b"[" + WHOLE + b"]"), True),
    ("JSON that is closed too early", ends_with_connection(CUT), False),
    ("bytes that prove nothing", ends_with_connection(CUT, kind="application/octet-stream"), True),
    ("JSON that is compressed", ends_with_connection(CUT, extra="content-encoding: gzip\r\n"), True),
]


@pytest.mark.parametrize(("name", "script", "is_whole"), ENDS, ids=[row[0] for row in ENDS])
async def test_a_body_that_ends_with_its_connection(start: Start, name: str, script: Script, is_whole: bool) -> None:
    router: Running = await start(engines=[("a", script)])
    reply: Reply = await router.call(chat())
    assert reply.complete is is_whole
    await until(lambda: not router.wired.plane.active)
    assert router.wired.plane.homes["a"].breaker.failures == (0 if is_whole else 1)
    assert router.in_flight() == 0


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
async def test_a_connection_that_is_reset_is_no_end(start: Start, kind: str) -> None:
    seen = asyncio.Event()

    async def breaks(play: Play) -> None:
        await play.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n".encode() + WHOLE)
        await seen.wait()
        play.reset()

    router: Running = await start(engines=[("a", breaks)])
    async with await router.connect() as caller:
        await caller.send(chat())
        assert (await caller.until(1)).status == 200
        seen.set()
        assert not (await caller.reply()).complete
    assert router.wired.plane.homes["a"].breaker.failures == 1


async def test_nothing_of_a_whole_one_is_lost(start: Start) -> None:
    router: Running = await start(engines=[("a", ends_with_connection(WHOLE))])
    reply = await router.call(chat())
    assert (reply.status, reply.body) == (200, WHOLE)


@pytest.mark.parametrize(("body", "is_whole"), [(WHOLE, True), (CUT, False)])
async def test_a_caller_without_chunks_is_reset_where_the_end_is_missing(start: Start, body: bytes, is_whole: bool) -> None:
    router: Running = await start(engines=[("a", ends_with_connection(body))])
    async with await router.connect() as caller:
        await caller.send(OLD_CHAT)
        reply = await caller.reply()
        assert (reply.body == WHOLE) is is_whole
        assert caller.was_reset is not is_whole
