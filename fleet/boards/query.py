"""Datadog's query text, made from declared metrics.

`Scope` is where a board looks: an environment, and the services of one fleet. What a metric has no tag for cannot be asked of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fleet.metrics import Metric
from fleet.names import Names

How = Literal["sum", "avg", "min", "max", "count", "p50", "p90", "p95", "p99"]

COMMON: Final = frozenset(("env", "host", "service"))
"""Tags that the agent and our jobs put on everything."""
_PERCENTILES: Final = ("p50", "p90", "p95", "p99")


class NoSuchQuery(Exception):
    """A metric was asked for a tag that it does not carry, or for a percentile that it does not have. A mistake in a board: ours."""


@dataclass(frozen=True, slots=True)
class Scope:
    """`env` and `model` are filters or template variables: `env:production`, `$env`; empty: any model."""

    names: Names
    env: str
    model: str = ""

    def ask(self, metric: Metric, how: How, *where: str, by: tuple[str, ...] = ()) -> str:
        """`max:warmfleet.autoscaler.replicas{env:production,service:warmfleet-autoscaler,state:ready} by {model}`.

        `where`: further filters, `key:value` or `!key:value`. Raises: NoSuchQuery
        """
        _check(metric, how, where, by)
        filters = [part for part in (self.env, *self._service(metric), *self._model(metric, where), *where) if part]
        grouped = f" by {{{','.join(by)}}}" if by else ""
        counted = ".as_count()" if metric.kind == "count" or how == "count" else ""
        return f"{how}:{metric.name}{{{','.join(filters)}}}{grouped}{counted}"

    def service(self, metric: Metric) -> str:
        """Of those who send one of our own metrics. Raises: NoSuchQuery: it is not one."""
        part = metric.name.split(".")[1]
        services = {"router": self.names.router_service, "autoscaler": self.names.autoscaler_service}
        if not metric.name.startswith("warmfleet.") or part not in services:
            raise NoSuchQuery(f"{metric.name} is not sent by a part of ours")
        return services[part]

    def _service(self, metric: Metric) -> tuple[str, ...]:
        return (f"service:{self.service(metric)}",) if metric.name.startswith("warmfleet.") else ()

    def _model(self, metric: Metric, where: tuple[str, ...]) -> tuple[str, ...]:
        is_said = any(part.lstrip("!").startswith("model:") for part in where)
        return (self.model,) if "model" in metric.tags and not is_said else ()


def _check(metric: Metric, how: How, where: tuple[str, ...], by: tuple[str, ...]) -> None:
    known = COMMON | set(metric.tags)
    asked = {*by, *(part.lstrip("!").partition(":")[0] for part in where)}
    if unknown := sorted(asked - known):
        raise NoSuchQuery(f"{metric.name} has no tag {', '.join(unknown)}; it has: {', '.join(sorted(known))}")
    if how in (*_PERCENTILES, "count") and metric.kind != "distribution":
        raise NoSuchQuery(f"{metric.name} is a {metric.kind} and has no {how}")
