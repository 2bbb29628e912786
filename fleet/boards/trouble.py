"""Fifth question: what is wrong? Failures by where they come from: replicas, engines, and what all of it rests on."""

from __future__ import annotations

from fleet.boards import integrations as foreign
from fleet.boards.query import Scope
from fleet.boards.widgets import Marker, Rule, Widget, group, log_series, note, number, series
from fleet.metrics import (
    BREAKERS,
    DEGRADED,
    EJECTIONS,
    FAILOVERS,
    HEDGES,
    PROVIDER_LATENCY,
    PROVIDER_REQUESTS,
    PROVIDER_STATES,
    RESUMES,
    SESSION_LOOKUPS,
    SNAPSHOT_AGE,
    TRUNCATIONS,
)
from fleet.model import Spec

_NOTE = "From the caller inwards: replicas that fail, engines that are full, then Redis, Consul and Nomad, without which the rest is blind."
_FULL = 0.95


def trouble(spec: Spec, scope: Scope) -> Widget:
    parts = (*_now(scope), *_replicas(scope), *_engines(scope), *_providers(scope), *_redis(scope), *_ground(scope), *_logs(spec, scope))
    return group("5. What is wrong?", "vivid_pink", (note(_NOTE), *parts))


def _now(scope: Scope) -> tuple[Widget, ...]:
    any_is_red = (Rule(">", 0, "white_on_red"), Rule("<=", 0, "white_on_green"))
    return (
        number("Breakers open", {"open": scope.ask(BREAKERS, "sum", "state:open")}, rules=any_is_red),
        number("Routers without Consul", {"lost": scope.ask(DEGRADED, "sum", "what:consul")}, rules=any_is_red),
        number("Routers without Redis", {"lost": scope.ask(DEGRADED, "sum", "what:redis")}, rules=any_is_red),
        number("Age of what Consul said", {"age": scope.ask(SNAPSHOT_AGE, "max")}, rules=(Rule(">", 60, "white_on_red"),)),
        number("Moved to another replica", {"moved": scope.ask(FAILOVERS, "sum")}),
        number("GPU errors", {"xid": scope.ask(foreign.GPU_ERROR, "max")}, rules=any_is_red),
    )


def _replicas(scope: Scope) -> tuple[Widget, ...]:
    return (
        series("Failovers by reason", {"moved": scope.ask(FAILOVERS, "sum", by=("model", "reason"))}, display="bars"),
        series("Breakers that are not closed", {"breakers": scope.ask(BREAKERS, "sum", "!state:closed", by=("model", "state"))}),
        series(
            "Streams that broke: went on elsewhere, or ended with an error",
            {"went_on": scope.ask(RESUMES, "sum", by=("model",)), "ended": scope.ask(TRUNCATIONS, "sum", by=("model",))},
            display="bars",
        ),
        series(
            "Ejections, and streams asked of two replicas",
            {"ejected": scope.ask(EJECTIONS, "sum", by=("model",)), "hedged": scope.ask(HEDGES, "sum", by=("winner",))},
            display="bars",
        ),
    )


def _engines(scope: Scope) -> tuple[Widget, ...]:
    return (
        series(
            "KV cache in use",
            {"kv": scope.ask(foreign.KV_USE, "avg", by=("model",)), "kv_old": scope.ask(foreign.KV_USE_OLD, "avg", by=("model",))},
            {"of the cache": "kv", "of the cache, older engines": "kv_old"},
            markers=(Marker(_FULL, "full"),),
            width=4,
        ),
        series(
            "Requests inside the engines",
            {
                "running": scope.ask(foreign.ENGINE_RUNNING, "sum", by=("model",)),
                "waiting": scope.ask(foreign.ENGINE_WAITING, "sum", by=("model",)),
            },
            width=4,
        ),
        series(
            "Requests put back by full caches", {"put_back": scope.ask(foreign.PREEMPTIONS, "sum", by=("model",))}, display="bars", width=4
        ),
    )


def _providers(scope: Scope) -> tuple[Widget, ...]:
    """Empty where the fleet has none."""
    states = scope.ask(PROVIDER_STATES, "sum", "!state:closed", by=("provider", "state"))
    asked = scope.ask(PROVIDER_REQUESTS, "sum", by=("provider", "outcome"))
    return (
        series("Providers: attempts by outcome", {"attempts": asked}, display="bars", width=4),
        series("Providers: routers that keep away from one", {"routers": states}, width=4),
        series("Providers: answers p95", {"p95": scope.ask(PROVIDER_LATENCY, "p95", by=("provider",))}, width=4),
    )


def _redis(scope: Scope) -> tuple[Widget, ...]:
    lookups = {name: scope.ask(SESSION_LOOKUPS, "sum", f"result:{name}") for name in ("local", "redis", "miss", "unavailable")}
    every = "(default_zero(local) + default_zero(redis) + default_zero(miss) + default_zero(unavailable))"
    shares = {
        "found here, %": f"default_zero(local) / {every} * 100",
        "found in Redis, %": f"default_zero(redis) / {every} * 100",
        "found nowhere, %": f"default_zero(miss) / {every} * 100",
        "Redis did not answer, %": f"default_zero(unavailable) / {every} * 100",
    }
    memory = {"used": scope.ask(foreign.REDIS_MEMORY, "max"), "most": scope.ask(foreign.REDIS_MOST, "max")}
    return (
        series("Where sessions are found", lookups, shares, display="area"),
        series("Redis: memory in use, %", memory, {"in use": "used / most * 100"}, markers=(Marker(90, "evicts soon"),), width=3),
        series("Redis: sessions forgotten for want of memory", {"evicted": scope.ask(foreign.REDIS_EVICTED, "max")}, width=3),
    )


def _ground(scope: Scope) -> tuple[Widget, ...]:
    return (
        series("Routers that go without", {"routers": scope.ask(DEGRADED, "sum", by=("what",))}, width=4),
        series(
            "Consul: services",
            {"passing": scope.ask(foreign.CONSUL_PASSING, "sum"), "critical": scope.ask(foreign.CONSUL_CRITICAL, "sum")},
            width=4,
        ),
        series(
            "Nomad: allocations on the nodes",
            {
                "running": scope.ask(foreign.NOMAD_RUNNING, "sum"),
                "pending": scope.ask(foreign.NOMAD_PENDING, "sum"),
                "blocked": scope.ask(foreign.NOMAD_BLOCKED, "sum"),
            },
            width=4,
        ),
    )


def _logs(spec: Spec, scope: Scope) -> tuple[Widget, ...]:
    services = f"service:{spec.fleet.name}-*"
    return (
        log_series("Errors in the logs, by service", f"{scope.env} {services} status:error", "service"),
        log_series("What the routers say", f"{scope.env} service:{scope.names.router_service} -@event:access", "@event"),
    )
