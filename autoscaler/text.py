"""Prometheus text -> the few numbers that the autoscaler uses.

Names of the routers' metrics come from fleet/metrics.py; names of the engines' are theirs and stand here
(vLLM 0.32 and llama.cpp as recorded in tests/recordings). Lines that nobody wants are dropped before they are parsed: a vLLM
answer has 600 lines, of which a handful matters. What cannot be (no number, negative, the same series twice) is refused with the
whole answer: a program that says such a thing is not to be believed in the rest. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from autoscaler.errors import MalformedMetrics
from autoscaler.history import ANY, Key
from fleet.metrics import ARRIVALS, HELD, IN_FLIGHT, INPUT_TOKENS, LATENCY, LOG_BYTES, OUTPUT_TOKENS, SESSION_STARTS, TTFT

ARRIVED = ARRIVALS.prometheus
FLYING = IN_FLIGHT.prometheus
WAITING = HELD.prometheus
LATENCY_SUM = LATENCY.prometheus + "_sum"
LATENCY_COUNT = LATENCY.prometheus + "_count"
TTFT_SUM = TTFT.prometheus + "_sum"
TTFT_COUNT = TTFT.prometheus + "_count"
TOKENS_IN = INPUT_TOKENS.prometheus
TOKENS_OUT = OUTPUT_TOKENS.prometheus
STARTED = SESSION_STARTS.prometheus
LOGGED = LOG_BYTES.prometheus

ENGINE_LOAD = "engine_load"
"""Requests that an engine runs or queues."""
ENGINE_RUNNING = "engine_running"
ENGINE_QUEUE = "engine_queue"
"""Requests that wait because the engine is full."""
ENGINE_KV = "engine_kv"
ENGINE_QUEUED_S = "engine_queued_s"
ENGINE_BEGUN = "engine_begun"
"""Requests that left the engine's queue; ENGINE_QUEUED_S are the seconds that they were in it."""

_ROUTER = frozenset({ARRIVED, FLYING, WAITING, LATENCY_SUM, LATENCY_COUNT, TTFT_SUM, TTFT_COUNT, TOKENS_IN, TOKENS_OUT, STARTED, LOGGED})
_ROUTER_PREFIX = "warmfleet_router_"


@dataclass(frozen=True, slots=True)
class _Engine:
    """`running` and `waiting` must be there; of the others those that the engine has, in order of preference."""

    running: str
    waiting: str
    queue: Sequence[str]
    kv: Sequence[str] = ()
    queued_s: str = ""
    begun: str = ""

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.running, self.waiting, *self.queue, *self.kv, self.queued_s, self.begun} - {""})


_ENGINES: Mapping[str, _Engine] = {
    "vllm": _Engine(
        running="vllm:num_requests_running",
        waiting="vllm:num_requests_waiting",
        queue=("vllm:num_requests_waiting_by_reason", "vllm:num_requests_waiting"),
        kv=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        queued_s="vllm:request_queue_time_seconds_sum",
        begun="vllm:request_queue_time_seconds_count",
    ),
    "llamacpp": _Engine(
        running="llamacpp:requests_processing", waiting="llamacpp:requests_deferred", queue=("llamacpp:requests_deferred",)
    ),
}
_FULL = "capacity"  # vLLM's other reason, deferred, is ordinary under chunked prefill


def router_values(text: str) -> Mapping[Key, float]:
    """Sums per metric and model. Under the model "" stands what is no sum: that the router has the metric, of whatever model.

    Raises:
        MalformedMetrics: not Prometheus text, or not a router's: the port belongs to something else.
    """
    if _ROUTER_PREFIX not in text:
        raise MalformedMetrics(f"its answer has no {_ROUTER_PREFIX}* metric, so it is no router: see who listens on its port")
    values: dict[Key, float] = {}
    for sample in _samples(text, _ROUTER):
        key = (sample.name, sample.labels.get("model", ""))
        values[key] = values.get(key, 0.0) + sample.value
        values.setdefault((sample.name, ANY), 0.0)
    return values


def engine_values(text: str, engine: str, model: str) -> Mapping[Key, float]:
    """What an engine says of its load, under (ENGINE_*, model); KV cache and queue time where it tells them.

    Raises:
        MalformedMetrics: not Prometheus text, or the engine's gauges are missing.
    """
    names = _ENGINES[engine]
    told: dict[str, list[float]] = {}
    for sample in _samples(text, names.names):
        if sample.labels.get("reason", _FULL) == _FULL:
            told.setdefault(sample.name, []).append(sample.value)
    if missing := [name for name in (names.running, names.waiting) if name not in told]:
        raise MalformedMetrics(f"its answer lacks {missing[0]}: start {engine} with its metrics on")
    running, waiting = sum(told[names.running]), sum(told[names.waiting])
    found = {ENGINE_LOAD: running + waiting, ENGINE_RUNNING: running, ENGINE_QUEUE: sum(_first(told, names.queue))}
    if shares := _first(told, names.kv):
        found[ENGINE_KV] = sum(shares) / len(shares)
    if names.queued_s in told and names.begun in told:
        found |= {ENGINE_QUEUED_S: sum(told[names.queued_s]), ENGINE_BEGUN: sum(told[names.begun])}
    return {(name, model): value for name, value in found.items()}


def _first(told: Mapping[str, list[float]], names: Sequence[str]) -> list[float]:
    return next((told[name] for name in names if name in told), [])


def _samples(text: str, names: frozenset[str]) -> Iterator[Sample]:
    lines = [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] in names]
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for sample in _parsed("\n".join(lines) + "\n"):
        if not math.isfinite(sample.value) or sample.value < 0:
            raise MalformedMetrics(f"its {sample.name} is {sample.value:g}, which cannot be")
        series = (sample.name, frozenset(sample.labels.items()))
        if series in seen:
            raise MalformedMetrics(f"its answer has the series {sample.name} twice")
        seen.add(series)
        yield sample


def _parsed(text: str) -> Iterator[Sample]:
    try:
        for family in text_string_to_metric_families(text):
            yield from family.samples
    except ValueError as error:
        raise MalformedMetrics(f"its answer is not Prometheus text: {error}") from error
