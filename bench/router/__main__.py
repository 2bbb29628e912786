"""`python -m bench.router`: our router beside its peers, a table, and exit code 1 where a bar is missed.

    --quick      one short round of the three that are compared, without curve and growth: under 90 s, a hint rather than a result
    --only NAME  rounds of these rows and nothing else, as often as it is given: how two of ours differ
    --rounds N   interleaved rounds of JSON requests (streams: three of them at most); a bar needs five
    --save       also write bench/router/results/<date>.json

Our router is measured as a wheel has it, compiled, like its peers; `warmfleet-python` is the same without the compiler.
The parts of a run: memory of fresh proxies, rounds, the curve over open streams, growth with replicas and sessions.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from bench.router import load, measure, peers, proxies, report, results
from bench.router.errors import BenchError
from bench.router.load import Load
from bench.router.proxies import Proxy
from bench.router.results import OURS, Reading
from bench.router.stage import Stage, get, stage, started
from fleet.errors import WarmfleetError
from fleet.local.processes import Process, wait_until
from fleet.names import Names
from tools import native

_RESULTS = Path(__file__).with_name("results")
_LOCAL = "warmfleet-no-redis"
_PYTHON = "warmfleet-python"
_VARIANTS = (_LOCAL, _PYTHON, results.LIMITED, results.TRACED)
_SUBJECTS = ((load.JSON, results.JSON, results.JSON_PER_S), (load.STREAM, results.STREAM, results.STREAMS_PER_S))
_CONSOLE = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Length:
    """How long a run takes. Seconds of one measurement; `is_whole`: with orientation, curve and growth; `only`: these proxies; empty: all.

    Streams have fewer rounds: their ratio moves less from one to the next.
    """

    rounds: int
    stream_rounds: int
    seconds: float
    is_whole: bool
    only: tuple[str, ...] = ()

    def has(self, proxy: Proxy) -> bool:
        return not self.only or proxy.name in self.only


@click.command(help="CPU and memory of our router beside Envoy and vllm-router. Exit code 1: a bar is missed; 2: nothing was measured.")
@click.option("--quick", is_flag=True, help="one short round, under 90 s: a hint, not a result")
@click.option("--rounds", default=0, help="interleaved rounds (default: 7, quick: 1); streams: the first 3 of them")
@click.option("--seconds", default=0.0, help="of one measurement (default: 4, quick: 3)")
@click.option("--only", multiple=True, metavar="NAME", help="rounds of this row, and of others that are named so, and nothing else")
@click.option("--with-litellm", is_flag=True, help="install LiteLLM too, and show it for orientation")
@click.option("--save", is_flag=True, help="write bench/router/results/<date>.json")
def main(*, quick: bool, rounds: int, seconds: float, only: tuple[str, ...], with_litellm: bool, save: bool) -> None:
    rounds = rounds or (1 if quick else 7)
    length = Length(rounds, min(rounds, 3), seconds or (3.0 if quick else 4.0), not quick and not only, only)
    loaded = os.getloadavg()[0]
    native.up_to_date()
    try:
        readings, names, rivals = run(length, with_litellm=with_litellm)
    except WarmfleetError as error:
        sys.stderr.write(f"bench: {error}\n")
        sys.exit(2)
    held = results.verdicts(readings, rivals)
    show(readings, names, rivals, held, loaded)
    if save:
        _save(report.document(readings, held, at=_now(), versions=peers.versions(), load=loaded))
    sys.exit(0 if all(verdict.is_met for verdict in held) else 1)


def run(length: Length, *, with_litellm: bool) -> tuple[list[Reading], list[str], list[str]]:
    """(readings, names of all proxies, names of the peers). Raises: WarmfleetError"""
    with stage() as on:
        on.register(Names(OURS).model_service, len(on.upstreams))
        cast = [proxy for proxy in _cast(on, length, with_litellm=with_litellm) if length.has(proxy)]
        compared = [proxy for proxy in cast if proxy.role != "orientation" and proxy.name not in _VARIANTS]
        readings = [reading for proxy in compared if not length.only for reading in _memory(on, proxy)]
        readings += _rounds(on, cast, length)
        if length.is_whole:
            readings += _curve(on, compared, length)
            readings += _growth(on, length)
    return readings, [proxy.name for proxy in cast], [proxy.name for proxy in cast if proxy.role == "peer"]


def _cast(on: Stage, length: Length, *, with_litellm: bool) -> Iterator[Proxy]:
    programs = peers.environment()
    yield proxies.ours(on.port(), on.folder, on.backing())
    yield proxies.envoy(programs, on.port(), on.folder, on.upstreams)
    yield proxies.vllm_router(programs, on.port(), on.port(), on.upstreams)
    yield proxies.ours(on.port(), on.folder, on.backing(redis=False), name=_LOCAL)
    yield proxies.ours(on.port(), on.folder, on.backing(), name=_PYTHON, compiled=False)
    yield proxies.ours(on.port(), on.folder, on.backing(), name=results.LIMITED, described=proxies.limited(OURS, on.backing()))
    yield proxies.traced(on.port(), on.folder, on.backing(), on.upstreams[0])
    if not length.is_whole:
        return
    if nginx := peers.nginx():
        yield proxies.nginx(nginx, on.port(), on.folder, on.upstreams)
    else:
        _CONSOLE.print("nginx is not installed, so its row is missing: apt-get install nginx")
    if with_litellm:
        yield proxies.litellm(peers.litellm_environment(), on.port(), on.folder, on.upstreams)


def _memory(on: Stage, proxy: Proxy) -> Iterator[Reading]:
    _say(f"memory: {proxy.name}")
    with started(on, proxy) as process:
        measure.cost(on, proxy, process, Load(connections=4, stream=True), 1)
        yield Reading(proxy.name, results.MEMORY, measure.bytes_per_stream(on, proxy, process, 1000))


def _rounds(on: Stage, cast: Sequence[Proxy], length: Length) -> Iterator[Reading]:
    """All proxies stay up, and idle while it is another one's turn. What is there for orientation takes part in the first round."""
    with ExitStack() as stack:
        up = [(proxy, stack.enter_context(started(on, proxy))) for proxy in cast]
        for number in range(length.rounds):
            for proxy, process in up:
                if number == 0 or proxy.role != "orientation":
                    _say(f"round {number + 1} of {length.rounds}: {proxy.name}")
                    yield from _round(on, proxy, process, length, streams=number < length.stream_rounds)


