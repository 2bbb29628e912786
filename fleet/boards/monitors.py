"""The monitors of a fleet, by the name of their file."""

from __future__ import annotations

from collections.abc import Mapping

from fleet.boards import callers, ground
from fleet.boards.query import Scope
from fleet.boards.slo import tags
from fleet.boards.widgets import Json
from fleet.model import Spec
from fleet.names import Names


def monitors(spec: Spec) -> Mapping[str, Json]:
    """File name without suffix -> the body of `POST /api/v1/monitor`."""
    scope = Scope(Names(spec.fleet.name), f"env:{spec.datadog.env}")
    felt = (*callers.callers(spec, scope), *callers.warmth(spec, scope))
    beneath = (*ground.autoscaling(spec, scope), *ground.ground(spec, scope), *ground.engines(scope))
    return {name: watch.json(tags(spec)) for name, watch in (*felt, *beneath)}
