"""One batched question to `POST /api/v2/query/timeseries`: metrics and log counts together, in whole buckets of the past.

The time asked about ends `offset_s` before now and lies on multiples of the bucket's width, so that every bucket in it is complete:
the newest points of Datadog come in late, and a bucket that is cut by the edge holds a part of its count only.
Each query has a rollup of its own, because the API's default changes with the length of the span. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

Kind = Literal["count", "level", "lines", "distribution_sum", "distribution_count"]


@dataclass(frozen=True, slots=True)
class Query:
    """One series per value of `tag`; the model's name is that value without `prefix`.

    `target` is a metric, for `lines` a log search; `scope` is Datadog's filter of a metric. `models`: whom it is about; empty: all.
    `most`: larger values cannot be. `usual`: below a thousand times this nothing counts as a jump.
    """

    name: str
    kind: Kind
    target: str
    scope: str
    tag: str
    prefix: str = ""
    space: Literal["sum", "avg"] = "sum"
    most: float = 1e12
    usual: float = 1.0
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """[start, end) in seconds since the epoch, both multiples of `width_s`, the width of a bucket."""

    start: float
    end: float
    width_s: float


def span_before(now: float, *, offset_s: float, length_s: float, width_s: float) -> Span:
    """The whole buckets of the last `length_s` that end at least `offset_s` before `now`."""
    end = math.floor((now - offset_s) / width_s) * width_s
    return Span(end - math.ceil(length_s / width_s) * width_s, end, width_s)


def body(queries: Sequence[Query], span: Span) -> bytes:
    """The request's JSON. The series of the answer carry the index of their query."""
    attributes = {
        "from": int(span.start * 1000),
        "to": int(span.end * 1000),
        "interval": int(span.width_s * 1000),
        "formulas": [{"formula": query.name} for query in queries],
        "queries": [_query(query, span.width_s) for query in queries],
    }
    return msgspec.json.encode({"data": {"type": "timeseries_request", "attributes": attributes}})


def metric_text(query: Query, width_s: float) -> str:
    """`sum:x{env:p} by {model}.as_count().fill(null).rollup(sum, 30)`"""
    width = f"{width_s:.0f}"
    aggregator, modifiers = {
        "count": (query.space, f".as_count().fill(null).rollup(sum, {width})"),
        "level": (query.space, f".fill(null).rollup(avg, {width})"),
        "distribution_sum": ("sum", f".fill(null).rollup({width})"),  # distributions take no aggregator here
        "distribution_count": ("count", f".as_count().fill(null).rollup({width})"),
    }[query.kind]
    return f"{aggregator}:{query.target}{{{query.scope}}} by {{{query.tag}}}{modifiers}"


def _query(query: Query, width_s: float) -> dict[str, object]:
    if query.kind != "lines":
        return {"data_source": "metrics", "name": query.name, "query": metric_text(query, width_s)}
    return {
        "data_source": "logs",
        "name": query.name,
        "compute": {"aggregation": "count", "interval": int(width_s * 1000)},
        "search": {"query": query.target},
        "indexes": ["*"],
        "group_by": [{"facet": query.tag, "limit": 1000}],
    }
