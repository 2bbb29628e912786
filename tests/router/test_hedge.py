"""A slow first token is asked for twice, a retry has its price, and a Retry-After is kept."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import budget
from router.budget import Budget
from tests.router.client import chat
from tests.router.conftest import Running, Start, until, with_slo
from tests.router.upstream import DONE, ROLE, SSE_HEAD, Play, Script, answer, chunked, delta, plays, says_hello, silent

GOOD = plays(SSE_HEAD + chunked([ROLE, delta("Hello", "stop"), DONE]))
HEDGED = with_slo(first_token_s=10.0, idle_s=10.0, hedge_s=0.3)


def first_then(*scripts: Script) -> Script:
    """Engines share it: the requests get these scripts in turn, and the last one from then on."""
    left = list(scripts)

    async def script(play: Play) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(play)

    return script


async def test_the_rival_of_a_slow_stream_answers_and_the_slow_one_is_closed(start: Start) -> None:
    shared = first_then(silent, GOOD)
    router: Running = await start(engines=[("a", shared), ("b", shared)], spec=HEDGED)
    reply = await router.call(chat(stream=True))
    assert (reply.status, reply.route["attempts"]) == (200, "2")
    assert reply.body.endswith(DONE)
    await until(lambda: sum(engine.open for engine in router.engines.values()) == 1)
    assert router.in_flight() == 0
    assert all(replica.breaker.failures == 0 for replica in router.wired.plane.replicas())
    assert await router.metric('warmfleet_router_hedges_total{model="large",winner="rival"}') == 1


async def test_the_first_one_may_still_win(start: Start) -> None:
    async def late(play: Play) -> None:
        await until(lambda: router.heard() == 2)
        await GOOD(play)

    shared = first_then(late, silent)
    router: Running = await start(engines=[("a", shared), ("b", shared)], spec=HEDGED)
    assert (await router.call(chat(stream=True))).body.endswith(DONE)
    assert await router.metric('warmfleet_router_hedges_total{model="large",winner="first"}') == 1
    assert router.in_flight() == 0


@pytest.mark.parametrize("dies", ["first", "rival"])
async def test_where_one_of_two_fails_the_other_answers(start: Start, dies: str) -> None:
    async def late(play: Play) -> None:
        await until(lambda: router.heard() == 2 and router.in_flight() == 1)
        await GOOD(play)

    async def falls(play: Play) -> None:
        await until(lambda: router.heard() == 2)
        play.cut()

    shared = first_then(falls, late) if dies == "first" else first_then(late, falls)
    router: Running = await start(engines=[("a", shared), ("b", shared)], spec=HEDGED)
    reply = await router.call(chat(stream=True))
    assert reply.body.endswith(DONE)
    assert reply.route["moved"] == "connection"
    assert sum(replica.breaker.failures for replica in router.wired.plane.replicas()) == 1


async def test_a_caller_that_leaves_closes_both(start: Start) -> None:
    router: Running = await start(engines=[("a", silent), ("b", silent)], spec=HEDGED)
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await until(lambda: router.heard() == 2)
    await until(lambda: all(engine.open == 0 for engine in router.engines.values()))
    assert router.in_flight() == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_without_the_setting_or_a_stream_nothing_is_asked_twice(start: Start, stream: bool) -> None:
    async def late(play: Play) -> None:
        relay = next(iter(router.wired.plane.active))
        await until(lambda: router.wired.plane.clock() - relay.began > 1.0)  # type: ignore[attr-defined]
        await (GOOD if stream else says_hello)(play)

    slo = with_slo(first_token_s=10.0, idle_s=10.0) if stream else HEDGED
    router: Running = await start(engines=[("a", late), ("b", late)], spec=slo)
    assert (await router.call(chat(stream=stream))).status == 200
    assert router.heard() == 1


async def test_an_outage_is_not_multiplied(start: Start) -> None:
    busy = plays(answer(b"{}", 503))  # no strike, so that nothing but the budget holds the retries back
    router: Running = await start(engines=[(name, busy, "lone") for name in "abc"])
    for _ in range(60):
        assert (await router.call(chat("lone"))).status == 503
    assert router.heard() <= 60 + budget.START + 60 * budget.SHARE + 1


@given(st.lists(st.integers(0, 50), max_size=200))
def test_retries_are_a_share_of_the_requests_and_a_stock(steps: list[int]) -> None:
    bucket, arrivals, taken = Budget(), 0, 0
    for step in steps:
        arrivals += step
        taken += bucket.take(arrivals)
        assert taken <= budget.START + arrivals * budget.SHARE + 1e-6


async def test_a_replica_that_says_when_to_come_back_is_left_alone_until_then(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(answer(b"{}", 503, extra="retry-after: 60\r\n"))), ("b", says_hello)])
    for _ in range(12):
        assert (await router.call(chat())).status == 200
    assert len(router.engines["large/a"].heard) <= 1
    resting = router.wired.plane.homes["a"]
    router.engines["large/a"].script = says_hello
    if router.engines["large/a"].heard:
        assert resting.breaker.failures == 0
        resting.wake(router.wired.plane.clock() + 61)
    async with asyncio.timeout(30):  # it counts as full until its queue has been read again
        while len(router.engines["large/a"].heard) <= 1:
            assert (await router.call(chat())).status == 200


async def test_retry_after_reaches_the_caller_in_slices(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(answer(b"{}", 429, extra="retry-after: 900\r\n")), "lone")])
    reply = await router.call(chat("lone"))
    assert (reply.status, reply.headers["retry-after"], reply.headers["x-should-retry"]) == (503, "120", "true")
