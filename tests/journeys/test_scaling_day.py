"""A day of one minute on real parts: each minute brings traffic, the schedule says so, and the replicas are warm before it.

Own system. At night there is no replica; a request that came then would be held, and its way would say so. A replica takes longer to
load than there is between the schedule's start and the traffic, so that an order given at the start would be too late: it has to go
out a measured cold start ahead. How long one takes is measured by the first day, so the second or third may be the one that is met.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from fleet.local import stack
from tests import servers
from tests.journeys.fleet import Fleet, until
from tests.journeys.load import Load

pytestmark = pytest.mark.journey

DAY_S = 60
TRAFFIC_S = (7, 15)  # after the schedule's start the traffic begins within these
DAYS = 3

VARIABLES = (
    "model.small-model.load_delay=9s",
    "model.small-model.cold_start=15s",
    "model.small-model.replicas.min=0",
    "model.small-model.replicas.max=2",
    "model.small-model.replicas.idle=4s",
    'model.small-model.policy=[{ kind = "schedule", cron = "* * * * *", duration = "25s", replicas = 2 }]',
    "model.large-model.replicas.max=1",
    "route.fast.on_cold=hold",
    "route.fast.hold=60s",
    "autoscaler.cooldown_up=1s",
    "autoscaler.cooldown_down=1s",
)


@pytest.fixture(scope="module")
def days() -> Iterator[Fleet]:
    with servers.state_folder() as state:  # the stack's own folder, so that a killed run is swept by its name
        yield Fleet(state, stack.up(state, usual_ports=False, variables=VARIABLES))
        stack.down(state)


def orders(fleet: Fleet) -> list[str]:
    """The sentences of small-model's scalings, as Nomad keeps them."""
    job = f"{fleet.record.address('nomad')}/v1/job/{fleet.names.job('small-model')}/scale"
    return [event["Message"] for event in requests.get(job, timeout=10).json()["TaskGroups"]["main"]["Events"]]


async def traffic_of_a_day(fleet: Fleet) -> Load:
    """After a night without a replica, callers who come one after the other, as they would in the morning."""
    await until(lambda: fleet.ready("small-model") == 0, "a night without a replica", patience_s=4 * DAY_S)
    await until(lambda: TRAFFIC_S[0] <= time.time() % DAY_S < TRAFFIC_S[1], "the traffic begins", patience_s=2 * DAY_S)
    async with Load(fleet.router, model="small-model", callers=1) as first:
        await until(lambda: first.total + len(first.failures) >= 2, "the first caller is answered")
        async with Load(fleet.router, model="small-model", callers=2) as more:
            await until(lambda: more.total + len(more.failures) >= 6, "so are the others")
    more.failures += first.failures
    more.held += first.held
    return more


async def test_a_daily_ramp_is_met_warm_and_no_request_is_held(days: Fleet) -> None:
    for _ in range(DAYS):
        load = await traffic_of_a_day(days)
        assert load.failures == []
        if not load.held:
            break
    assert load.held == []
    said = orders(days)
    assert any("0 -> 2: schedule" in sentence and "to be warm at" in sentence for sentence in said), said
