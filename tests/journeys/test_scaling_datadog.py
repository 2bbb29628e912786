"""Datadog away, on real parts: nothing is scaled in on half of the knowledge, nobody notices, and when it is back the replica goes.

Own system, whose autoscaler reads a Datadog on loopback: an address at which nobody listens at first. The keys come as in production,
from the Nomad variable of the job.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import requests
from aiohttp import web

from fleet.local import stack
from fleet.names import ENV_DATADOG_URL
from tests import servers
from tests.contract.datadog_server import PATH, steady
from tests.journeys.fleet import Fleet, until
from tests.journeys.load import Load

pytestmark = pytest.mark.journey

VARIABLES = (
    "datadog.read=true",
    "model.small-model.replicas.max=2",
    "model.large-model.replicas.max=1",
    "autoscaler.cooldown_up=1s",
    "autoscaler.cooldown_down=1s",
)
KEYS = {"api_key": "a-key-for-tests", "app_key": "another-key-for-tests"}


class Watched(NamedTuple):
    """A fleet, and the socket at which its Datadog would be: bound, so that nobody else takes the port, and not listening."""

    fleet: Fleet
    datadog: socket.socket


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    before = os.environ.get(ENV_DATADOG_URL)
    with servers.state_folder() as state, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        os.environ[ENV_DATADOG_URL] = f"http://127.0.0.1:{reserved.getsockname()[1]}"  # Nomad's tasks inherit it
        try:
            fleet = Fleet(state, stack.up(state, usual_ports=False, variables=VARIABLES))
        finally:
            os.environ.pop(ENV_DATADOG_URL)
            os.environ |= {ENV_DATADOG_URL: before} if before is not None else {}
        give_keys(fleet)
        yield Watched(fleet, reserved)
        stack.down(state)


def give_keys(fleet: Fleet) -> None:
    """Nomad renders the autoscaler's environment anew, and restarts it."""
    path = f"nomad/jobs/{fleet.names.job('autoscaler')}"
    requests.put(f"{fleet.record.address('nomad')}/v1/var/{path}", json={"Path": path, "Items": KEYS}, timeout=10).raise_for_status()


def sentence(fleet: Fleet) -> str:
    state = fleet.state_of("small-model")
    return state.reason if state else ""


async def said_again(fleet: Fleet, part: str, *, times: int) -> None:
    """New decisions that say so, one after the other."""
    seen: set[float] = set()

    def once_more() -> bool:
        state = fleet.state_of("small-model")
        if state is not None and part in state.reason:
            seen.add(state.updated_at)
        return len(seen) >= times

    await until(once_more, f"{times} decisions that say {part!r}")


async def test_while_datadog_is_away_nothing_is_scaled_in_and_nobody_notices(watched: Watched) -> None:
    fleet = watched.fleet
    await until(lambda: "Datadog does not answer" in sentence(fleet), "the autoscaler has its keys, and says that Datadog is away")
    async with Load(fleet.router, model="small-model", callers=2) as busy:
        await until(lambda: fleet.ready("small-model") == 2, "it scales out all the same, on what it scrapes")
    async with Load(fleet.router, model="small-model", callers=1, max_tokens=4, pause_s=0.2) as quiet:
        await said_again(fleet, "known in part (Datadog", times=3)
        assert fleet.desired("small-model") == 2
        asked: list[Mapping[str, Any]] = []
        runner = await answering(watched.datadog, asked)
        try:
            await until(lambda: fleet.desired("small-model") == 1, "Datadog is back, and the replica is taken away")
        finally:
            await runner.cleanup()
    assert (busy.failures, quiet.failures) == ([], [])
    assert asked


async def answering(listener: socket.socket, asked: list[Mapping[str, Any]]) -> web.AppRunner:
    """A Datadog that knows of one request in flight, to those who have the keys."""
    answer = steady({"in_flight": 1.0}, ["model:small-model"])

    async def handle(request: web.Request) -> web.StreamResponse:
        if (request.headers.get("dd-api-key"), request.headers.get("dd-application-key")) != tuple(KEYS.values()):
            return web.json_response({"errors": ["Forbidden"]}, status=403)
        asked.append(await request.json())
        return await answer(asked[-1])

    app = web.Application()
    app.router.add_post(PATH, handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    return runner
