"""kill -9 of every part while clients stream: the beginning of the walk here, two orders of the parts; all of them by `make chaos`.

Of the engines those of one model die here, so that its requests go to the other one; `make chaos` leaves none alive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.chaos import VARIABLES, chaos
from tests.journeys.chaos_walk import PARTS, orders_in, walk
from tests.journeys.durable import Durable, durable
from tests.journeys.fleet import Fleet

pytestmark = pytest.mark.journey

SEED, KILLS = 4, 6


@pytest.fixture(scope="module")
def lasting() -> Iterator[tuple[Fleet, Durable]]:
    with durable(VARIABLES) as both:
        yield both


async def test_only_those_whose_router_was_killed_lose_a_request_and_it_succeeds_when_asked_again(lasting: tuple[Fleet, Durable]) -> None:
    async with chaos(*lasting, engines_of="small-model") as made:
        for part in walk(PARTS, SEED)[:KILLS]:
            await made.strike(part)
        await made.all_well()
    assert len(orders_in(made.killed, len(PARTS))) == 2
    assert made.callers.failures == []
    assert made.callers.unexplained() == []
    assert made.callers.lost, "a router was killed, and nobody was connected to it"
