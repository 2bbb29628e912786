"""`python -m tests.journeys.chaos`: kill -9 of every part of a running fleet, in every order, while clients stream.

Parts: the engines (all at once; in CI those of small-model), the router, Redis, Consul, and the Nomad agents (server and client).
In an order each part is killed once, the next one as soon as callers have got answers again, recovered or not; what a real init system
starts again is started again here. An order ends when everything passes.
Law: a caller may lose its own connection, and only while the router that held it is dead; asked again, the same request is answered.
Everything else that is no whole answer is a failure: an error, an error event, a stream that ends early. Exit code 1: there was one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import click
import requests

from fleet.errors import ControlPlaneError
from fleet.local.processes import is_alive
from tests.journeys.durable import Durable, durable
from tests.journeys.fleet import Fleet, until
from tests.journeys.load import TOPICS, whole

PARTS = ("engines", "router", "redis", "consul", "nomad")
VARIABLES = (
    "model.small-model.replicas.min=2",
    "model.small-model.replicas.max=2",
    "model.large-model.replicas.max=1",
    "model.small-model.slo.first_token_timeout=90s",  # on a machine that CI shares, the way back of an engine takes its time
    "model.large-model.slo.first_token_timeout=90s",
    "route.chat.hold=90s",
    "route.fast.hold=90s",
)
ASKS = (("small-model", True), ("small-model", True), ("large-model", True), ("small-model", False))
_INIT_S = 1.0  # after which an init system starts an agent again
_ANSWERS = 3  # that callers get after a kill, before the next one
_AGAIN_S = 0.1
_PATIENCE_S = 150.0


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose connection was lost; monotonic seconds."""

    began: float
    ended: float
    why: str


@dataclass(slots=True)
class Outage:
    """Of the router: from the kill until it answers."""

    began: float
    ended: float = float("inf")

    def explains(self, lost: Lost) -> bool:
        return lost.began <= self.ended and lost.ended >= self.began


@dataclass
class Callers:
    """Callers in conversations, each with one request at a time, asked again as long as its connection is lost."""

    url: str
    done: int = 0
    failures: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)

    def have(self, answers: int) -> bool:
        return self.done >= answers

    def unexplained(self) -> list[Lost]:
        """Connections that were lost although the router was not killed."""
        return [lost for lost in self.lost if not any(outage.explains(lost) for outage in self.outages)]

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE_S)) as http:
            tasks = [asyncio.create_task(self._calls(http, number, stop)) for number in range(len(ASKS))]
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*tasks)

    async def _calls(self, http: aiohttp.ClientSession, number: int, stop: asyncio.Event) -> None:
        model, stream = ASKS[number]
        for turn in itertools.count():
            if stop.is_set():
                return
            message = {"role": "user", "content": f"Say something about {TOPICS[turn % len(TOPICS)]}."}
            body = {"model": model, "stream": stream, "max_tokens": 32, "messages": [message]}
            while not await self._answered(http, body, f"chaos-{number}", stream=stream):
                if stop.is_set():
                    return

    async def _answered(self, http: aiohttp.ClientSession, body: dict[str, object], session: str, *, stream: bool) -> bool:
        """False: the connection was lost, so that the request is to be sent again."""
        began = time.monotonic()
        try:
            async with http.post(f"{self.url}/v1/chat/completions", json=body, headers={"x-session-id": session}) as answer:
                text = await answer.text()
        except TimeoutError:
            self.failures.append(f"no whole answer to {session} within {_PATIENCE_S:.0f} s")
        except aiohttp.ClientError as error:
            self.lost.append(Lost(began, time.monotonic(), f"{type(error).__name__}: {error}"))
            await asyncio.sleep(_AGAIN_S)
            return False
        else:
            text = "\n".join(line for line in text.splitlines() if not line.startswith(":"))
            if answer.status == 200 and whole(text, stream=stream):
                self.done += 1
            else:
                self.failures.append(f"{answer.status} {answer.headers.get('x-route')}: {text[-300:]}")
        return True


