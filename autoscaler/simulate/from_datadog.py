"""The last weeks of a model as a trace, read from Datadog: what was asked of the routers, whatever the fleet could carry then.

Minutes count from the epoch, so that schedules and times of day are those of the real days.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp
import numpy as np

from autoscaler.datadog.client import Client, access
from autoscaler.datadog.history import Patience, arrivals, slices
from autoscaler.signals import Unknown
from autoscaler.simulate.errors import NoHistory
from autoscaler.simulate.trace import Trace
from fleet.model import Spec

_ANSWER_S = 60.0  # a slice is a larger question than the loop's


async def read_history(
    spec: Spec, model: str, environment: Mapping[str, str], *, until: float, length_s: float, told: Callable[[float], object]
) -> Trace:
    """The trace of the `length_s` before `until`, from the first minute that is known.

    Raises:
        NoHistory: keys are missing, or Datadog knows nothing of the model.
        DatadogError: Datadog refuses, or does not answer.
        WarmfleetError: DD_SITE is wrong.
    """
    may = access(environment, spec.datadog.site)
    if isinstance(may, Unknown):
        raise NoHistory(f"Datadog cannot be asked: {may.why}")
    spans = list(slices(until - spec.datadog.offset_s, length_s))
    async with aiohttp.ClientSession() as session:
        asks = Client(session, may, max(_ANSWER_S, spec.datadog.read_timeout_s))
        counts = await arrivals(asks, spec, model, spans, Patience(asyncio.sleep, told))
    return trace_of(model, int(spans[0].start // 60), counts)


def trace_of(model: str, first_minute: int, counts: list[float | None]) -> Trace:
    """Raises: NoHistory: no minute is known."""
    known = next((at for at, count in enumerate(counts) if count is not None), None)
    if known is None:
        raise NoHistory(f"Datadog has no requests of {model} in {len(counts)} minutes: are its name, datadog.env and the span right?")
    kept = counts[known:]
    requests = np.array([count or 0.0 for count in kept])
    return Trace(model, first_minute + known, requests, np.array([count is None for count in kept]))
