"""Second question: is it warm? Replicas by state, who waits for one, and how long a cold start takes."""

from __future__ import annotations

from fleet.boards.query import Scope
from fleet.boards.widgets import Marker, Rule, Widget, events, group, note, number, series, top
from fleet.metrics import COLD_START, ENDPOINTS, FAILED_STARTS, FALLBACKS, HELD, HOLD_TIME, REPLICAS, SESSION_STARTS, SESSIONS
from fleet.model import Spec


def warmth(spec: Spec, scope: Scope) -> Widget:
    return group("2. Is it warm?", "vivid_orange", (*_now(scope), *_replicas(spec, scope), *_sessions(scope)))


def _now(scope: Scope) -> tuple[Widget, ...]:
    return (
        note("Ready is what serves; placed and loading is paid for and serves nobody yet. Held callers wait for warmth: they are demand."),
        number("Ready", {"ready": _replica(scope, "ready")}, rules=(Rule("<", 1, "white_on_red"),)),
        number("Loading", {"loading": _replica(scope, "loading")}),
        number("Without a node", {"missing": _replica(scope, "missing")}, rules=(Rule(">", 0, "white_on_red"),)),
        number("Draining", {"draining": _replica(scope, "draining")}),
        number("Held callers", {"held": scope.ask(HELD, "sum")}, rules=(Rule(">", 0, "white_on_yellow"),)),
        number("Cold start p50", {"p50": scope.ask(COLD_START, "p50")}),
    )


def _replicas(spec: Spec, scope: Scope) -> tuple[Widget, ...]:
    states = ("desired", "placed", "loading", "ready", "draining", "missing")
    starts = {"p50": scope.ask(COLD_START, "p50", by=("model",)), "p95": scope.ask(COLD_START, "p95", by=("model",))}
    priors = tuple(Marker(model.cold_start_s, f"described: {model.name}", "warning") for model in spec.models)
    return (
        series("Replicas by state", {state: _replica(scope, state) for state in states}, events=f"tags:fleet:{spec.fleet.name}"),
        series("Ready replicas by model", {"ready": scope.ask(REPLICAS, "sum", "state:ready", by=("model",))}),
        series("Length of cold starts", starts, markers=priors),
        series(
            "Cold starts, and those that failed",
            {"began_to_serve": scope.ask(COLD_START, "count", by=("model",)), "failed": scope.ask(FAILED_STARTS, "sum", by=("model",))},
            display="bars",
        ),
        series("Callers that wait, by model", {"held": scope.ask(HELD, "sum", by=("model",))}, width=4),
        series("Time they waited p95, by how it ended", {"waited": scope.ask(HOLD_TIME, "p95", by=("end",))}, width=4),
        series(
            "Answered by another model of the chain", {"moved": scope.ask(FALLBACKS, "sum", by=("model", "to"))}, display="bars", width=4
        ),
        events("Scalings, cold starts, failures", f"source:warmfleet fleet:{spec.fleet.name}"),
    )


def _sessions(scope: Scope) -> tuple[Widget, ...]:
    return (
        series("Sessions by selector and model", {"sessions": scope.ask(SESSIONS, "sum", by=("selector", "model"))}),
        series("New sessions by model", {"begun": scope.ask(SESSION_STARTS, "sum", by=("model",))}, display="bars"),
        top("Replicas that the routers see", {"seen": scope.ask(ENDPOINTS, "min", by=("model",))}, width=12),
    )


def _replica(scope: Scope, state: str) -> str:
    return scope.ask(REPLICAS, "sum", f"state:{state}")
