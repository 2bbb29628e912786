"""Metrics of Datadog's own integrations that the boards use: who sends them is said beside them, their names are not ours.

vLLM's and Redis' checks are switched on by labels of our jobs, Consul's by a file of the agent's job; DCGM's and Nomad's need a line
in the configuration of the nodes (docs/operations.md). Not a list of all there is. Every one is in the lists of the integrations
that tests/recordings/datadog-integrations holds.
"""

from __future__ import annotations

from typing import Final

from fleet.metrics import Metric

_ENGINE: Final = ("model", "service")

ENGINE_RUNNING = Metric("vllm.num_requests.running", "gauge", "request", _ENGINE, "requests that an engine works on")
ENGINE_WAITING = Metric("vllm.num_requests.waiting", "gauge", "request", _ENGINE, "requests that wait inside an engine")
KV_USE = Metric("vllm.kv_cache_usage_perc", "gauge", "fraction", _ENGINE, "KV cache in use, 0 to 1")
KV_USE_OLD = Metric("vllm.gpu_cache_usage_perc", "gauge", "fraction", _ENGINE, "the same, from engines before vLLM's unified cache")
PREEMPTIONS = Metric("vllm.num_preemptions.count", "count", "event", _ENGINE, "requests put back because the KV cache was full")

GPU_USE = Metric("dcgm.gpu_utilization", "gauge", "percent", ("gpu",), "0 to 100; near 100 under any batching")
GPU_MEMORY_USED = Metric("dcgm.fb_used", "gauge", "mebibyte", ("gpu",), "GPU memory in use")
GPU_MEMORY_FREE = Metric("dcgm.fb_free", "gauge", "mebibyte", ("gpu",), "GPU memory left")
GPU_ERROR = Metric("dcgm.xid_errors", "gauge", "error", ("gpu",), "code of the last XID error; 0: none")

REDIS_MEMORY = Metric("redis.mem.used", "gauge", "byte", (), "memory that Redis has allocated")
REDIS_MOST = Metric("redis.mem.maxmemory", "gauge", "byte", (), "memory that Redis may allocate")
REDIS_EVICTED = Metric("redis.keys.evicted", "gauge", "key", (), "sessions that Redis forgot for want of memory")

CONSUL_CRITICAL = Metric("consul.catalog.services_critical", "gauge", "service", (), "services that fail their check")
CONSUL_PASSING = Metric("consul.catalog.services_passing", "gauge", "service", (), "services that pass it")

NOMAD_RUNNING = Metric("nomad.client.allocations.running", "gauge", "job", (), "allocations that run on a node")
NOMAD_PENDING = Metric("nomad.client.allocations.pending", "gauge", "job", (), "allocations that are being started on a node")
NOMAD_BLOCKED = Metric("nomad.client.allocations.blocked", "gauge", "job", (), "allocations that wait for others on a node")

LOGS_INGESTED = Metric(
    "datadog.estimated_usage.logs.ingested_bytes", "count", "byte", ("service",), "log bytes as Datadog estimates them for billing"
)

ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
