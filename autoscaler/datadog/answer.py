"""The body of a v2 timeseries answer -> series of points, as they stand there.

Refuses what is no such answer, an error that comes with status 200 among it. A single value that is no number is kept as NaN, so
that it spoils its own series and no other. Does not judge times or values: that is buckets.py's business. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from autoscaler.datadog.errors import MalformedAnswer


@dataclass(frozen=True, slots=True)
class Series:
    """`query`: the name of the query that it answers; `tags`: `key:value`. `points`: start of a bucket in seconds, and its value.

    Buckets that Datadog left out or said null for are not in it.
    """

    query: str
    tags: tuple[str, ...]
    points: tuple[tuple[float, float], ...]


class _Head(msgspec.Struct):
    query_index: int = 0
    group_tags: list[str] | None = None


class _Attributes(msgspec.Struct):
    series: list[_Head]
    times: list[Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]]
    values: list[list[Any]]


def series_of(text: bytes, queries: Sequence[str]) -> tuple[Series, ...]:
    """The series of an answer to `queries`, which are names in the order of the question.

    Raises:
        MalformedAnswer: not JSON, not a timeseries answer, an error in it, or columns that do not fit together.
    """
    attributes = _attributes(_json(text))
    if len(attributes.series) != len(attributes.values):
        raise MalformedAnswer(f"Datadog's answer has {len(attributes.series)} series and {len(attributes.values)} rows of values")
    return tuple(_series(head, attributes.times, row, queries) for head, row in zip(attributes.series, attributes.values, strict=True))


def _json(text: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"Datadog's answer is not JSON ({_start(text)}): see what answers at its address") from error
    if not isinstance(document, dict):
        raise MalformedAnswer(f"Datadog's answer is not a JSON object: {_start(text)}")
    return document


def _attributes(document: Mapping[str, Any]) -> _Attributes:
    meta = document.get("meta")
    trouble = document.get("errors") or document.get("error") or (isinstance(meta, dict) and meta.get("status") == "timeout" and "timeout")
    if trouble or document.get("status") == "error":
        raise MalformedAnswer(f"Datadog says 200 and an error: {str(trouble or 'status is error')[:200]}")
    try:
        return msgspec.convert(document["data"]["attributes"], _Attributes)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise MalformedAnswer(f"Datadog's answer is not a timeseries answer: {error!r:.200}") from error


def _series(head: _Head, times: Sequence[int], row: Sequence[Any], queries: Sequence[str]) -> Series:
    if len(row) != len(times):
        raise MalformedAnswer(f"a series of Datadog's answer has {len(row)} values for {len(times)} times")
    if not 0 <= head.query_index < len(queries):
        raise MalformedAnswer(f"Datadog answers query {head.query_index}, and {len(queries)} were asked")
    points = tuple((time / 1000, _number(value)) for time, value in zip(times, row, strict=True) if value is not None)
    return Series(queries[head.query_index], tuple(head.group_tags or ()), points)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _HUGE else math.nan


def _start(text: bytes) -> str:
    return repr(text[:40].decode("utf-8", "replace"))


_HUGE = 1e300  # an integer beyond the range of a float would raise on the way
