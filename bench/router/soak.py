"""`python -m bench.router.soak`: minutes of traffic through a real router while its replicas come, go and break.

Law: some healthy replicas are registered at every moment, and never more than two broken ones; so every request can be answered
whole, and one that is not is a failure of the router. Exit code 1: a failure, memory that grew by more than 10 % after
the warm-up, requests or connections that are left over at the end, or a traceback in the router's log.
`--faults before` leaves out what strikes after the first content, which only a router that resumes streams survives.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import click

from bench.router import catalog, meter, proxies, soak_engine
from bench.router.soak_caller import PATIENCE_S, Caller, Tally
from bench.router.soak_engine import Engine, Fault
from bench.router.stage import Stage, get, stage, started
from fleet.errors import WarmfleetError
from fleet.local.processes import wait_until
from fleet.names import Names
from tools import native

FLEET = "soak"
HEALTHY, BROKEN = 3, 2
GROWTH = 1.10
_STREAMS, _JSONS = 32, 8
_STEP_S, _SAMPLE_S = 1.0, 1.0
_LEAVE_S = 2.0  # between leaving Consul and the end, as fleet.shutdown_delay
_DRAIN_S = 15.0
_SETTLE_S = 20.0
_CLOCKS = {"ttft": "2s", "first_token_timeout": "2s", "idle_timeout": "2s"}


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the router: resident bytes over time, and what it still holds when everybody has left."""

    rss_bytes: tuple[int, ...]
    connections_left: int
    requests_left: int
    tracebacks: int


def growth(rss_bytes: Sequence[int]) -> float:
    """The last fifth of a run against its second fifth; the first one is warm-up. 1.0 where there is too little to say."""
    fifth = len(rss_bytes) // 5
    if fifth < 1:
        return 1.0
    return statistics.median(rss_bytes[-fifth:]) / statistics.median(rss_bytes[fifth : 2 * fifth])


def problems(tally: Tally, usage: Usage) -> list[str]:
    """Everything that makes a soak fail, in words."""
    total = tally.whole + tally.failures.total()
    found = [f"{count} of {total} requests failed: {kind}" for kind, count in tally.failures.most_common()]
    if not tally.whole:
        found.append("no request was answered")
    if (grown := growth(usage.rss_bytes)) > GROWTH:
        found.append(f"memory grew to {grown:.2f} x after the warm-up")
    if usage.connections_left:
        found.append(f"{usage.connections_left} connections are open although every caller is gone and every engine idle")
    if usage.requests_left:
        found.append(f"{usage.requests_left} requests are in flight although every caller is gone")
    if usage.tracebacks:
        found.append(f"{usage.tracebacks} tracebacks in the router's log")
    return found


@dataclass
class Cast:
    """The replicas of the moment, and their coming and going."""

    consul: str
    faults: Sequence[Fault]
    dice: random.Random
    seen: dict[Fault, int] = field(default_factory=dict)
    _healthy: list[Engine] = field(default_factory=list)
    _broken: list[Engine] = field(default_factory=list)
    _going: set[asyncio.Task[None]] = field(default_factory=set)
    _count: int = 0

    async def open(self) -> None:
        for _ in range(HEALTHY):
            self._healthy.append(await self._come(Fault.NONE))

    async def step(self) -> None:
        """One change: a broken replica comes or goes, or a healthy one is replaced."""
        what = self.dice.random()
        if what < 0.4 and len(self._broken) < BROKEN:
            self._broken.append(await self._come(self.dice.choice(self.faults)))
        elif what < 0.8 and self._broken:
            await self._go(self._broken.pop(0), at_once=self.dice.random() < 0.5)
        else:
            self._healthy.append(await self._come(Fault.NONE))
            await self._go(self._healthy.pop(0), at_once=False)

    async def leave(self) -> None:
        """All leave Consul: what the router holds open to them is then too much."""
        for engine in (*self._healthy, *self._broken):
            await asyncio.to_thread(catalog.deregister, self.consul, engine.alloc_id)

    async def close(self) -> None:
        await asyncio.gather(*self._going, *(engine.stop() for engine in (*self._healthy, *self._broken)))

    async def _come(self, fault: Fault) -> Engine:
        self._count += 1
        self.seen[fault] = self.seen.get(fault, 0) + 1
        share = self.dice.choice((1.0, 0.3))
        engine = Engine(f"soak-{self._count}", fault, lambda: self.dice.random() < share)
        await engine.start()
        described = catalog.Registered(engine.alloc_id, engine.port)
        await asyncio.to_thread(catalog.register, self.consul, Names(FLEET).model_service, described)
        return engine

    async def _go(self, engine: Engine, *, at_once: bool) -> None:
        """`at_once`: Consul learns of it when it is dead already, which only a broken one does to those whose turn it has."""
        if at_once and engine.fault in soak_engine.BEFORE_CONTENT and not engine.busy:
            await engine.stop()
        await asyncio.to_thread(catalog.deregister, self.consul, engine.alloc_id)
        task = asyncio.create_task(_leave(engine))
        self._going.add(task)
        task.add_done_callback(self._going.discard)


async def _leave(engine: Engine) -> None:
    await asyncio.sleep(_LEAVE_S)
    await engine.drain(_DRAIN_S)


