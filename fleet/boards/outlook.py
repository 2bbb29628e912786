"""Third question: will it stay warm? Load against capacity, forecast against what came, and who decided what and why."""

from __future__ import annotations

from fleet.boards.query import Scope
from fleet.boards.widgets import Marker, Rule, Widget, group, note, number, series
from fleet.metrics import (
    ARRIVALS,
    BLOCKED,
    BOUNDS,
    CAPACITY_FACTOR,
    DATADOG_AGE,
    DATADOG_QUERIES,
    DATADOG_REMAINING,
    DECISIONS,
    FORECAST,
    IN_FLIGHT,
    LEADS,
    LOAD,
    LOG_BYTES,
    LOG_THRESHOLD,
    LOOP_SECONDS,
    PAUSED,
    REPLICAS,
)
from fleet.model import Spec

_NOTE = "Load is demand in full replicas. Above ready, callers wait; near max, raise replicas.max. `warmfleet explain MODEL` says why."


def outlook(spec: Spec, scope: Scope) -> Widget:
    return group("3. Will it stay warm?", "vivid_blue", (note(_NOTE), *_now(scope), *_ahead(spec, scope), *_sources(spec, scope)))


def _now(scope: Scope) -> tuple[Widget, ...]:
    load, ready = scope.ask(LOAD, "sum", "demand:concurrency"), scope.ask(REPLICAS, "sum", "state:ready")
    most = scope.ask(BOUNDS, "sum", "bound:max")
    full = (Rule(">=", 100, "white_on_red"), Rule(">=", 80, "white_on_yellow"), Rule("<", 80, "white_on_green"))
    return (
        number("Load of what is ready, %", {"load": load, "ready": ready}, "load / ready * 100", rules=full, unit="%"),
        number(
            "Of replicas.max, %", {"wanted": scope.ask(REPLICAS, "sum", "state:desired"), "most": most}, "wanted / most * 100", unit="%"
        ),
        number("Autoscalers that lead", {"leads": scope.ask(LEADS, "sum")}, rules=(Rule("<", 1, "white_on_red"),)),
        number("Paused", {"paused": scope.ask(PAUSED, "max")}, rules=(Rule(">", 0, "white_on_yellow"),)),
        number("Models that Nomad scales not now", {"blocked": scope.ask(BLOCKED, "sum")}, rules=(Rule(">", 0, "white_on_yellow"),)),
        number("Age of Datadog's data", {"age": scope.ask(DATADOG_AGE, "max")}),
        number("Questions left", {"left": scope.ask(DATADOG_REMAINING, "min")}, rules=(Rule("<", 2, "white_on_red"),)),
    )


def _ahead(spec: Spec, scope: Scope) -> tuple[Widget, ...]:
    load = scope.ask(LOAD, "sum", "demand:requests_per_min")
    bands = {bound: scope.ask(FORECAST, "sum", f"bound:{bound}") for bound in ("low", "wanted", "high")}
    shift_s = max((model.cold_start_s for model in spec.models), default=0)
    # What was expected of this moment, a cold start ago: under it, the load came unexpected.
    came = {"seen": "load", "low, as expected": _ago("low", shift_s), "high, as expected": _ago("high", shift_s)}
    return (
        series("Forecast for when a replica ordered now is warm", {**bands, "load": load}),
        series("What came, against what was expected a cold start ago", {**bands, "load": load}, came),
        series(
            "Load by model, in full replicas",
            {"concurrency": scope.ask(LOAD, "sum", "demand:concurrency", by=("model",))},
        ),
        series(
            "Desired, and the bounds",
            {
                "desired": scope.ask(REPLICAS, "sum", "state:desired"),
                "min": scope.ask(BOUNDS, "sum", "bound:min"),
                "max": scope.ask(BOUNDS, "sum", "bound:max"),
            },
        ),
        series(
            "Demand by model",
            {"arrivals": scope.ask(ARRIVALS, "sum", by=("model",)), "in_flight": scope.ask(IN_FLIGHT, "sum", by=("model",))},
        ),
        series("Decisions by what had the last word", {"decisions": scope.ask(DECISIONS, "sum", by=("reason",))}, display="bars"),
        series(
            "Decisions up and down",
            {"decisions": scope.ask(DECISIONS, "sum", "!direction:none", by=("model", "direction"))},
            display="bars",
        ),
        series("What a replica carries, against its description", {"factor": scope.ask(CAPACITY_FACTOR, "max", by=("model", "demand"))}),
    )


def _sources(spec: Spec, scope: Scope) -> tuple[Widget, ...]:
    old = (Marker(spec.datadog.max_age_s, "unknown from here on"),)
    logs = {"bytes": scope.ask(LOG_BYTES, "sum", by=("model",)), "threshold": scope.ask(LOG_THRESHOLD, "max", by=("model",))}
    per_minute = {"bytes a minute": "per_minute(bytes)", "threshold": "threshold"}
    thresholds = tuple(Marker(rule.threshold_bytes, f"first threshold of {rule.large}", "warning") for rule in spec.autoscaler.log_volume)
    return (
        series("Log bytes against the threshold", logs, per_minute, markers=thresholds),
        series("Age of Datadog's data", {"age": scope.ask(DATADOG_AGE, "max", by=("host",))}, markers=old, width=3),
        series("Questions to Datadog", {"asked": scope.ask(DATADOG_QUERIES, "sum", by=("outcome",))}, display="bars", width=3),
        series("One pass over all models p95", {"pass": scope.ask(LOOP_SECONDS, "p95")}, width=6),
        series("Questions that the rate limit has left", {"left": scope.ask(DATADOG_REMAINING, "min")}, width=6),
    )


def _ago(name: str, seconds: float) -> str:
    return f"timeshift({name}, -{seconds:.0f})"
