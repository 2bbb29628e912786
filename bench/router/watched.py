"""`python -m bench.router.watched`: what it costs a router to be watched, as `micro` measures its own Python.

    traces   a request where nobody traces, one that is traced, what the choice costs one that is not, and what all that is for each
             request where one in a hundred is traced
    numbers  one round to DogStatsD of a fleet with many models, against the time between two rounds

Exit code 1: a bar is missed. A traced request may cost several of the others: it is one in a hundred. Beside other work, as in a router,
each step costs two to three times what it costs here, where everything is in the caches: a request as well as its spans.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import socket
import sys
import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import uvloop
from datadog.dogstatsd.base import DogStatsd

from bench.router.micro import Bench, Traffic, json_traffic, least_us, spec, stream_traffic, through_router
from fleet import metrics
from fleet.recorder import Recorder
from fleet.statsd import Flusher
from router import app
from router.records import telling, tracing
from router.records.tracing import DatadogTraces
from router.wire import headers

CHOOSING_SHARE: Final = 0.03
TRACING_SHARE: Final = 0.10
ROUND_SHARE: Final = 0.01
_RATE: Final = 0.01  # datadog.trace_rate, if nobody says otherwise
_REQUESTS: Final = 40
_MODELS: Final = 8
_CHOOSES_NONE: Final = 1e-12


def tracer(rate: float) -> DatadogTraces:
    """ddtrace as it is in production, but for its agent, which is not there."""
    os.environ |= {
        "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    }
    logging.getLogger("ddtrace").setLevel(logging.CRITICAL)
    return tracing.made(telling.library(), tracing.Share(rate, float("inf")), random.random, random.getrandbits)


def undecided(traffic: Traffic) -> Traffic:
    """Of a caller that traces nothing itself, so that it is up to the router."""
    lines = traffic.request.split(b"\r\n")
    return replace(traffic, request=b"\r\n".join(line for line in lines if not line.startswith(b"traceparent:")))


def traced(traffic: Traffic, requests: int) -> tuple[float, float]:
    """Microseconds of a request: without a tracer, and traced."""
    bench = Bench(app.wire(spec()))
    (off,) = least_us([through_router(bench, traffic, requests)], requests)
    bench.plane.traces = traces = tracer(1.0)  # only now: ddtrace sends in a thread, whose time would be counted too
    play = through_router(bench, traffic, requests)

    def told() -> None:
        play()
        while traces.teller.tell_some():
            pass

    (on,) = least_us([told], requests)
    return off, on


def choosing_us() -> float:
    """What it takes to ask a tracer about a request that it does not choose."""
    traces = tracer(_CHOOSES_NONE)
    fields = [line.split(b": ", 1) for line in undecided(json_traffic()).request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    head = headers.read_request([(name, value) for name, value in fields])
    return _least_us(lambda: traces.start(b"/v1/chat/completions", head)) - _least_us(lambda: None)


def _least_us(work: Callable[[], object]) -> float:
    """In runs that are short enough to be left alone now and then."""
    return min(timeit.repeat(work, timer=time.thread_time, number=300, repeat=400)) / 300 * 1e6


def full(models: int) -> Recorder:
    """A recorder with something under every metric, for so many models, and latencies spread over many buckets."""
    recorder = Recorder()
    for metric in metrics.ALL:
        for n in range(models if "model" in metric.tags else 1):
            tags = tuple(f"model-{n}" if tag == "model" else "x" for tag in metric.tags)
            if metric.kind == "count":
                recorder.count(metric, *tags, by=7)
            elif metric.kind == "gauge":
                recorder.gauge(metric, *tags, value=n)
            else:
                for each in range(60):
                    recorder.observe(metric, *tags, seconds=0.001 * 1.1**each)
    return recorder


def round_ms(models: int) -> float:
    """CPU time of the first round, in which everything is new; the least of several."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        host, port = agent.getsockname()
        client = DogStatsd(host=host, port=port, disable_telemetry=True, disable_buffering=False, disable_aggregation=True)
        least = float("inf")
        for _ in range(10):
            flusher = Flusher(client, full(models))
            began = time.process_time_ns()
            flusher.flush()
            least = min(least, (time.process_time_ns() - began) / 1e6)
        return least


def say(is_met: bool, line: str) -> bool:
    sys.stdout.write(f"{line}: {'met' if is_met else 'MISSED'}\n")
    return is_met


async def run() -> int:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # as the router's own entry does
    is_met, choosing = True, choosing_us()
    for name, traffic, requests in (("stream of 50", stream_traffic(), 8), ("JSON request", json_traffic(), _REQUESTS)):
        off, on = traced(undecided(traffic), requests)
        line = f"{name}: {off:.1f} us untraced, {on:.1f} us traced, {choosing:.2f} us ({choosing / off:.1%}) where it is not chosen"
        is_met &= say(choosing / off <= CHOOSING_SHARE, f"{line}; bar {CHOOSING_SHARE:.0%} for the last")
        added = choosing + (on - off) * _RATE
        line = f"{name}: {added:.2f} us more, {added / off:.1%}, where one in {1 / _RATE:.0f} is traced"
        is_met &= say(added / off <= TRACING_SHARE, f"{line}; bar {TRACING_SHARE:.0%}")
    least = round_ms(_MODELS)
    share = least / 1000 / app.FLUSH_S
    is_met &= say(share <= ROUND_SHARE, f"a round of {_MODELS} models: {least:.1f} ms, {share:.2%} of a core; bar {ROUND_SHARE:.0%}")
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(uvloop.run(run()))