def _round(on: Stage, proxy: Proxy, process: Process, length: Length, *, streams: bool) -> Iterator[Reading]:
    for wanted, subject, rate in _SUBJECTS if streams else _SUBJECTS[:1]:
        cost = measure.cost(on, proxy, process, wanted, length.seconds)
        yield Reading(proxy.name, subject, cost.cpu_us)
        yield Reading(proxy.name, rate, cost.per_s)


def _curve(on: Stage, cast: Sequence[Proxy], length: Length) -> Iterator[Reading]:
    """Events come more slowly in more streams, so that the machine is not what is measured."""
    for proxy in cast:
        _say(f"curve: {proxy.name}")
        with started(on, proxy) as process:
            for streams in results.CURVE:
                wanted = Load(streams, stream=True, gap_ms=max(5, streams // 20))
                yield Reading(proxy.name, results.curve(streams), measure.cost(on, proxy, process, wanted, length.seconds).cpu_us)


def _growth(on: Stage, length: Length) -> Iterator[Reading]:
    """A router for each number of replicas, one with many sessions, and Envoy for each number: all up, and in turn in each round."""
    with ExitStack() as stack:
        up = [(subject, proxy, stack.enter_context(started(on, proxy)), load.JSON) for subject, proxy in _growing(on)]
        for count, (_, proxy, _, _) in zip(results.REPLICAS, up, strict=False):
            _await_endpoints(proxy, count)
        up.append(_with_sessions(on, stack))
        for number in range(length.stream_rounds):
            for subject, proxy, process, wanted in up:
                _say(f"growth, round {number + 1} of {length.stream_rounds}: {proxy.name}, {subject}")
                name = proxy.name if proxy.role == "peer" else OURS
                yield Reading(name, subject, measure.cost(on, proxy, process, wanted, length.seconds).cpu_us)


def _growing(on: Stage) -> Iterator[tuple[str, Proxy]]:
    """Ours first, in the order of results.REPLICAS."""
    for count in results.REPLICAS:
        yield results.replicas(count), _of_fleet(on, f"bench-{count}", count)
    for count in results.REPLICAS:
        yield (
            results.replicas(count),
            proxies.envoy(peers.environment(), on.port(), on.folder, [on.upstreams[n % len(on.upstreams)] for n in range(count)]),
        )


def _of_fleet(on: Stage, fleet: str, replicas: int) -> Proxy:
    backing = on.backing(redis=False)
    on.register(Names(fleet).model_service, replicas)
    described = proxies.fleet(fleet, backing, max_sessions=results.MANY_SESSIONS * 2)
    return proxies.ours(on.port(), on.folder, backing, name=fleet, described=described)


def _with_sessions(on: Stage, stack: ExitStack) -> tuple[str, Proxy, Process, Load]:
    """Every one of the sessions has had a turn before the measurements, in which they all take turns."""
    proxy = _of_fleet(on, "bench-sessions", results.REPLICAS[0])
    process = stack.enter_context(started(on, proxy))
    _await_endpoints(proxy, results.REPLICAS[0])
    _say(f"growth: starting {results.MANY_SESSIONS:,} sessions")
    wanted = Load(load.JSON.connections, stream=False, sessions=results.MANY_SESSIONS)
    first = on.counts().answers
    with load.running(wanted, proxy.port, 90, on.folder):
        if not wait_until(lambda: on.counts().answers - first > results.MANY_SESSIONS, 90):
            raise BenchError(f"{proxy.name} is too slow on this machine to start {results.MANY_SESSIONS:,} sessions")
    return results.SESSIONS, proxy, process, wanted


def _await_endpoints(proxy: Proxy, replicas: int) -> None:
    wanted = f'endpoints{{model="bench"}} {replicas}\n'.encode()
    if not wait_until(lambda: wanted in get(proxy.port, "/metrics"), 30):
        raise BenchError(f"{proxy.name} does not see {replicas} replicas")


def show(readings: Sequence[Reading], names: Sequence[str], rivals: Sequence[str], held: Sequence[results.Verdict], loaded: float) -> None:
    out = Console(highlight=False, width=170)
    out.print(report.main_table(readings, names, rivals))
    if any(reading.subject == results.curve(1) for reading in readings):
        out.print(report.curve_table(readings, names))
        out.print(report.growth_table(readings))
    cores = os.cpu_count() or 1
    out.print(f"{cores} cores, load {loaded:.1f} before the run{': busy, repeat when it is quiet' if loaded > cores / 2 else ''}")
    for verdict in held:
        out.print(str(verdict), markup=False)


def _say(text: str) -> None:
    _CONSOLE.print(text, style="dim")


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _save(text: str) -> None:
    _RESULTS.mkdir(exist_ok=True)
    path = _RESULTS / f"{time.strftime('%Y-%m-%d')}.json"
    path.write_text(text)
    _CONSOLE.print(f"saved as {path.relative_to(_RESULTS.parents[2])}")


if __name__ == "__main__":
    main()
