"""What dashboards and monitors ask of a router's state, set when the numbers are read and never by a request.

Every row that can be is there from the start, at 0, so that a monitor can tell "none" from "silent". Values only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fleet import metrics
from fleet.recorder import Recorder
from router.health.report import health
from router.plane import DataPlane
from router.replicas.breaker import State
from router.tally import UNKNOWN

_TROUBLES: Final = ("consul", "redis", "kept_endpoints", "no_replicas", "provider_missing", "simulated_failure")


def collector(plane: DataPlane, redis_away_since: Callable[[], float | None]) -> Callable[[Recorder], None]:
    """For `Recorder.collectors`."""

    def collect(recorder: Recorder) -> None:
        for (selector, model), count in _sessions(plane).items():
            recorder.gauge(metrics.SESSIONS, selector, model, value=count)
        for (model, state), count in _breakers(plane).items():
            recorder.gauge(metrics.BREAKERS, model, state, value=count)
        missing = {trouble.what for trouble in health(plane, redis_away_since()).degraded}
        for what in _TROUBLES:
            recorder.gauge(metrics.DEGRADED, what, value=int(what in missing))

    return collect


def _sessions(plane: DataPlane) -> Mapping[tuple[str, str], int]:
    """By selector and model: one that was not swapped has its route's first model; "-" is what the description does not know."""
    routes = plane.catalogue.routes
    counts = {(str(number), route.chain[0]): 0 for number, route in routes.items()}
    for (number, swapped), count in plane.sessions.by_model.items():
        first = routes[number].chain[0] if number in routes else UNKNOWN
        key = (str(number), (swapped if swapped in plane.catalogue.models else UNKNOWN) if swapped else first)
        counts[key] = counts.get(key, 0) + count
    return counts


def _breakers(plane: DataPlane) -> Mapping[tuple[str, str], int]:
    counts = {(model, state.value): 0 for model in plane.catalogue.models for state in State}
    for replica in plane.replicas():
        key = (replica.model, replica.breaker.state.value)
        counts[key] = counts.get(key, 0) + 1
    return counts