@asynccontextmanager
async def _calling(url: str, tally: Tally, dice: random.Random) -> AsyncIterator[None]:
    """Callers at work, who finish what they have begun at the end."""
    stop = asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        callers = [Caller(http, url, tally, dice.random) for _ in range(_STREAMS + _JSONS)]
        chats = [asyncio.create_task(caller.chat_until(stop, stream=n < _STREAMS)) for n, caller in enumerate(callers)]
        yield
        stop.set()
        await asyncio.gather(*chats)


async def soak(on: Stage, seconds: float, faults: Sequence[Fault], dice: random.Random) -> tuple[Tally, Usage, Cast]:
    """Raises: WarmfleetError: Consul or the router does not start."""
    proxy = _router(on)
    cast, tally, rss = Cast(on.consul, faults, dice), Tally(), list[int]()
    await cast.open()
    with ExitStack() as stack:
        process = await asyncio.to_thread(stack.enter_context, started(on, proxy))  # it waits for a chat, which is answered on this loop
        async with _calling(f"http://127.0.0.1:{proxy.port}", tally, dice):
            await _direct(cast, seconds, lambda: rss.append(meter.rss_bytes(process.pid)), tally)
        left = await asyncio.to_thread(_requests_left, proxy.port)
        await cast.leave()
        usage = Usage(tuple(rss), await asyncio.to_thread(_connections_left, on, process.pid), left, _tracebacks(on, proxy))
    await cast.close()
    return tally, usage, cast


def _router(on: Stage) -> proxies.Proxy:
    described = proxies.fleet(FLEET, on.backing(), slo=_CLOCKS, connect_timeout="1s", total_timeout="30s")
    return proxies.ours(on.port(), on.folder, on.backing(), name="router", described=described)


async def _direct(cast: Cast, seconds: float, sample: Callable[[], None], tally: Tally) -> None:
    end = time.monotonic() + seconds
    minute = 0
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(_STEP_S, left))
        await cast.step()
        sample()
        if int((seconds - left) // 60) > minute:
            minute += 1
            sys.stderr.write(f"minute {minute}: {tally.whole} whole, {tally.failures.total()} failed\n")


def _requests_left(port: int) -> int:
    """In flight as /metrics says, once that is 0 or does not become so."""

    def in_flight() -> int:
        rows = [row for row in get(port, "/metrics").decode().splitlines() if row.startswith("warmfleet_router_in_flight{")]
        return sum(int(float(row.rpartition(" ")[2])) for row in rows)

    wait_until(lambda: in_flight() == 0, _SETTLE_S)
    return in_flight()


def _connections_left(on: Stage, pid: int) -> int:
    """Callers' and engines', once they are closed or are not: those of engines are closed when these have left Consul."""
    servers = (on.ground.ports.redis, on.ground.ports.consul_http)
    wait_until(lambda: meter.connections(pid, besides=servers) == 0, _SETTLE_S)
    return meter.connections(pid, besides=servers)


def _tracebacks(on: Stage, proxy: proxies.Proxy) -> int:
    return (on.folder / f"{proxy.name}.log").read_text(errors="replace").count("Traceback (most recent call last)")


@click.command(help="Traffic through a router whose replicas come, go and break. Exit code 1: something that should not have happened.")
@click.option("--minutes", default=10.0, help="length of the run")
@click.option("--faults", type=click.Choice(["all", "before", "none"]), default="all", help="which: all, only before content, none")
@click.option("--seed", default=0, help="of the dice, for the same order of changes (0: any)")
def main(minutes: float, faults: str, seed: int) -> None:
    chosen = {"all": soak_engine.BEFORE_CONTENT + soak_engine.AFTER_CONTENT, "before": soak_engine.BEFORE_CONTENT, "none": (Fault.NONE,)}
    seed = seed or random.SystemRandom().randrange(1, 10**6)
    sys.stderr.write(f"{minutes:g} minutes with faults: {faults}; seed {seed}\n")
    try:
        native.up_to_date()
        with stage(upstreams=0) as on:
            tally, usage, cast = asyncio.run(soak(on, minutes * 60, chosen[faults], random.Random(seed)))
            _show(tally, usage, cast)
            sys.exit(_verdict(on, problems(tally, usage)))
    except WarmfleetError as error:
        sys.stderr.write(f"soak: {error}\n")
        sys.exit(2)


def _show(tally: Tally, usage: Usage, cast: Cast) -> None:
    print(f"{tally.whole} whole answers, {tally.left} left by their callers, {tally.failures.total()} failures")
    print("replicas: " + "; ".join(f"{count} x {fault.value}" for fault, count in sorted(cast.seen.items(), key=lambda kv: -kv[1])))
    samples = usage.rss_bytes[:: max(1, len(usage.rss_bytes) // 12)]
    print(f"router's memory, MB: {' '.join(f'{rss / 1e6:.1f}' for rss in samples)}; growth after warm-up {growth(usage.rss_bytes):.3f}")
    for kind, examples in tally.examples.items():
        print(f"{kind}, for example:", *examples, sep="\n    ")


def _verdict(on: Stage, found: Sequence[str]) -> int:
    for problem in found:
        print(f"FAILED  {problem}")
    if any("traceback" in problem for problem in found):
        print((on.folder / "router.log").read_text(errors="replace")[-4000:])
    if not found:
        print("nothing failed")
    return 1 if found else 0


if __name__ == "__main__":
    main()
