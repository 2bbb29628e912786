"""`python -m tests.journeys.chaos`: kill -9 of every part of a running fleet, in every order, while clients stream.

Parts: the engines (all at once; in CI those of small-model), the router, Redis, Consul, and the Nomad agents (server and client).
One walk without a pause: each part is killed as soon as callers have got answers again, recovered or not; what a real init system
starts again is started again here. Every order of the five is five kills of the walk in a row (tests.journeys.chaos_walk).
Law: what tests.journeys.chaos_callers calls a failure is one. Exit code 1: there was one, or something never came back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import click

from fleet.errors import StackError
from fleet.local import agents
from fleet.local.processes import is_alive
from tests.journeys.chaos_callers import ASKS, Callers, Outage
from tests.journeys.chaos_recovery import Recoveries, is_back, is_well
from tests.journeys.chaos_walk import PARTS, go_on_at, orders_in, walk
from tests.journeys.durable import Durable, durable
from tests.journeys.fleet import Fleet, until

VARIABLES = (
    "model.small-model.replicas.min=2",
    "model.small-model.replicas.max=2",
    "model.large-model.replicas.max=1",
    "model.small-model.slo.first_token_timeout=90s",  # on a machine that CI shares, the way back of an engine takes its time
    "model.large-model.slo.first_token_timeout=90s",
    "route.chat.hold=90s",
    "route.fast.hold=90s",
)
_AGENTS = {"consul": ("consul",), "nomad": ("nomad-client", "nomad-server")}
_INIT_S = 1.0  # after which an init system starts an agent again
_ANSWERS = 3  # that callers get after a kill, before the next one
_PATIENCE_S = 180.0
_LOG_LINES = 30


@dataclass
class Chaos:
    fleet: Fleet
    agents: Durable
    callers: Callers
    recoveries: Recoveries
    engines_of: str = ""
    """The model whose engines are killed; empty: those of all models."""
    killed: list[str] = field(default_factory=list)

    async def strike(self, part: str) -> float:
        """Kills a part; the seconds until callers have got answers again."""
        began = time.monotonic()
        await self._kill(part)
        self.killed.append(part)
        wanted = self.callers.done + _ANSWERS
        await until(partial(self.callers.have, wanted), f"answers after the kill of {part}", patience_s=_PATIENCE_S)
        return time.monotonic() - began

    async def all_well(self) -> None:
        await until(partial(is_well, self.fleet, self.agents), "all is well after the last kill", patience_s=_PATIENCE_S)

    def story(self) -> str:
        """What is to be known where a caller was failed: the last kills, and the end of the router's log."""
        logs = sorted(self.fleet.state.rglob("router.stderr.*"), key=lambda path: path.stat().st_mtime)
        tail = agents.log_tail(logs[-1], _LOG_LINES) if logs else ""
        return f"  after the kills of {' '.join(self.killed[-6:])}; the end of the router's log:\n{tail}"

    async def _kill(self, part: str) -> None:
        await until(partial(self._runs, part), f"{part} runs", patience_s=_PATIENCE_S)
        if part == "router":
            self.callers.outages.append(Outage(time.monotonic()))
        self.recoveries.killed(part, time.monotonic())
        for name in _AGENTS.get(part, ()):
            self.agents.kill(name)
        for pid in self._pids(part):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _runs(self, part: str) -> bool:
        return all(map(self._lives, _AGENTS[part])) if part in _AGENTS else bool(self._pids(part))

    def _lives(self, agent: str) -> bool:
        return is_alive(self.agents.agents[agent].process)

    def _pids(self, part: str) -> tuple[int, ...]:
        if part == "redis":
            with suppress(ValueError):  # it is just being started again
                return (self.fleet.redis_pid(),)
        if part == "router":
            return self.fleet.pids(b"router")
        return self.fleet.engine_pids(self.engines_of) if part == "engines" else ()


