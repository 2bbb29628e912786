"""Requests that come while nothing is warm: held and then answered, downgraded, or shed; what callers and the autoscaler see of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Literal

import pytest

from fleet.model import Spec
from fleet.state import Level, Loading, ModelState
from tests.router.client import Caller, Reply, chat
from tests.router.conftest import LIMITS, SPEC, Running, Start, until
from tests.router.upstream import CHAT, DONE, ROLE, SSE_HEAD, Play, Script, answer, chunked, delta, plays, resets, says_hello

COMMENT = b": keep-alive\n\n"
STREAM = SSE_HEAD + chunked([ROLE, delta("Hello", "stop"), DONE])


def cold(on_cold: Literal["downgrade", "hold", "shed"] = "downgrade", hold_s: float = 10.0, **limits: Any) -> Spec:
    routes = tuple(replace(route, on_cold=on_cold, hold_s=hold_s) for route in SPEC.routes)
    return replace(SPEC, router=replace(LIMITS, **({"max_held": 1000} | limits)), routes=routes)


def loads(router: Running, model: str, in_s: float, level: Level = "failure") -> None:
    """The autoscaler says that a replica loads."""
    loading = (Loading(alloc_id="x", since=0, eta=router.wired.plane.wall() + in_s),)
    router.wired.plane.publish({model: told(model, level, loading)})


def told(model: str, level: Level = "low", loading: tuple[Loading, ...] = ()) -> ModelState:
    return ModelState(
        model=model,
        desired=1,
        placed=1,
        ready=0,
        loading=loading,
        cold_start_p50_s=60,
        cold_start_p90_s=60,
        level=level,
        updated_at=0,
    )


async def held(router: Running, count: int, model: str = "large") -> None:
    await until(lambda: router.wired.plane.room.held(model) == count)


class Gate:
    """An engine that answers when it is let, but the first `free` at once; `most` is how many requests it had at the same time."""

    def __init__(self, free: int = 0) -> None:
        self.open = asyncio.Event()
        self.free = free
        self.now = self.most = 0

    async def __call__(self, play: Play) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        self.free -= 1
        if self.free < 0:
            await self.open.wait()
        self.now -= 1
        await play.send(answer(CHAT))


async def many(router: Running, stack: AsyncExitStack, count: int, data: bytes) -> list[Caller]:
    callers = [await stack.enter_async_context(await router.connect()) for _ in range(count)]
    for caller in callers:
        await caller.send(data)
    return callers


async def test_a_crowd_is_held_and_then_let_in_no_faster_than_a_fresh_replica_can(start: Start) -> None:
    router: Running = await start(spec=cold())
    tasks = len(asyncio.all_tasks())
    async with AsyncExitStack() as stack:
        callers = await many(router, stack, 200, chat("large"))
        await held(router, 200)
        assert len(asyncio.all_tasks()) == tasks, "a held request is no task"
        assert await router.metric('warmfleet_router_held{model="large"}') == 200
        assert await router.metric('warmfleet_router_arrivals_total{model="large"}') == 200
        gate = Gate()
        engine = await router.engine("a", gate)
        router.warm()
        await until(lambda: len(engine.heard) == 2)
        await held(router, 198)
        gate.open.set()
        replies = [await caller.reply() for caller in callers]
    assert {reply.status for reply in replies} == {200}
    assert all(int(reply.route["held"]) > 0 for reply in replies)
    assert gate.most <= 8, "twice what it carries at once"
    assert await router.metric('warmfleet_router_held{model="large"}') == 0
    assert await router.metric('warmfleet_router_hold_time_count{model="large",end="served"}') == 200
    assert (router.wired.plane.room.size, router.wired.plane.room.size_bytes) == (0, 0)


async def test_who_comes_later_does_not_overtake(start: Start) -> None:
    """Not even at a replica that starts slowly no more, and would take whatever comes directly."""
    router: Running = await start(spec=cold())
    async with AsyncExitStack() as stack:
        early = await many(router, stack, 20, chat("large", headers={"x-tag": "early"}))
        await held(router, 20)
        gate = Gate(free=1)
        engine = await router.engine("a", gate)
        router.warm()
        await until(lambda: len(engine.heard) == 9)
        await held(router, 11)
        late = await many(router, stack, 1, chat("large", headers={"x-tag": "late"}))
        await held(router, 12)
        gate.open.set()
        assert {(await caller.reply()).status for caller in (*early, *late)} == {200}
    assert [heard.header("x-tag") for heard in engine.heard].index("late") >= 12


async def test_a_caller_that_leaves_frees_its_place_at_once(start: Start) -> None:
    router: Running = await start(spec=cold())
    async with await router.connect() as caller:
        await caller.send(chat("large"))
        await held(router, 1)
    await held(router, 0)
    assert not router.wired.plane.active
    assert await router.metric('warmfleet_router_requests_total{model="large",route="best",status="499"}') == 1


@pytest.mark.parametrize(
    ("header", "hold_s"),
    [({"x-deadline-s": "1"}, 60.0), ({"x-stainless-read-timeout": "1.0"}, 60.0), ({}, 0.3)],
    ids=["own", "sdk", "route"],
)
async def test_a_hold_ends_with_the_patience_of_caller_or_route(start: Start, header: dict[str, str], hold_s: float) -> None:
    router: Running = await start(spec=cold(hold_s=hold_s))
    reply = await router.call(chat("large", headers=header))
    assert (reply.status, reply.code, reply.headers["x-should-retry"]) == (503, "model_not_warm", "true")
    assert int(reply.route["held"]) >= 250
    assert reply.route["attempts"] == "0"
    assert router.wired.plane.room.size == 0


async def test_what_will_be_warm_too_late_is_not_waited_for(start: Start) -> None:
    router: Running = await start(spec=cold(hold_s=10.0))
    loads(router, "large", 600)
    reply = await router.call(chat("large"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "120")
    assert 590 <= int(reply.headers["x-warm-eta"]) <= 600
    assert "held" not in reply.route


async def test_a_chain_waits_for_whichever_model_is_warm_first(start: Start) -> None:
    router: Running = await start(spec=cold())
    loads(router, "small", 5)
    async with await router.connect() as caller:
        await caller.send(chat("large"))
        await held(router, 1)
        await router.engine("s", says_hello, "small")
        router.warm()
        assert (await caller.reply()).route["model"] == "small"


@pytest.mark.parametrize(("on_cold", "status", "model"), [("downgrade", 200, "small"), ("hold", 200, "large"), ("shed", 503, "-")])
async def test_a_cold_model_before_a_warm_one(start: Start, on_cold: Literal["downgrade", "hold", "shed"], status: int, model: str) -> None:
    router: Running = await start(engines=[("s", says_hello, "small")], spec=cold(on_cold))
    async with await router.connect() as caller:
        await caller.send(chat("auto", headers={"x-session-id": "mine"}))
        if on_cold == "hold":
            await held(router, 1)
            await router.engine("l", says_hello)
            router.warm()
        reply = await caller.reply()
    assert (reply.status, reply.route["model"]) == (status, model)
    if on_cold == "downgrade":
        await router.engine("l", says_hello)
        router.warm()
        kept = await router.call(chat("auto", headers={"x-session-id": "mine"}))
        assert (kept.route["model"], kept.route["reason"]) == ("small", "home"), "the session keeps it"


@pytest.mark.parametrize("eta_s", [None, 600.0])
async def test_a_hold_in_vain_ends_at_the_next_warm_model(start: Start, eta_s: float | None) -> None:
    router: Running = await start(engines=[("s", says_hello, "small")], spec=cold("hold", hold_s=0.3))
    if eta_s is not None:
        loads(router, "large", eta_s)
    reply = await router.call(chat("large"))
    assert (reply.status, reply.route["model"], reply.route["reason"]) == (200, "small", "fallback")
    assert ("held" in reply.route) == (eta_s is None)


async def test_a_full_room_says_so(start: Start) -> None:
    router: Running = await start(spec=cold(max_held=2))
    async with AsyncExitStack() as stack:
        await many(router, stack, 2, chat("large"))
        await held(router, 2)
        reply = await router.call(chat("large"))
        assert (reply.status, reply.code) == (503, "too_many_held")
        assert await router.metric('warmfleet_router_arrivals_total{model="large"}') == 3, "demand, whatever becomes of it"


async def test_the_bodies_of_held_requests_are_bounded(start: Start) -> None:
    router: Running = await start(spec=cold(max_held_bytes=3000))
    async with AsyncExitStack() as stack:
        await many(router, stack, 1, chat("large", user="x" * 2000))
        await held(router, 1)
        assert (await router.call(chat("large", user="x" * 2000))).code == "too_many_held"


async def test_while_every_replica_rests_requests_wait_for_a_new_one(start: Start) -> None:
    router: Running = await start(engines=[("a", resets, "lone")], spec=cold())
    for _ in range(3):
        await router.call(chat("lone", headers={"x-deadline-s": "0.3"}))  # who has no time is told at once
    async with await router.connect() as caller:
        await caller.send(chat("lone"))
        await held(router, 1, "lone")
        await router.engine("b", says_hello, "lone")
        router.warm()
        assert (await caller.reply()).route["replica"] == "b"


async def test_a_stopping_router_answers_those_who_wait(start: Start) -> None:
    router: Running = await start(spec=cold())
    async with await router.connect() as caller:
        await caller.send(chat("large"))
        await held(router, 1)
        for relay in tuple(router.wired.plane.active):
            relay.stop()
        assert (await caller.reply()).code == "router_stopping"
    assert router.wired.plane.room.size == 0


# a stream that waits long


async def commented(router: Running, caller: Caller, **more: Any) -> Reply:
    await caller.send(chat("large", stream=True, **more))
    return await caller.until(2)


def with_comments(hold_s: float = 10.0) -> Spec:
    return cold(hold_s=hold_s, keep_alive_s=0.2)


async def test_a_stream_that_waits_gets_its_head_and_signs_of_life(start: Start) -> None:
    router: Running = await start(spec=with_comments())
    async with await router.connect() as caller:
        early = await commented(router, caller)
        assert (early.status, early.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert early.chunks == [COMMENT, COMMENT]
        await router.engine("a", plays(STREAM))
        router.warm()
        reply = await caller.reply()
        assert reply.body.replace(COMMENT, b"") == ROLE + delta("Hello", "stop") + DONE
        await caller.send(chat("large", stream=True))
        assert (await caller.reply()).body.endswith(DONE), "the connection is still well-formed"


LATE_ANSWERS: list[tuple[str, Script | None, str]] = [
    ("nothing comes", None, "model_not_warm"),
    ("an error", plays(answer(b'{\n "error": {"message": "too long", "code": "invalid_request"}\n}', 400)), "invalid_request"),
    ("too large for an event", plays(answer(b"x" * 400_000)), "upstream_failed"),
]


@pytest.mark.parametrize(("name", "script", "code"), LATE_ANSWERS, ids=[row[0] for row in LATE_ANSWERS])
async def test_after_the_head_whatever_is_no_stream_is_an_event(start: Start, name: str, script: Script | None, code: str) -> None:
    router: Running = await start(spec=with_comments(hold_s=0.6 if script is None else 10.0))
    async with await router.connect() as caller:
        await commented(router, caller)
        if script is not None:
            await router.engine("a", script)
            router.warm()
        reply = await caller.reply()
    events = reply.body.replace(COMMENT, b"").split(b"\n\n")
    assert reply.complete
    assert json.loads(events[0].removeprefix(b"data: "))["error"]["code"] == code
    assert events[1:] == [b"data: [DONE]", b""]


async def test_what_fails_after_the_head_is_still_tried_elsewhere(start: Start) -> None:
    router: Running = await start(spec=with_comments())
    async with await router.connect() as caller:
        await commented(router, caller)
        await router.engine("a", resets)
        await router.engine("b", resets)
        await router.engine("s", plays(STREAM), "small")
        router.warm()
        assert (await caller.reply()).body.endswith(delta("Hello", "stop") + DONE)


async def test_an_answer_that_does_not_stream_gets_nothing_before_its_head(start: Start) -> None:
    router: Running = await start(spec=with_comments(hold_s=0.7))
    assert (await router.call(chat("large"))).code == "model_not_warm"


async def test_a_caller_of_http_1_0_gets_comments_too(start: Start) -> None:
    router: Running = await start(spec=with_comments())
    async with await router.connect() as caller:
        await caller.send(chat("large", stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
        await caller.until(2)
        await router.engine("a", plays(STREAM))
        router.warm()
        reply = await caller.reply()
        assert await caller.closed()
    assert reply.body.replace(COMMENT, b"") == ROLE + delta("Hello", "stop") + DONE


async def test_a_caller_that_leaves_after_the_head_frees_its_place(start: Start) -> None:
    router: Running = await start(spec=with_comments())
    async with await router.connect() as caller:
        await commented(router, caller)
    await until(lambda: not router.wired.plane.active)
    assert router.wired.plane.room.size == 0
