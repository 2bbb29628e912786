"""First question: is it healthy? The answer callers get, and how fast."""

from __future__ import annotations

from fleet.boards.query import Scope
from fleet.boards.widgets import Marker, Rule, Widget, group, monitors, note, number, objectives, series
from fleet.metrics import LATENCY, LEVEL, REFUSED, REQUESTS, TRUNCATIONS, TTFT
from fleet.model import Spec

_PERCENT = (Rule(">=", 5, "white_on_red"), Rule(">=", 1, "white_on_yellow"), Rule("<", 1, "white_on_green"))


def health(spec: Spec, scope: Scope) -> Widget:
    found = f"fleet:{spec.fleet.name}"
    return group(
        "1. Is it healthy?",
        "vivid_green",
        (
            note("Red here is what callers feel. Nothing red: read on at 2. Something red: the monitors say what to do, 5 says why."),
            monitors("What watches", f'tag:"{found}"'),
            objectives("What is promised", found),
            number("Answers", {"all": scope.ask(REQUESTS, "sum")}),
            number(
                "Failed answers, %",
                {"all": scope.ask(REQUESTS, "sum"), "bad": scope.ask(REQUESTS, "sum", "status:5*")},
                "default_zero(bad) / all * 100",
                rules=_PERCENT,
                unit="%",
            ),
            number("TTFT p50", {"ttft": scope.ask(TTFT, "p50")}),
            number("TTFT p95", {"ttft": scope.ask(TTFT, "p95")}),
            number("TTFT p99", {"ttft": scope.ask(TTFT, "p99")}),
            number("Broken streams", {"broken": scope.ask(TRUNCATIONS, "sum")}, rules=(Rule(">", 0, "white_on_red"),)),
            series(
                "Time to first token, all models",
                {"p50": scope.ask(TTFT, "p50"), "p95": scope.ask(TTFT, "p95"), "p99": scope.ask(TTFT, "p99")},
                markers=tuple(Marker(model.slo.ttft_s, f"promised: {model.name}") for model in spec.models),
            ),
            series("Time to first token p95, by model", {"p95": scope.ask(TTFT, "p95", by=("model",))}),
            series("Answers by status", {"answers": scope.ask(REQUESTS, "sum", by=("status",))}, display="bars"),
            series("Whole answers p95, by model", {"p95": scope.ask(LATENCY, "p95", by=("model",))}),
            series(
                "Load level by model (0 low, 1 medium, 2 high, 3 failure)",
                {"level": scope.ask(LEVEL, "max", by=("model",))},
                markers=(Marker(3, "no replica is ready"),),
            ),
            series("Refused by a tenant's limits", {"refused": scope.ask(REFUSED, "sum", by=("tenant", "reason"))}, display="bars"),
        ),
    )