@asynccontextmanager
async def chaos(fleet: Fleet, own: Durable, *, engines_of: str = "") -> AsyncIterator[Chaos]:
    """A durable fleet with callers, and an init system; callers end when the block does."""
    made = Chaos(fleet, own, Callers(fleet.router, _PATIENCE_S), Recoveries(partial(is_back, fleet, own)), engines_of)
    made.callers.around = made.story
    beside = [_router(made), made.recoveries.watch_forever(), *(_init(own, name) for name in own.agents)]
    watching = [asyncio.create_task(one) for one in beside]
    try:
        async with made.callers.calling():
            await until(partial(made.callers.have, len(ASKS)), "callers are answered", patience_s=_PATIENCE_S)
            yield made
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _init(own: Durable, name: str) -> None:
    """Starts a killed agent again, also one that is killed while it starts."""
    while True:
        if not is_alive(own.agents[name].process):
            await asyncio.sleep(_INIT_S)
            with suppress(StackError):
                await asyncio.to_thread(own.start_again, name)
        await asyncio.sleep(0.1)


async def _router(made: Chaos) -> None:
    """Notes when a killed router answers again."""
    while True:
        for outage in made.callers.outages:
            if outage.ended == float("inf") and await asyncio.to_thread(made.fleet.router_answers):
                outage.ended = time.monotonic()
        await asyncio.sleep(0.1)


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=90.0, show_default=True, help="no new kill after these")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="which part has which place in the walk")
@click.option("--start-at", type=click.IntRange(min=1), default=1, show_default=True, help="the kill with which to begin")
def main(minutes: float, seed: int, start_at: int) -> None:
    """Kill -9 of every part in every order while clients stream."""
    row = walk(PARTS, seed)
    if start_at > len(row):
        raise click.BadParameter(f"the walk has {len(row)} kills", param_hint="--start-at")
    with durable(VARIABLES) as (fleet, own):
        code = asyncio.run(_walk(fleet, own, 60 * minutes, row, start_at))
    sys.exit(code)


async def _walk(fleet: Fleet, own: Durable, bound_s: float, row: Sequence[str], start_at: int) -> int:
    begun, broken = time.monotonic(), ""
    async with chaos(fleet, own) as made:
        try:
            for number, part in enumerate(row[start_at - 1 :], start_at):
                if time.monotonic() - begun > bound_s:
                    break
                answered_s = await made.strike(part)
                covered = len(orders_in(made.killed, len(PARTS)))
                state = f"{covered} orders, {made.callers.done} answers, {len(made.callers.failures)} failures"
                click.echo(f"kill {number} of {len(row)}: {part}, answers after {answered_s:.1f} s; so far {state}")
            await made.all_well()
        except AssertionError as error:  # of `until`
            broken = f"{error}\n{made.story()}"
    return told(made, broken, row, start_at)


def told(made: Chaos, broken: str, row: Sequence[str], start_at: int) -> int:
    """The end of the output, and the exit code."""
    callers, kills = made.callers, len(made.killed)
    for order in orders_in(made.killed, len(PARTS)):
        click.echo(f"covered: {' '.join(order)}")
    for part, slowest_s in made.recoveries.slowest.items():
        click.echo(
            f"{part}: killed {made.killed.count(part)} times, seen back {made.recoveries.seen[part]} times, slowest {slowest_s:.1f} s"
        )
    covered = len(orders_in(made.killed, len(PARTS)))
    click.echo(f"{kills} kills, {covered} orders, {callers.done} whole answers, {len(callers.lost)} connections lost with a router")
    if start_at + kills <= len(row):
        click.echo(f"go on with --start-at {go_on_at(start_at, kills, len(PARTS))}")
    wrong = [
        *callers.failures,
        *(f"lost while a router was up: {lost.why}" for lost in callers.unexplained()),
        *([broken] if broken else []),
    ]
    for line in wrong:
        click.echo(f"FAILED {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
