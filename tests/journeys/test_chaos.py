"""kill -9 of every part while clients stream: one order here, drawn by a fixed seed; all of them by `make chaos`.

Of the engines those of one model die here, so that its requests go to the other one; `make chaos` leaves none alive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.chaos import PARTS, VARIABLES, Lost, Outage, chaos, orders
from tests.journeys.durable import Durable, durable
from tests.journeys.fleet import Fleet

pytestmark = pytest.mark.journey

SEED = 4


@pytest.fixture(scope="module")
def lasting() -> Iterator[tuple[Fleet, Durable]]:
    with durable(VARIABLES) as both:
        yield both


async def test_only_those_whose_router_was_killed_lose_a_request_and_it_succeeds_when_asked_again(lasting: tuple[Fleet, Durable]) -> None:
    order = orders(SEED)[0]
    assert sorted(order) == sorted(PARTS)
    async with chaos(*lasting, engines_of="small-model") as made:
        await made.play(order)
    assert made.callers.failures == []
    assert made.callers.unexplained() == []
    assert made.callers.lost, "a router was killed, and nobody was connected to it"


@pytest.mark.parametrize(
    ("lost", "explained"),
    [
        (Lost(9.0, 10.5, "in flight when the router was killed"), True),
        (Lost(11.0, 11.1, "refused while it was dead"), True),
        (Lost(12.9, 13.4, "begun before it answered again"), True),
        (Lost(8.0, 9.9, "before the kill"), False),
        (Lost(13.1, 13.2, "after it answered again"), False),
    ],
    ids=lambda value: value.why if isinstance(value, Lost) else "",
)
def test_a_lost_connection_is_explained_only_by_a_router_that_was_dead(lost: Lost, *, explained: bool) -> None:
    assert Outage(10.0, 13.0).explains(lost) is explained
