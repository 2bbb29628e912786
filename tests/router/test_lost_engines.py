"""Every engine of a chain is killed at once: requests without content wait for one to be started again, as those do that come later."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

import pytest

from fleet.model import Spec
from tests.router.client import chat
from tests.router.conftest import LIMITS, SPEC, Running, Start, until
from tests.router.upstream import Play, resets, says_hello


def holding(hold_s: float = 10.0, on_cold: Literal["downgrade", "hold", "shed"] = "downgrade") -> Spec:
    routes = tuple(replace(route, on_cold=on_cold, hold_s=hold_s) for route in SPEC.routes)
    return replace(SPEC, router=replace(LIMITS, max_held=1000), routes=routes)


async def stopped(router: Running) -> None:
    for engine in router.engines.values():
        await engine.stop()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_finds_nobody_behind_any_port_waits_for_an_engine_that_is_started_again(start: Start, *, stream: bool) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello), ("s", says_hello, "small")], spec=holding())
    await stopped(router)
    asking = asyncio.create_task(router.call(chat(stream=stream)))
    await until(lambda: router.wired.plane.room.size == 1)
    await router.engines["large/b"].start()
    reply = await asking
    assert (reply.status, reply.route["replica"]) == (200, "b")
    assert int(reply.route["held"]) > 0
    assert (router.in_flight(), router.wired.plane.room.size) == (0, 0)


async def test_it_waits_no_longer_than_its_route_lets_it(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("s", says_hello, "small")], spec=holding(0.5))
    await stopped(router)
    reply = await router.call(chat())
    assert reply.status in (502, 503), "as its time ends in an attempt or between two"
    assert int(reply.route["held"]) > 0
    assert (router.in_flight(), router.wired.plane.room.size) == (0, 0)


async def test_a_route_that_sheds_holds_nobody(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("s", says_hello, "small")], spec=holding(on_cold="shed"))
    await stopped(router)
    reply = await router.call(chat())
    assert (reply.status, reply.code) == (502, "upstream_failed")


async def test_engines_that_live_and_fail_get_a_second_round_and_are_not_waited_for(start: Start) -> None:
    router: Running = await start(engines=[("a", resets), ("s", resets, "small")], spec=holding())
    reply = await router.call(chat())
    assert (reply.status, reply.code, router.heard()) == (502, "upstream_failed", 4)
    assert router.in_flight() == 0


async def test_a_request_under_which_every_engine_dies_is_answered_by_the_first_that_is_back(start: Start) -> None:
    router: Running = await start(spec=holding())

    async def dies(play: Play) -> None:
        for engine in router.engines.values():
            assert engine._server is not None
            engine._server.close()
        play.cut()

    for name in ("a", "b"):
        await router.engine(name, dies)
    router.warm()
    asking = asyncio.create_task(router.call(chat()))
    await until(lambda: router.wired.plane.room.size == 1 and all(replica.refused for replica in router.wired.plane.replicas()))
    back = router.engines["large/a"]
    back.script = says_hello
    await back.start()
    reply = await asking
    assert (reply.status, reply.route["replica"]) == (200, "a")


async def test_a_caller_that_leaves_while_it_waits_leaves_nothing_behind(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)], spec=holding())
    await stopped(router)
    async with await router.connect() as caller:
        await caller.send(chat())
        await until(lambda: router.wired.plane.room.size == 1)
    await until(lambda: (router.wired.plane.room.size, router.in_flight()) == (0, 0))
