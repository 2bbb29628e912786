"""The limit of requests at once to a model: kept, waited for in a bounded queue, and gone round where a route may."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Model, Route, Spec
from router.replicas.ceiling import share_out, shares
from router.replicas.ramp import NO_LIMIT
from tests.router.client import chat
from tests.router.conftest import LIMITS, SPEC, Running, Start, model, until
from tests.router.upstream import CHAT, Play, Script, answer, says_hello


def gated() -> tuple[Script, asyncio.Event]:
    """An engine that answers when it is let."""
    gate = asyncio.Event()

    async def script(play: Play) -> None:
        await gate.wait()
        await play.send(answer(CHAT))

    return script, gate


def limited(name: str, most: int) -> Model:
    return replace(model(name), max_concurrent=most)


def spec(route: Route, *, most: int, max_held: int = 10) -> Spec:
    return replace(SPEC, router=replace(LIMITS, max_held=max_held), models=(limited("large", most), model("small")), routes=(route,))


HOLD = Route(selector=0, name="r", chain=("large",), on_cold="hold", hold_s=60.0)


async def test_no_more_than_the_limit_are_at_a_model_and_the_others_wait(start: Start) -> None:
    script, gate = gated()
    router: Running = await start(engines=[("a", script), ("b", script)], spec=spec(HOLD, most=3))
    plane = router.wired.plane
    calls = [asyncio.create_task(router.call(chat("r"))) for _ in range(8)]
    await until(lambda: plane.room.size == 5)
    assert router.in_flight() == 3
    gate.set()
    replies = await asyncio.gather(*calls)
    assert [reply.status for reply in replies] == [200] * 8
    assert (router.in_flight(), plane.room.size) == (0, 0)


async def test_the_queue_of_a_model_is_bounded(start: Start) -> None:
    script, gate = gated()
    router: Running = await start(engines=[("a", script)], spec=spec(HOLD, most=1, max_held=2))
    calls = [asyncio.create_task(router.call(chat("r"))) for _ in range(3)]
    await until(lambda: router.wired.plane.room.size == 2)
    refused = await router.call(chat("r"))
    assert (refused.status, refused.code) == (503, "too_many_held")
    gate.set()
    assert [reply.status for reply in await asyncio.gather(*calls)] == [200] * 3


async def test_a_route_that_may_goes_to_its_next_model_instead(start: Start) -> None:
    script, gate = gated()
    route = Route(selector=0, name="r", chain=("large", "small"))
    router: Running = await start(engines=[("a", script), ("b", says_hello, "small")], spec=spec(route, most=1))
    first = asyncio.create_task(router.call(chat("r")))
    await until(lambda: router.in_flight() == 1)
    assert (await router.call(chat("r"))).route["model"] == "small"
    gate.set()
    assert (await first).route["model"] == "large"


async def test_the_limit_can_be_changed_and_taken_away_while_it_is_full(start: Start) -> None:
    script, gate = gated()
    router: Running = await start(engines=[("a", script)], spec=spec(HOLD, most=1))
    plane = router.wired.plane
    (replica,) = plane.replicas()
    for most, limit in ((2, 2), (1, 1), (0, NO_LIMIT)):
        plane.catalogue.models["large"] = limited("large", most)
        plane.apply(plane.snapshot)
        assert replica.limit == limit
    replica.rest(plane.clock() + 60)
    plane.catalogue.models["large"] = limited("large", 2)
    plane.apply(plane.snapshot)
    assert replica.limit == 0
    replica.wake(plane.clock() + 61)
    assert replica.limit == 2
    replica.grow()
    assert replica.limit == 2
    gate.set()


@given(st.integers(0, 1000), st.integers(1, 50))
def test_shares_add_up_and_are_even(most: int, count: int) -> None:
    found = shares(most, count)
    assert len(found) == count
    if most:
        assert sum(found) == most
        assert max(found) - min(found) <= 1
    else:
        assert set(found) == {NO_LIMIT}


def test_a_share_that_is_what_it_was_is_not_dealt_again() -> None:
    class Untouched:
        ceiling = NO_LIMIT

        def cap(self, most: int) -> None:
            raise AssertionError(most)

    share_out({"large": [Untouched(), Untouched()]}, lambda _name: 0)
