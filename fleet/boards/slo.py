"""The one promise to callers, and the one metric that is counted from logs.

The promise counts a refusal for want of a warm replica as a failure, so it is about warmth too; what a caller did wrong or gave up is not.
"""

from __future__ import annotations

from typing import Final

from fleet.boards.query import Scope
from fleet.boards.widgets import Json
from fleet.metrics import REQUESTS
from fleet.model import Spec
from fleet.names import Names

TARGET: Final = 99.5
_WARNING: Final = 99.8
_DAYS: Final = (7, 30)
LOG_LINES: Final = "warmfleet.logs.lines"


def objective(spec: Spec) -> Json:
    """The body of `POST /api/v1/slo`: answers that are not the fleet's failure, of all answers."""
    scope = Scope(Names(spec.fleet.name), f"env:{spec.datadog.env}")
    return {
        "name": f"Warmfleet {spec.fleet.name}: callers get an answer",
        "description": "Answers with another status than 5xx. A 503 while nothing is warm counts against it: warmth is the promise.",
        "type": "metric",
        "query": {"numerator": scope.ask(REQUESTS, "sum", "!status:5*"), "denominator": scope.ask(REQUESTS, "sum")},
        "thresholds": [{"timeframe": f"{days}d", "target": TARGET, "warning": _WARNING} for days in _DAYS],
        "tags": tags(spec),
    }


def log_metric(spec: Spec) -> Json:
    """The body of `POST /api/v2/logs/config/metrics`: lines of every service of the fleet, also of those that no index keeps."""
    attributes: Json = {
        "compute": {"aggregation_type": "count"},
        "filter": {"query": f"env:{spec.datadog.env} service:{spec.fleet.name}-*"},
        "group_by": [{"path": "service", "tag_name": "service"}, {"path": "status", "tag_name": "status"}],
    }
    return {"data": {"type": "logs_metrics", "id": LOG_LINES, "attributes": attributes}}


def tags(spec: Spec) -> list[str]:
    """Of everything that is about one fleet; the dashboard finds monitors and SLO by the first."""
    return [f"fleet:{spec.fleet.name}", f"env:{spec.datadog.env}"]
