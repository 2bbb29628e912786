"""Cold starts on real parts: a model with no replica is woken by the requests that wait for it, and a cold one is stood in for.

Own system, with engines that take an honest time to load. The chat route waits for its model, the fast one takes the next warm model.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import aiohttp
import pytest

from fleet.local import stack
from tests import servers
from tests.journeys.fleet import Fleet, until
from tests.journeys.load import whole

pytestmark = pytest.mark.journey

VARIABLES = (
    "model.large-model.replicas.min=0",
    "model.large-model.replicas.max=1",  # one home for a session to keep: no second replica that calm takes away again
    "model.large-model.load_delay=3s",
    "model.small-model.load_delay=3s",
    "model.small-model.replicas.max=1",
    "route.chat.on_cold=hold",
    "route.chat.hold=60s",
    "router.keep_alive=2s",
    "router.return_after=10m",
)


@pytest.fixture(scope="module")
def cold() -> Iterator[Fleet]:
    with servers.state_folder() as state:  # the stack's own folder, so that a killed run is swept by its name
        yield Fleet(state, stack.up(state, usual_ports=False, variables=VARIABLES))
        stack.down(state)


class Answer(NamedTuple):
    status: int
    text: str
    route: dict[str, str]


async def ask(fleet: Fleet, http: aiohttp.ClientSession, model: str, *, stream: bool = False, session: str = "") -> Answer:
    body = {"model": model, "stream": stream, "max_tokens": 8, "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"x-session-id": session} if session else {}
    async with http.post(f"{fleet.router}/v1/chat/completions", json=body, headers=headers) as answer:
        route = dict(part.split("=", 1) for part in answer.headers["x-route"].split("; "))
        return Answer(answer.status, await answer.text(), route)


async def held(fleet: Fleet, http: aiohttp.ClientSession, model: str) -> float:
    async with http.get(f"{fleet.router}/metrics") as answer:
        line = next(line for line in (await answer.text()).splitlines() if line.startswith(f'warmfleet_router_held{{model="{model}"}}'))
        return float(line.split()[-1])


async def test_requests_for_a_model_with_no_replica_wake_it_and_are_answered(cold: Fleet, http: aiohttp.ClientSession) -> None:
    assert (cold.desired("large-model"), cold.ready("large-model")) == (0, 0)
    asking = [asyncio.create_task(ask(cold, http, "large-model", stream=n % 2 == 0)) for n in range(10)]
    async with asyncio.timeout(40):
        while await held(cold, http, "large-model") < 10:  # noqa: ASYNC110 - a poll with a deadline
            await asyncio.sleep(0.1)
    answers = await asyncio.gather(*asking)
    assert [answer.status for answer in answers] == [200] * 10
    for number, answer in enumerate(answers):
        assert whole("\n".join(line for line in answer.text.splitlines() if not line.startswith(":")), stream=number % 2 == 0)
    assert {answer.route["model"] for answer in answers[1::2]} == {"large-model"}
    assert all(int(answer.route["held"]) > 1000 for answer in answers[1::2])
    assert any(answer.text.startswith(": keep-alive") for answer in answers[::2]), "a stream that waits hears so"
    assert await held(cold, http, "large-model") == 0


async def test_while_a_model_loads_the_next_one_answers_at_once_and_the_session_keeps_it(cold: Fleet, http: aiohttp.ClientSession) -> None:
    assert (await ask(cold, http, "large-model")).status == 200, "asked for, so that it is warm"
    await until(lambda: cold.ready("large-model") == 1, "the large model is warm")
    cold.stop_allocation("small-model")
    await until(lambda: cold.ready("small-model") == 0, "the small model is cold")
    first = await ask(cold, http, "small-model", session="journey-cold")
    assert (first.status, first.route["model"], first.route["reason"]) == (200, "large-model", "fallback")
    assert "held" not in first.route
    await until(lambda: cold.ready("small-model") == 1, "the small model is warm again")
    kept = await ask(cold, http, "small-model", session="journey-cold")
    assert (kept.route["model"], kept.route["reason"]) == ("large-model", "home")
    async with asyncio.timeout(90):  # new sessions get it as soon as its load level is no failure any more
        for number in itertools.count():
            if (await ask(cold, http, "small-model", session=f"journey-other-{number}")).route["model"] == "small-model":
                break
            await asyncio.sleep(0.2)
    assert (await ask(cold, http, "small-model", session="journey-cold")).route["model"] == "large-model"
