"""Every metric of the system, declared once.

`/metrics` (Prometheus text), DogStatsD, the autoscaler's scrape, dashboards and docs/operations.md are made from this list.
Tags have few values each: never a session id, an allocation id or a URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["count", "gauge", "distribution"]


@dataclass(frozen=True, slots=True, eq=False)  # each exists once: to count by identity costs a request less than to hash five fields
class Metric:
    """`name` is Datadog's form; `tags` are the names a sample must carry, in this order."""

    name: str
    kind: Kind
    unit: str
    tags: tuple[str, ...]
    help: str

    @property
    def prometheus(self) -> str:
        """Name in Prometheus text: dots become underscores, counters end in `_total`."""
        flat = self.name.replace(".", "_")
        return f"{flat}_total" if self.kind == "count" else flat


ARRIVALS = Metric("warmfleet.router.arrivals", "count", "request", ("model",), "requests for a model, counted before admission: the demand")
REQUESTS = Metric("warmfleet.router.requests", "count", "request", ("model", "route", "status"), "requests answered, by HTTP status")
REFUSED = Metric(
    "warmfleet.router.refused",
    "count",
    "request",
    ("tenant", "reason"),
    "requests that a tenant's limits refused: key, not_allowed, requests, tokens, budget, or limits_away",
)
SPENT = Metric("warmfleet.router.spent", "count", "dollar", ("tenant", "model"), "what the answers of a model or provider cost a tenant")
IN_FLIGHT = Metric("warmfleet.router.in_flight", "gauge", "request", ("model",), "requests at a replica of the model now")
HELD = Metric("warmfleet.router.held", "gauge", "request", ("model",), "requests waiting for the model to be warm")
HOLD_TIME = Metric(
    "warmfleet.router.hold_time", "distribution", "second", ("model", "end"), "time in the waiting room, by its end: served, over or left"
)
LATENCY = Metric("warmfleet.router.latency", "distribution", "second", ("model", "route"), "request received to last byte")
TTFT = Metric("warmfleet.router.ttft", "distribution", "second", ("model", "route"), "request received to first content byte of a stream")
INPUT_TOKENS = Metric("warmfleet.router.input_tokens", "count", "token", ("model",), "prompt tokens as the engine reports them")
OUTPUT_TOKENS = Metric("warmfleet.router.output_tokens", "count", "token", ("model",), "completion tokens as the engine reports them")
FAILOVERS = Metric(
    "warmfleet.router.failovers", "count", "request", ("model", "reason"), "attempts moved to another replica of the same model"
)
FALLBACKS = Metric("warmfleet.router.fallbacks", "count", "request", ("model", "to"), "requests moved to another model of the chain")
RESUMES = Metric(
    "warmfleet.router.resumes", "count", "stream", ("model", "reason"), "streams that broke after content and went on at another replica"
)
HEDGES = Metric(
    "warmfleet.router.hedges", "count", "stream", ("model", "winner"), "streams asked of two replicas, by who was faster: first or rival"
)
EJECTIONS = Metric("warmfleet.router.ejections", "count", "event", ("model",), "breakers opened")
TRUNCATIONS = Metric(
    "warmfleet.router.truncations",
    "count",
    "stream",
    ("model",),
    "streams that broke after content and ended with an error event",
)
PROVIDER_REQUESTS = Metric(
    "warmfleet.router.provider_requests",
    "count",
    "request",
    ("provider", "outcome"),
    "attempts at an external provider: ok, busy, refused (our key or row), failed, rejected (the caller's mistake), left",
)
PROVIDER_LATENCY = Metric(
    "warmfleet.router.provider_latency", "distribution", "second", ("provider",), "attempt begun to last byte, of successes only"
)
PROVIDER_COST = Metric(
    "warmfleet.router.provider_cost", "count", "dollar", ("provider",), "what the answers cost; estimated where no usage is said"
)
PROVIDER_STATES = Metric(
    "warmfleet.router.provider_states",
    "gauge",
    "process",
    ("provider", "state"),
    "router processes by how they stand to it: closed, open, half-open (breaker), resting (at a limit), missing (no key), simulated",
)
SESSION_LOOKUPS = Metric(
    "warmfleet.router.session_lookups", "count", "lookup", ("result",), "session lookups: local, redis, miss, or unavailable"
)
SESSION_STARTS = Metric(
    "warmfleet.router.session_starts", "count", "session", ("model",), "sessions that began, by the model they began with"
)
LOG_BYTES = Metric("warmfleet.router.log_bytes", "count", "byte", ("model",), "bytes of the router's own log, by the model a line is about")
SESSIONS = Metric(
    "warmfleet.router.sessions", "gauge", "session", ("selector", "model"), "sessions in the local cache, by the model that serves them"
)
BREAKERS = Metric(
    "warmfleet.router.breakers", "gauge", "endpoint", ("model", "state"), "replicas by the state of their breaker: closed, open, half-open"
)
DEGRADED = Metric(
    "warmfleet.router.degraded",
    "gauge",
    "router",
    ("what",),
    "1 while the router goes without it, as /health says: consul, redis, kept_endpoints, no_replicas, provider_missing, simulated_failure",
)
ENDPOINTS = Metric("warmfleet.router.endpoints", "gauge", "endpoint", ("model",), "passing replicas as this router sees them")
SNAPSHOT_AGE = Metric("warmfleet.router.snapshot_age", "gauge", "second", (), "time since Consul last answered")

