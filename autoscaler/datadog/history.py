"""Weeks of one model's arrivals, minute by minute, for who replays them: asked in slices, oldest first.

Where more points are asked for than Datadog gives, it widens the buckets without a word; a slice is short enough to come in minutes,
and one that does not is refused. A minute in which the routers reported this model's requests in flight, and no arrival, had none;
one in which they reported nothing is not known. Where the rate limit is used up this waits for as long as Datadog says, since a
person waits and no loop. Counts are requests as they came, held and refused ones too.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoscaler.datadog.answer import series_of
from autoscaler.datadog.buckets import Buckets, clipped, with_zeros
from autoscaler.datadog.client import Heard
from autoscaler.datadog.errors import Limited, MalformedAnswer
from autoscaler.datadog.queries import named, queries_for
from autoscaler.datadog.question import Query, Span, body
from autoscaler.signals import Known, Unknown
from fleet.metrics import ARRIVALS, IN_FLIGHT
from fleet.model import Spec

_MINUTE_S = 60.0
_SLICE_S = 12 * 3600.0
_TRIES = 5
_UNTOLD_WAIT_S = 60.0
_LONGEST_WAIT_S = 3600.0


class Asks(Protocol):
    """`autoscaler.datadog.client.Client` is one."""

    async def ask(self, question: bytes) -> Heard:
        """Raises: DatadogError."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`sleep` is given seconds; `told` the part of the history that is there, 0 to 1, after each slice."""

    sleep: Callable[[float], Awaitable[object]]
    told: Callable[[float], object] = lambda _: None


def slices(until: float, length_s: float) -> Iterator[Span]:
    """Spans of whole minutes up to `until`, seconds since the epoch."""
    end = math.floor(until / _MINUTE_S) * _MINUTE_S
    start = end - math.ceil(length_s / _MINUTE_S) * _MINUTE_S
    while start < end:
        yield Span(start, min(end, start + _SLICE_S), _MINUTE_S)
        start += _SLICE_S


async def arrivals(asks: Asks, spec: Spec, model: str, spans: Sequence[Span], patience: Patience) -> list[float | None]:
    """Requests of each minute of the spans in order; None: not known.

    Raises:
        DatadogError: Datadog refuses, does not answer, or answers with what cannot be used; or its rate limit stays used up.
    """
    wanted = {named(ARRIVALS), named(IN_FLIGHT)}
    queries = [query for query in queries_for(spec) if query.name in wanted]
    found: list[float | None] = []
    for done, span in enumerate(spans, 1):
        counts = _counts(await _asked(asks, body(queries, span), patience), queries, model, span)
        found += [counts.get(span.start + _MINUTE_S * at) for at in range(round((span.end - span.start) / _MINUTE_S))]
        patience.told(done / len(spans))
    return found


async def _asked(asks: Asks, question: bytes, patience: Patience) -> bytes:
    for left in reversed(range(_TRIES)):
        try:
            heard = await asks.ask(question)
        except Limited as error:
            if not left:
                raise
            await patience.sleep(min(_LONGEST_WAIT_S, _UNTOLD_WAIT_S if error.wait_s is None else error.wait_s))
            continue
        if isinstance(heard.remaining, Known) and heard.remaining.value < 1:
            await patience.sleep(min(_LONGEST_WAIT_S, heard.reset_s))
        break
    return heard.text


def _counts(text: bytes, queries: Sequence[Query], model: str, span: Span) -> Buckets:
    rows = series_of(text, [query.name for query in queries])
    by_name: dict[str, Buckets] = {}
    for query in queries:
        mine = [row for row in rows if row.query == query.name and f"{query.tag}:{query.prefix}{model}" in row.tags]
        if len(mine) > 1:
            raise MalformedAnswer(f"{query.target} in Datadog has {len(mine)} series for the model {model}: its history cannot be told")
        buckets = clipped(mine[0].points, query, span) if mine else {}
        if isinstance(buckets, Unknown):
            raise MalformedAnswer(f"the history cannot be used: {buckets.why}")
        by_name[query.name] = buckets
    return with_zeros(by_name[named(ARRIVALS)], by_name[named(IN_FLIGHT)])
