"""All documents of a fleet by the name of their file, as they stand in terraform/datadog/."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from fleet import metrics
from fleet.boards.dashboard import dashboard
from fleet.boards.monitors import monitors
from fleet.boards.slo import log_metric, objective
from fleet.model import Spec

MONITORS = "monitors"


def files(spec: Spec) -> Mapping[str, str]:
    """Path below the folder -> JSON text. `distributions.json` names the metrics whose percentiles Datadog has to be told to keep."""
    documents: dict[str, object] = {
        "dashboard.json": dashboard(spec),
        "slo.json": objective(spec),
        "log_metric.json": log_metric(spec),
        "distributions.json": dict(_distributions()),
        **{f"{MONITORS}/{name}.json": monitor for name, monitor in monitors(spec).items()},
    }
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in documents.items()}


def _distributions() -> Iterator[tuple[str, list[str]]]:
    for metric in metrics.ALL:
        if metric.kind == "distribution":
            yield metric.name, sorted({"env", "service", "version", *metric.tags})