REPLICAS = Metric(
    "warmfleet.autoscaler.replicas",
    "gauge",
    "replica",
    ("model", "state"),
    "replicas by state: desired, placed, missing (desired, and without a node), loading, ready, draining",
)
BOUNDS = Metric("warmfleet.autoscaler.bounds", "gauge", "replica", ("model", "bound"), "replicas.min and replicas.max: min, max")
GPUS = Metric("warmfleet.autoscaler.gpus", "gauge", "device", ("model",), "GPUs that the placed replicas occupy, warm or not")
LEVEL = Metric("warmfleet.autoscaler.level", "gauge", "level", ("model",), "load level: 0 low, 1 medium, 2 high, 3 failure")
LOAD = Metric(
    "warmfleet.autoscaler.load", "gauge", "replica", ("model", "demand"), "demand as seen, in replicas that it would fill to the last slot"
)
FORECAST = Metric(
    "warmfleet.autoscaler.forecast",
    "gauge",
    "replica",
    ("model", "bound"),
    "replicas when one ordered now is warm: low and high are the band of what will be needed, wanted is what is asked for",
)
DECISIONS = Metric(
    "warmfleet.autoscaler.decisions",
    "count",
    "decision",
    ("model", "direction", "reason"),
    "decisions by direction (up, down, none) and by what had the last word: a policy's kind, or a limit such as cooldown, max, gpus",
)
COLD_START = Metric("warmfleet.autoscaler.cold_start", "distribution", "second", ("model",), "placed to passing, measured")
FAILED_STARTS = Metric("warmfleet.autoscaler.failed_starts", "count", "replica", ("model",), "replicas that ended before they ever passed")
CAPACITY_FACTOR = Metric(
    "warmfleet.autoscaler.capacity_factor", "gauge", "ratio", ("model", "demand"), "capacity of a replica as it shows, against fleet.toml's"
)
LOG_THRESHOLD = Metric(
    "warmfleet.autoscaler.log_threshold", "gauge", "byte", ("model",), "log bytes a minute above which the rule starts this large model"
)
DATADOG_QUERIES = Metric(
    "warmfleet.autoscaler.datadog_queries",
    "count",
    "query",
    ("outcome",),
    "questions to Datadog by outcome: ok, limited, refused, unreachable, malformed",
)
DATADOG_AGE = Metric("warmfleet.autoscaler.datadog_age", "gauge", "second", (), "age of the newest data that Datadog gave")
DATADOG_REMAINING = Metric(
    "warmfleet.autoscaler.datadog_remaining", "gauge", "query", (), "questions that Datadog's rate limit has left in its period"
)
LEADS = Metric("warmfleet.autoscaler.leads", "gauge", "autoscaler", (), "1 where this autoscaler acts, 0 where it stands by")
PAUSED = Metric("warmfleet.autoscaler.paused", "gauge", "fleet", (), "1 while the fleet is paused")
BLOCKED = Metric(
    "warmfleet.autoscaler.blocked",
    "gauge",
    "model",
    ("model",),
    "1 while Nomad takes no scaling of the model: a deployment is under way, or its job is missing, stopped or not this fleet's",
)
LOOP_SECONDS = Metric("warmfleet.autoscaler.loop", "distribution", "second", (), "one pass over all models")

ALL: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
