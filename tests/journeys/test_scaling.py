"""Scaling on real parts while callers chat: a burst is downgraded and then met, calm is scaled in, and a killed leader is replaced.

Own system, with an honest time to load and two autoscalers of which one leads. small-model may have two replicas, large-model has one.
Each test begins with whatever count the one before left, and waits for the one that it needs.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

import aiohttp
import pytest

from fleet.local import stack
from tests import servers
from tests.journeys.fleet import Fleet, kill, until
from tests.journeys.load import Load

pytestmark = pytest.mark.journey

VARIABLES = (
    "model.small-model.load_delay=3s",
    "model.small-model.replicas.max=2",
    "model.large-model.replicas.max=1",
    "autoscaler.count=2",
    "autoscaler.cooldown_up=1s",
    "autoscaler.cooldown_down=3s",
)


@pytest.fixture(scope="module")
def scaling() -> Iterator[Fleet]:
    with servers.state_folder() as state:  # the stack's own folder, so that a killed run is swept by its name
        yield Fleet(state, stack.up(state, usual_ports=False, variables=VARIABLES))
        stack.down(state)


async def calm(fleet: Fleet) -> None:
    await until(lambda: fleet.desired("small-model") == fleet.ready("small-model") == 1, "one small replica serves")
    await until(lambda: level(fleet) == "low", "its level is low")


def level(fleet: Fleet) -> str:
    state = fleet.state_of("small-model")
    return state.level if state else ""


async def new_session_lands_on(fleet: Fleet, http: aiohttp.ClientSession, model: str, *, called: str) -> None:
    """Opens sessions of the route whose first model is small-model until one begins on `model`."""
    for number in itertools.count():
        session = f"{called}-{number}"
        if (await fleet.chat(http, "small-model", session=session)).model == model:
            return
        assert number < 300, f"no new session began on {model}"


async def test_a_burst_is_downgraded_and_then_met_and_calm_takes_the_replica_away(scaling: Fleet, http: aiohttp.ClientSession) -> None:
    """Two callers are too many for one replica (1.4 is its target) and carried by two."""
    await calm(scaling)
    async with Load(scaling.router, model="small-model", callers=2, sessions="burst") as load:
        await until(lambda: level(scaling) == "high", "the autoscaler publishes the burst")
        await new_session_lands_on(scaling, http, "large-model", called="during")
        await until(lambda: scaling.ready("small-model") == 2, "a second replica is warm")
        await until(lambda: level(scaling) in ("medium", "low"), "the level falls")
        await new_session_lands_on(scaling, http, "small-model", called="after")
        assert {route.split("/")[0] for route in load.done} == {"small-model"}, "sessions that had begun kept their model"
    assert (load.failures, load.held) == ([], [])
    async with Load(scaling.router, model="small-model", callers=1, max_tokens=4, pause_s=0.2) as quiet:
        await until(lambda: scaling.desired("small-model") == 1, "the second replica is taken away")
        await until(lambda: len(scaling.engine_pids("small-model")) == 1, "and has ended")
        before = quiet.total
        await until(lambda: quiet.total >= before + 3, "requests go on")
    assert (quiet.failures, quiet.held) == ([], [])


async def test_new_sessions_begin_elsewhere_while_no_replica_is_ready_and_come_back(scaling: Fleet, http: aiohttp.ClientSession) -> None:
    await calm(scaling)
    scaling.stop_allocation("small-model")
    await until(lambda: level(scaling) == "failure", "the autoscaler publishes that nothing is ready")
    await new_session_lands_on(scaling, http, "large-model", called="failing")
    await until(lambda: level(scaling) == "low", "a replica is warm again")
    await new_session_lands_on(scaling, http, "small-model", called="back")


async def test_a_killed_leader_is_replaced_and_its_successor_scales_while_traffic_flows(scaling: Fleet) -> None:
    await calm(scaling)
    killed = scaling.leader()
    assert killed is not None
    async with Load(scaling.router, model="small-model", callers=2) as load:
        kill(int(killed.name.rpartition("/")[2]), signal.SIGKILL)
        await until(lambda: (now := scaling.leader()) is not None and now.since > killed.since, "another one leads")
        await until(lambda: scaling.ready("small-model") == 2, "the new leader has scaled, and it is warm")
    assert load.failures == []
    await until(lambda: scaling.passing("autoscaler") == 2, "Nomad brings the killed one back")
