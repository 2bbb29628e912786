"""The same sums from a router's own counters, as far as they say: since its start, without hours, tenants and costs. Pure.

The latency of a model is left out where some of its requests were no answers: the counters have one distribution for all of them.
"""

from __future__ import annotations

from fleet import metrics
from fleet.recorder import Recorder
from router.analytics import sums
from router.analytics.sums import Key, Sums
from router.errors import CALLER_LEFT


def rows(recorder: Recorder) -> dict[Key, Sums]:
    found: dict[Key, Sums] = {}
    for (metric, tags), count in recorder.counts.items():
        if metric == metrics.REQUESTS:
            model, route, status = tags
            sums.added(found, [(Key(0, "", route, model), _requests(int(status), int(count)))])
        elif metric in (metrics.INPUT_TOKENS, metrics.OUTPUT_TOKENS):
            sums.added(found, [(Key(0, "", "-", tags[0]), _tokens(metric == metrics.INPUT_TOKENS, int(count)))])
    for (metric, tags), spread in recorder.distributions.items():
        key = Key(0, "", tags[1], tags[0]) if metric == metrics.LATENCY else None
        if key is not None and key in found and found[key].answered == found[key].requests:
            sums.added(found, [(key, Sums(latency_us=spread.total_us))])
    return found


def _requests(status: int, count: int) -> Sums:
    if status < 400:
        return Sums(requests=count, answered=count)
    if status == CALLER_LEFT:
        return Sums(requests=count, left=count)
    return Sums(requests=count, failed=count) if status >= 500 else Sums(requests=count, refused=count)


def _tokens(is_input: bool, count: int) -> Sums:
    return Sums(input_tokens=count) if is_input else Sums(output_tokens=count)
