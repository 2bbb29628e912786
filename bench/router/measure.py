"""One measurement: a load, a steady stretch of it, and what the proxy's process tree used in that stretch.

Law: CPU time and work done are read twice while the load is on, so neither connecting nor ending counts, and a stream that is under
way counts by the events it has had. Work is counted by the upstream, which is the same for every proxy. A measurement in
which a request failed is no measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.router import load, meter
from bench.router.errors import BenchError
from bench.router.load import Load
from bench.router.proxies import Proxy
from bench.router.stage import Stage, pause
from fleet.local.processes import Process, wait_until

WARM_S = 1.0
EVENTS_PER_STREAM = 50
_OPEN_S = 30.0
_SLACK_S = 20.0
_LONG = Load(connections=0, stream=True, events=600, gap_ms=100)


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu_us` per JSON request, or per 50 events of streams; `per_s`: how many of them a second."""

    cpu_us: float
    per_s: float


def cost(on: Stage, proxy: Proxy, process: Process, wanted: Load, seconds: float) -> Cost:
    """Raises: BenchError: requests failed, or none was answered."""
    with load.running(wanted, proxy.port, WARM_S + seconds + 2 * _SLACK_S, on.folder) as running:
        first = on.counts().answers
        pause(WARM_S)
        if not wanted.stream:  # what a first turn costs is another matter, and a busy machine takes longer than a second for all of them
            wait_until(lambda: on.counts().answers - first >= wanted.sessions, _SLACK_S)
        cpu_before, done_before = meter.cpu_s(process.pid), _done(on, wanted)
        pause(seconds)
        cpu_after, done_after = meter.cpu_s(process.pid), _done(on, wanted)
        outcome = running.stop()
    done = done_after - done_before
    if outcome.errors or not done:
        raise BenchError(f"{proxy.name}: {outcome.errors} requests failed, {done:.0f} were answered; it must be healthy to be measured")
    return Cost((cpu_after - cpu_before) / done * 1e6, done / seconds)


def _done(on: Stage, wanted: Load) -> float:
    counts = on.counts()
    return counts.events / EVENTS_PER_STREAM if wanted.stream else counts.answers


def bytes_per_stream(on: Stage, proxy: Proxy, process: Process, streams: int) -> float:
    """Growth of resident memory for each of so many open streams that have had 50 events each, so that what is kept of them counts.

    The proxy should be fresh: memory that an earlier load has left free would hide the growth.

    Raises:
        BenchError: it does not hold so many.
    """
    before, first = meter.rss_bytes(process.pid), on.counts().events
    wanted = Load(streams, stream=True, events=_LONG.events, gap_ms=_LONG.gap_ms)
    with load.running(wanted, proxy.port, 2 * _OPEN_S, on.folder):
        if not wait_until(lambda: on.counts().open >= streams, _OPEN_S):
            raise BenchError(f"{proxy.name} holds {on.counts().open} of {streams} open streams")
        if not wait_until(lambda: on.counts().events - first >= streams * EVENTS_PER_STREAM, _OPEN_S):
            raise BenchError(f"{proxy.name} is too slow on this machine to relay {streams} streams")
        grown = meter.rss_bytes(process.pid) - before
    if not wait_until(lambda: on.counts().open == 0, _OPEN_S):
        raise BenchError(f"{proxy.name} keeps {on.counts().open} streams open whose callers have left")
    return grown / streams