@dataclass
class Chaos:
    fleet: Fleet
    agents: Durable
    callers: Callers
    engines_of: str = ""
    """The model whose engines are killed; empty: those of all models."""

    async def play(self, order: Sequence[str]) -> None:
        """Kills the parts in order, and waits until all is well."""
        for part in order:
            await self._kill(part)
            wanted = self.callers.done + _ANSWERS
            await until(partial(self.callers.have, wanted), f"answers after the kill of {part} in {order}", patience_s=_PATIENCE_S)
        await until(lambda: is_well(self.fleet), f"all is well after {order}", patience_s=_PATIENCE_S)

    async def _kill(self, part: str) -> None:
        if part == "consul":
            self.agents.kill("consul")
        elif part == "nomad":
            self.agents.kill("nomad-client")
            self.agents.kill("nomad-server")
        else:
            await until(lambda: bool(self._pids(part)), f"{part} runs")
            if part == "router":
                self.callers.outages.append(Outage(time.monotonic()))
            for pid in self._pids(part):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _pids(self, part: str) -> tuple[int, ...]:
        if part == "redis":
            with suppress(ValueError):  # it is just being started again
                return (self.fleet.redis_pid(),)
            return ()
        return self.fleet.pids(b"router") if part == "router" else self.fleet.engine_pids(self.engines_of)


@asynccontextmanager
async def chaos(fleet: Fleet, agents: Durable, *, engines_of: str = "") -> AsyncIterator[Chaos]:
    """A durable fleet with callers, and an init system; callers end when the block does."""
    made = Chaos(fleet, agents, Callers(fleet.router), engines_of)
    watching = [asyncio.create_task(_init(agents)), asyncio.create_task(_router(made))]
    try:
        async with made.callers.calling():
            await until(partial(made.callers.have, len(ASKS)), "callers are answered")
            yield made
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _init(agents: Durable) -> None:
    """Starts killed agents again."""
    while True:
        if not all(is_alive(agent.process) for agent in agents.agents.values()):
            await asyncio.sleep(_INIT_S)
            await asyncio.to_thread(agents.restart)
        await asyncio.sleep(0.1)


async def _router(made: Chaos) -> None:
    """Notes when a killed router answers again."""
    while True:
        for outage in made.callers.outages:
            if outage.ended == float("inf") and await asyncio.to_thread(made.fleet.router_answers):
                outage.ended = time.monotonic()
        await asyncio.sleep(0.1)


def is_well(fleet: Fleet) -> bool:
    """Every part passes in Consul, Nomad has its node, and every engine answers itself: of a dead one Consul learns a few seconds late."""
    try:
        counts = (fleet.ready("small-model"), fleet.ready("large-model"), *map(fleet.passing, ("router", "redis", "autoscaler")))
        return counts == (2, 1, 1, 1, 1) and fleet.nomad.ready_nodes() == 1 and all(map(_answers, fleet.engines()))
    except (requests.RequestException, ControlPlaneError):
        return False


def _answers(url: str) -> bool:
    return requests.get(f"{url}/health", timeout=5).status_code == 200


def orders(seed: int) -> list[tuple[str, ...]]:
    """All of them, shuffled."""
    found = list(itertools.permutations(PARTS))
    random.Random(seed).shuffle(found)
    return found


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=90.0, show_default=True, help="no new order after these")
@click.option("--seed", type=int, default=1, show_default=True, help="in which the orders come")
def main(minutes: float, seed: int) -> None:
    """Kill -9 of every part in every order while clients stream."""
    with durable(VARIABLES) as (fleet, agents):
        code = asyncio.run(_all(fleet, agents, 60 * minutes, orders(seed)))
    sys.exit(code)


async def _all(fleet: Fleet, agents: Durable, bound_s: float, wanted: Sequence[Sequence[str]]) -> int:
    begun, played = time.monotonic(), 0
    async with chaos(fleet, agents) as made:
        for order in wanted:
            if time.monotonic() - begun > bound_s:
                break
            before, started = made.callers.done, time.monotonic()
            await made.play(order)
            played += 1
            click.echo(f"{' '.join(order)}: well after {time.monotonic() - started:.0f} s, {made.callers.done - before} answers")
    callers = made.callers
    wrong = [*callers.failures, *(lost.why for lost in callers.unexplained())]
    click.echo(f"{played} of {len(wanted)} orders, {callers.done} whole answers, {len(callers.lost)} connections lost with a router")
    for line in wrong:
        click.echo(f"FAILED {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
