"""How the providers stand, for `GET /providers`: from what all workers of a router have counted together. No key is in it. Pure.

    status        at least one process
    up            asks it
    resting       asks it again when its Retry-After or its window says so, and none asks it now
    down          has its breaker open or half-open, and none asks it now
    simulated     has been told to see it fail
    missing       has no key for it, or cannot use its row, and none asks it

What stands first in the order simulated, up, resting, down, missing holds. Averages are over successes only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from fleet import metrics
from fleet.metrics import Metric
from fleet.provider import Provider
from fleet.recorder import Histogram, Recorder
from fleet.serving import Capability
from router.plane import DataPlane
from router.replicas.breaker import State

Status = Literal["up", "resting", "down", "simulated", "missing"]
BreakerState = Literal["closed", "half-open", "open"]

_STATES: Final = (*(state.value for state in State), "resting", "missing", "simulated")
_OUTCOMES: Final = ("ok", "busy", "refused", "failed", "rejected", "left")


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars: per 1,000 tokens, and spent since the start: by all, or by the tenant who asks."""

    input: float
    output: float
    spent: float


@dataclass(frozen=True, slots=True)
class Limits:
    """0: none."""

    requests_per_min: int
    tokens_per_min: int


@dataclass(frozen=True, slots=True)
class Standing:
    """One provider. `failures`: attempts that failed or were refused; being at its limit is none. `missing`: why, or empty.

    What all callers together have asked (`requests`, `successes`, `failures`, `outcomes`) is None for a tenant.
    """

    name: str
    model: str
    status: Status
    healthy: bool
    breaker: BreakerState
    processes: dict[str, int]
    requests: int | None
    successes: int | None
    failures: int | None
    outcomes: dict[str, int] | None
    average_latency_ms: float | None
    cost: Cost
    limits: Limits
    priority: int
    quality: float
    capabilities: tuple[Capability, ...]
    context: int
    routes: tuple[str, ...]
    missing: str = ""


def collector(plane: DataPlane, missing: Callable[[], Mapping[str, str]]) -> Callable[[Recorder], None]:
    """For `Recorder.collectors`: every provider has each state and outcome from the start."""

    def collect(recorder: Recorder) -> None:
        for name in plane.catalogue.providers:
            for outcome in _OUTCOMES:
                recorder.count(metrics.PROVIDER_REQUESTS, name, outcome, by=0)
            recorder.count(metrics.PROVIDER_COST, name, by=0)
            holds = _states(plane, name, is_missing=name in missing())
            for state in _STATES:
                recorder.gauge(metrics.PROVIDER_STATES, name, state, value=int(state in holds))

    return collect


def _states(plane: DataPlane, name: str, *, is_missing: bool) -> set[str]:
    replica = plane.providers.get(name)
    if replica is None:
        return {"missing"} if is_missing else set()
    also = {"resting"} if replica.rest_until else set()
    return {replica.breaker.state.value} | also | ({"simulated"} if name in plane.simulated else set())


def standings(plane: DataPlane, recorder: Recorder, missing: Mapping[str, str], of: str | None = None) -> tuple[Standing, ...]:
    """By priority. `recorder`: the sum over all workers; `missing`: as this one knows it. `of`: the tenant who asks; None: all is shown."""
    found = (_standing(plane, recorder, row, missing.get(name, "")) for name, row in plane.catalogue.providers.items())
    return tuple(found) if of is None else tuple(_own(one, recorder, of) for one in found)


def _own(standing: Standing, recorder: Recorder, tenant: str) -> Standing:
    """Without what others have asked and spent."""
    cost = replace(standing.cost, spent=recorder.counts.get((metrics.SPENT, (tenant, standing.name)), 0.0))
    return replace(standing, requests=None, successes=None, failures=None, outcomes=None, cost=cost)


def _standing(plane: DataPlane, recorder: Recorder, row: Provider, missing: str) -> Standing:
    name = row.name
    processes = {state: int(recorder.gauges.get((metrics.PROVIDER_STATES, (name, state)), 0)) for state in _STATES}
    outcomes = {outcome: int(recorder.counts.get((metrics.PROVIDER_REQUESTS, (name, outcome)), 0)) for outcome in _OUTCOMES}
    status = _status(processes)
    return Standing(
        name=name,
        model=row.model,
        status=status,
        healthy=status == "up",
        breaker=next((state for state in ("open", "half-open") if processes[state]), "closed"),
        processes=processes,
        requests=sum(outcomes.values()),
        successes=outcomes["ok"],
        failures=outcomes["failed"] + outcomes["refused"],
        outcomes=outcomes,
        average_latency_ms=_average_ms(recorder, metrics.PROVIDER_LATENCY, name),
        cost=Cost(row.cost.input, row.cost.output, recorder.counts.get((metrics.PROVIDER_COST, (name,)), 0.0)),
        limits=Limits(row.requests_per_min, row.tokens_per_min),
        priority=row.priority,
        quality=row.quality,
        capabilities=row.capabilities,
        context=row.context,
        routes=tuple(route.name for route in plane.catalogue.routes.values() if name in route.chain),
        missing=missing,
    )


def _status(processes: Mapping[str, int]) -> Status:
    if processes["simulated"]:
        return "simulated"
    if processes["closed"] > processes["resting"]:
        return "up"
    if processes["resting"]:
        return "resting"
    return "down" if processes["open"] or processes["half-open"] else "missing"


def _average_ms(recorder: Recorder, metric: Metric, name: str) -> float | None:
    histogram = recorder.distributions.get((metric, (name,)), Histogram())
    count = sum(histogram.buckets.values())
    return round(histogram.total_us / count / 1000, 3) if count else None
