"""Fourth question: what does it cost? What is paid for, and what of it worked."""

from __future__ import annotations

from fleet.boards.integrations import GPU_MEMORY_FREE, GPU_MEMORY_USED, GPU_USE, LOGS_INGESTED
from fleet.boards.query import Scope
from fleet.boards.widgets import Widget, group, note, number, series
from fleet.metrics import GPUS, IN_FLIGHT, INPUT_TOKENS, OUTPUT_TOKENS, PROVIDER_COST, REPLICAS, SPENT
from fleet.model import Spec
from fleet.names import Names

_NOTE = "Placed replicas are paid for from their first minute. GPU use near 100 % says busy, never how much is needed: look at tokens."


def cost(spec: Spec, scope: Scope) -> Widget:
    names = Names(spec.fleet.name)
    gpus, tokens = scope.ask(GPUS, "sum"), scope.ask(OUTPUT_TOKENS, "sum")
    placed, ready = scope.ask(REPLICAS, "sum", "state:placed"), scope.ask(REPLICAS, "sum", "state:ready")
    engines = " OR ".join(f"service:{names.job(model.name)}" for model in spec.models)
    return group(
        "4. What does it cost?",
        "vivid_purple",
        (
            note(_NOTE),
            number("GPUs occupied", {"gpus": gpus}),
            number("Replicas paid for", {"placed": placed}),
            number("Of them ready, %", {"ready": ready, "placed": placed}, "ready / placed * 100", unit="%"),
            number("Tokens written", {"tokens": tokens}),
            number("Tokens read", {"tokens": scope.ask(INPUT_TOKENS, "sum")}),
            number("Requests in flight", {"busy": scope.ask(IN_FLIGHT, "sum")}),
            series("GPUs occupied by model", {"gpus": scope.ask(GPUS, "sum", by=("model",))}, display="area"),
            series(
                "Tokens written per occupied GPU and second",
                {"tokens": scope.ask(OUTPUT_TOKENS, "sum", by=("model",)), "gpus": scope.ask(GPUS, "sum", by=("model",))},
                {"tokens per GPU": "per_second(tokens) / gpus"},
            ),
            series(
                "Tokens by model",
                {"read": scope.ask(INPUT_TOKENS, "sum", by=("model",)), "written": scope.ask(OUTPUT_TOKENS, "sum", by=("model",))},
                display="bars",
            ),
            series("GPU use by node, %", {"use": scope.ask(GPU_USE, "avg", by=("host",))}),
            series(
                "GPU memory by node, %",
                {"used": scope.ask(GPU_MEMORY_USED, "sum", by=("host",)), "free": scope.ask(GPU_MEMORY_FREE, "sum", by=("host",))},
                {"in use": "used / (used + free) * 100"},
            ),
            series("Log bytes that Datadog bills", {"ingested": _ingested(engines)}, display="bars"),
            series("Spent by tenant, dollars", {"spent": scope.ask(SPENT, "sum", by=("tenant",))}, display="bars"),
            series("Spent at providers, dollars", {"cost": scope.ask(PROVIDER_COST, "sum", by=("provider",))}, display="bars"),
        ),
    )


def _ingested(services: str) -> str:
    """Datadog's own metrics carry no env."""
    return f"sum:{LOGS_INGESTED.name}{{{services}}} by {{service}}.as_count()"
