"""A caller that leaves ends the engine's work at once, in every phase."""

from __future__ import annotations

import pytest

from tests.router.client import chat, post
from tests.router.conftest import Running, Start, until
from tests.router.upstream import ROLE, SSE_HEAD, Play, Script, chunked, delta, says_hello, silent


async def role_only(play: Play) -> None:
    await play.send(SSE_HEAD + chunked([ROLE], end=False))
    await play.until_left()


async def content(play: Play) -> None:
    await play.send(SSE_HEAD + chunked([delta("one")], end=False))
    await play.until_left()


async def half_json(play: Play) -> None:
    await play.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
    await play.until_left()


async def large(play: Play) -> None:
    await play.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900000\r\n\r\n" + b"x" * 500_000)
    await play.until_left()


@pytest.mark.parametrize(
    ("phase", "script", "stream"),
    [
        ("no answer yet", silent, True),
        ("no answer yet, not a stream", silent, False),
        ("before content", role_only, True),
        ("in the middle of a stream", content, True),
        ("in the middle of a body", half_json, False),
        ("in the middle of a large body", large, False),
    ],
)
async def test_leaving_closes_the_engines_connection(start: Start, phase: str, script: Script, stream: bool) -> None:
    router: Running = await start(engines=[("a", script)])
    engine = router.engines["large/a"]
    async with await router.connect() as caller:
        await caller.send(chat(stream=stream))
        await until(lambda: engine.heard)
        if script in (content, large):
            await caller.until(1)
    await until(lambda: engine.open == 0)
    assert router.in_flight() == 0
    assert not router.wired.plane.active
    assert router.wired.plane.homes["a"].breaker.failures == 0
    assert await router.metric('warmfleet_router_requests_total{model="large",route="best",status="499"}') == 1


async def test_leaving_while_requests_are_queued_runs_none_of_them(start: Start) -> None:
    router: Running = await start(engines=[("a", silent)])
    engine = router.engines["large/a"]
    async with await router.connect() as caller:
        await caller.send(chat() * 5)
        await until(lambda: engine.heard)
    await until(lambda: engine.open == 0)
    assert len(engine.heard) == 1
    assert router.in_flight() == 0


async def test_leaving_the_session_api_closes_the_engines_connection(start: Start) -> None:
    router: Running = await start(engines=[("a", silent)])
    engine = router.engines["large/a"]
    session = (await router.call(post("/initiate_call", {}))).json["session_id"]
    async with await router.connect() as caller:
        await caller.send(post("/chat_completions", {"session_id": session, "message": "hi"}))
        await until(lambda: engine.heard)
    await until(lambda: engine.open == 0)
    assert router.in_flight() == 0


async def test_leaving_after_the_answer_is_nothing(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    assert (await router.call(chat())).status == 200
    assert await router.metric('warmfleet_router_requests_total{model="large",route="best",status="499"}') is None
