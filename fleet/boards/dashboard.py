"""The dashboard: five questions in the order in which an operator asks them.

Template variables narrow it to an environment and a model; the fleet is fixed, because thresholds are its own.
"""

from __future__ import annotations

from fleet.boards.cost import cost
from fleet.boards.health import health
from fleet.boards.outlook import outlook
from fleet.boards.query import Scope
from fleet.boards.trouble import trouble
from fleet.boards.warmth import warmth
from fleet.boards.widgets import Json, column
from fleet.model import Spec
from fleet.names import Names


def dashboard(spec: Spec) -> Json:
    """The body of `POST /api/v1/dashboard`, and of the import in Datadog's own pages."""
    scope = Scope(Names(spec.fleet.name), "$env", "$model")
    return {
        "title": f"Warmfleet: {spec.fleet.name}",
        "description": "Is it healthy, is it warm, will it stay warm, what does it cost, what is wrong? Made by `warmfleet boards`.",
        "layout_type": "ordered",
        "reflow_type": "fixed",
        "template_variables": [
            {"name": "env", "prefix": "env", "defaults": [spec.datadog.env], "available_values": []},
            {"name": "model", "prefix": "model", "defaults": ["*"], "available_values": [model.name for model in spec.models]},
        ],
        "widgets": column([part(spec, scope) for part in (health, warmth, outlook, cost, trouble)]),
    }
