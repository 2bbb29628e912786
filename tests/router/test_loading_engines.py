"""An engine that listens before it has loaded, where the router still knows its place: waited for like one that does not listen yet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Spec
from router.budget import START, Budget
from router.replicas.breaker import State
from router.replicas.verdict import is_loading
from tests.router.client import chat
from tests.router.conftest import LIMITS, SPEC, Running, Start, until
from tests.router.upstream import CHAT, DONE, ROLE, SSE_HEAD, Play, answer, chunked, delta, plays, says_hello

LOADING = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
STREAM = SSE_HEAD + chunked([ROLE, delta("Hello"), delta("", "stop"), DONE])


@dataclass
class Engine:
    """llama.cpp from its start on. `in_pieces`: its refusal comes in two reads."""

    loaded: bool = False
    in_pieces: bool = False
    refused: int = 0

    async def __call__(self, play: Play) -> None:
        if self.loaded:
            await play.send(STREAM if b'"stream": true' in play.heard.body or b'"stream":true' in play.heard.body else answer(CHAT))
            return
        self.refused += 1
        said = answer(LOADING, 503, extra="connection: close\r\n")
        if self.in_pieces:
            await play.send(said[:-20])
            await asyncio.sleep(0)
            said = said[-20:]
        await play.send(said)
        play.writer.close()


def holding(hold_s: float = 60.0, on_cold: Literal["downgrade", "hold", "shed"] = "hold") -> Spec:
    routes = tuple(replace(route, on_cold=on_cold, hold_s=hold_s) for route in SPEC.routes)
    return replace(SPEC, router=replace(LIMITS, max_held=1000), routes=routes)


def loads(router: Running, engine: Engine, key: str = "large/a") -> None:
    """The engine has loaded, and its metrics can be read."""
    engine.loaded = True
    router.engines[key].metrics = b"llamacpp:requests_deferred 0\n"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("in_pieces", [True, False])
async def test_a_request_waits_until_the_engine_has_loaded(start: Start, *, stream: bool, in_pieces: bool) -> None:
    engine = Engine(in_pieces=in_pieces)
    router: Running = await start(engines=[("a", engine)], spec=holding())
    asking = asyncio.create_task(router.call(chat(stream=stream)))
    await until(lambda: router.wired.plane.room.size == 1, 60)
    loads(router, engine)
    reply = await asking
    assert (reply.status, reply.route["replica"]) == (200, "a")
    assert int(reply.route["held"]) > 0
    assert (router.in_flight(), router.wired.plane.room.size) == (0, 0)


async def test_all_who_came_meanwhile_wait_and_ask_the_engine_seldom(start: Start) -> None:
    engine = Engine()
    router: Running = await start(engines=[("a", engine)], spec=holding())
    asking = [asyncio.create_task(router.call(chat())) for _ in range(60)]
    await until(lambda: router.wired.plane.room.size == 60, 60)
    refused = engine.refused
    loads(router, engine)
    replies = await asyncio.gather(*asking)
    assert {reply.status for reply in replies} == {200}
    assert refused <= 60, "one attempt each, and none again while it loads"


async def test_it_is_no_strike_and_a_probe_stays_a_probe(start: Start) -> None:
    engine = Engine()
    router: Running = await start(engines=[("a", engine)], spec=holding())
    replica = router.wired.plane.homes["a"]
    asking = asyncio.create_task(router.call(chat()))
    await until(lambda: router.wired.plane.room.size == 1, 60)
    assert (replica.breaker.state, replica.breaker.failures, replica.is_loading, replica.limit) == (State.CLOSED, 0, True, 0)
    loads(router, engine)
    assert (await asking).status == 200
    assert (replica.is_loading, replica.limit > 0) == (False, True)


async def test_an_engine_whose_metrics_cannot_be_read_is_asked_again_all_the_same(start: Start) -> None:
    engine = Engine()
    router: Running = await start(engines=[("a", engine)], spec=holding())
    asking = asyncio.create_task(router.call(chat()))
    await until(lambda: router.wired.plane.room.size == 1, 60)
    engine.loaded = True
    assert (await asking).status == 200


async def test_another_replica_answers_at_once(start: Start) -> None:
    router: Running = await start(engines=[("a", Engine()), ("b", says_hello)], spec=holding())
    for _ in range(4):
        reply = await router.call(chat())
        assert (reply.status, reply.route["replica"]) == (200, "b")


async def test_a_route_that_sheds_says_when_to_come_back(start: Start) -> None:
    router: Running = await start(engines=[("a", Engine())], spec=holding(on_cold="shed"))
    reply = await router.call(chat())
    assert (reply.status, reply.code, "loading" in reply.json["error"]["message"]) == (503, "model_not_warm", True)
    assert int(reply.headers["retry-after"]) >= 1


async def test_nobody_waits_longer_than_the_route_lets_it(start: Start) -> None:
    router: Running = await start(engines=[("a", Engine())], spec=holding(0.5))
    reply = await router.call(chat())
    assert reply.status == 503
    assert (router.in_flight(), router.wired.plane.room.size) == (0, 0)


@pytest.mark.parametrize("body", [b'{"error":{"message":"too many requests"}}', b"", b"x" * 5000])
async def test_an_engine_that_is_only_full_is_not_waited_for(start: Start, body: bytes) -> None:
    router: Running = await start(engines=[("a", plays(answer(body, 503)))], spec=holding())
    reply = await router.call(chat())
    assert (reply.status, reply.code) == (503, "replicas_busy")


async def test_a_refusal_whose_body_does_not_come_is_a_broken_connection(start: Start) -> None:
    async def cuts(play: Play) -> None:
        await play.send(answer(LOADING, 503)[:-20])
        play.cut()

    router: Running = await start(engines=[("a", cuts), ("b", says_hello)], spec=holding())
    for _ in range(3):
        assert (await router.call(chat())).status == 200


@given(st.integers(0, 599), st.binary(max_size=50))
def test_only_a_503_that_says_so_is_loading(status: int, noise: bytes) -> None:
    assert is_loading(status, noise + LOADING) == (status == 503)
    assert not is_loading(503, noise.replace(b"l", b""))


def test_an_attempt_that_asked_nothing_is_given_back() -> None:
    budget = Budget()
    for _ in range(1000):
        budget.give()
        assert budget.take(0)
    assert sum(budget.take(0) for _ in range(100)) == int(START)
