"""What is asked of Datadog, as data: names of metrics, scopes and tags.

Our own names come from fleet/metrics.py; `vllm.` names are those of Datadog's vLLM check, which our engines' labels switch on and
which carries the service of the model's job; `dcgm.` those of its GPU check. Scopes rest on the tags that our jobs set (service,
env). Pure; says nothing about the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from autoscaler.datadog.question import Kind, Query
from fleet.metrics import ARRIVALS, HELD, IN_FLIGHT, INPUT_TOKENS, LATENCY, LOG_BYTES, OUTPUT_TOKENS, SESSION_STARTS, Metric
from fleet.model import Spec
from fleet.names import Names

LATENCY_SUM: Final = "latency_sum"
LATENCY_COUNT: Final = "latency_count"
QUEUED: Final = "queued"
KV_USE: Final = "kv_use"
KV_USE_OLD: Final = "kv_use_old"
QUEUE_SUM: Final = "queue_sum"
QUEUE_COUNT: Final = "queue_count"
GPU_USE: Final = "gpu_use"
LOGS_INGESTED: Final = "logs_ingested"
LOG_LINES: Final = "log_lines"

_OURS: Sequence[tuple[Metric, Kind, float]] = (
    (ARRIVALS, "count", 100),
    (IN_FLIGHT, "level", 100),
    (HELD, "level", 100),
    (INPUT_TOKENS, "count", 1e5),
    (OUTPUT_TOKENS, "count", 1e5),
    (SESSION_STARTS, "count", 100),
    (LOG_BYTES, "count", 1e6),
)
_VLLM: Sequence[Query] = (
    # All that wait, those that vLLM defers too: the check does not tell them apart as a scrape does.
    Query(QUEUED, "level", "vllm.num_requests.waiting", "", "service", usual=100),
    Query(KV_USE, "level", "vllm.kv_cache_usage_perc", "", "service", space="avg", most=1),
    Query(KV_USE_OLD, "level", "vllm.gpu_cache_usage_perc", "", "service", space="avg", most=1),  # former name; the check may still use it
    Query(QUEUE_SUM, "count", "vllm.request.queue_time.seconds.sum", "", "service", usual=100),
    Query(QUEUE_COUNT, "count", "vllm.request.queue_time.seconds.count", "", "service", usual=100),
)
_LATENCIES: Sequence[tuple[str, Kind]] = ((LATENCY_SUM, "distribution_sum"), (LATENCY_COUNT, "distribution_count"))


def named(metric: Metric) -> str:
    """The name of the query for one of our own metrics: `warmfleet.router.in_flight` -> `in_flight`."""
    return metric.name.rpartition(".")[2]


def queries_for(spec: Spec) -> tuple[Query, ...]:
    """The queries of one batch, for all models of the fleet."""
    return (*_routers(spec), *_engines(spec), *_gpus(spec), *_logs(spec))


def _routers(spec: Spec) -> Iterator[Query]:
    scope = f"service:{Names(spec.fleet.name).router_service},env:{spec.datadog.env}"
    for metric, kind, usual in _OURS:
        yield Query(named(metric), kind, metric.name, scope, "model", usual=usual)
    for name, kind in _LATENCIES:
        yield Query(name, kind, LATENCY.name, scope, "model", usual=100)


def _engines(spec: Spec) -> Iterator[Query]:
    models = tuple(model.name for model in spec.models if model.engine == "vllm")
    if not models:
        return
    services = ",".join(map(Names(spec.fleet.name).job, models))
    for engine in _VLLM:
        yield replace(engine, scope=f"env:{spec.datadog.env} AND service IN ({services})", prefix=f"{spec.fleet.name}-", models=models)


def _gpus(spec: Spec) -> Iterator[Query]:
    if spec.datadog.gpu_tag:
        yield Query(
            GPU_USE, "level", "dcgm.gpu_utilization", f"env:{spec.datadog.env}", spec.datadog.gpu_tag, space="avg", most=100, usual=1
        )


def _logs(spec: Spec) -> Iterator[Query]:
    """The engines' logs: ingested bytes as Datadog estimates them for billing, and lines as it has indexed them."""
    services = [Names(spec.fleet.name).job(model.name) for model in spec.models]
    if not services:
        return
    prefix = f"{spec.fleet.name}-"
    estimate = "datadog.estimated_usage.logs.ingested_bytes"
    yield Query(LOGS_INGESTED, "count", estimate, f"service IN ({','.join(services)})", "service", prefix, usual=1e6)
    search = f"env:{spec.datadog.env} service:({' OR '.join(services)})"
    yield Query(LOG_LINES, "lines", search, "", "service", prefix, usual=1e4)
