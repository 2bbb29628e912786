"""Prometheus text -> the few numbers that the autoscaler uses.

Names of the routers' metrics come from fleet/metrics.py; names of the engines' are theirs and stand here
(vLLM 0.32 and llama.cpp as recorded in tests/recordings). Lines that nobody wants are dropped before they are parsed: a vLLM
answer has 600 lines, of which two matter. Pure; does not judge the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from autoscaler.errors import MalformedMetrics
from autoscaler.history import Key
from fleet.metrics import ARRIVALS, HELD, IN_FLIGHT, LATENCY

ARRIVED = ARRIVALS.prometheus
FLYING = IN_FLIGHT.prometheus
WAITING = HELD.prometheus
LATENCY_SUM = LATENCY.prometheus + "_sum"
LATENCY_COUNT = LATENCY.prometheus + "_count"
ENGINE_LOAD = "engine_load"
"""Requests that an engine runs or queues."""

_ROUTER = frozenset({ARRIVED, FLYING, WAITING, LATENCY_SUM, LATENCY_COUNT})
_ROUTER_PREFIX = "warmfleet_router_"
_ENGINES: Mapping[str, tuple[str, str]] = {
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "llamacpp": ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
}


def router_values(text: str) -> Mapping[Key, float]:
    """Sums per metric and model.

    Raises:
        MalformedMetrics: not Prometheus text, or not a router's: the port belongs to something else.
    """
    if _ROUTER_PREFIX not in text:
        raise MalformedMetrics(f"its answer has no {_ROUTER_PREFIX}* metric, so it is no router: see who listens on its port")
    values: dict[Key, float] = {}
    for sample in _samples(text, _ROUTER):
        key = (sample.name, sample.labels.get("model", ""))
        values[key] = values.get(key, 0.0) + sample.value
    return values


def engine_values(text: str, engine: str, model: str) -> Mapping[Key, float]:
    """Running and queued requests of an engine as one number, under (ENGINE_LOAD, model).

    Raises:
        MalformedMetrics: not Prometheus text, or the engine's gauges are missing.
    """
    names = _ENGINES[engine]
    samples = list(_samples(text, frozenset(names)))
    if missing := [name for name in names if name not in {sample.name for sample in samples}]:
        raise MalformedMetrics(f"its answer lacks {missing[0]}: start {engine} with its metrics on")
    return {(ENGINE_LOAD, model): sum(sample.value for sample in samples)}


def _samples(text: str, names: frozenset[str]) -> Iterator[Sample]:
    lines = [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] in names]
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            yield from (sample for sample in family.samples if math.isfinite(sample.value))
    except ValueError as error:
        raise MalformedMetrics(f"its answer is not Prometheus text: {error}") from error
