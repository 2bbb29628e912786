"""What an engine says of its own queue, in the Prometheus text of its GET /metrics.

Law: requests that wait inside the engine, summed over its series (a vLLM with several cores has one each). What cannot be, or is not
there, is None: unknown, which the selection counts as nothing. The names are the engines' own (vLLM 0.32, llama.cpp); of some 600 lines
these few are looked at, so that a reading costs a search. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

_NAMES: Final = (b"vllm:num_requests_waiting", b"llamacpp:requests_deferred")
_MOST: Final = 1_000_000  # an engine that says more does not count


def queued(text: bytes) -> int | None:
    """Requests that wait in the engine; None: it does not say, or nonsense."""
    for name in _NAMES:
        values = tuple(_values(text, name))
        if values:
            return int(sum(values)) if all(0 <= value <= _MOST for value in values) else None
    return None


def _values(text: bytes, name: bytes) -> Iterator[float]:
    """Of every series with exactly this name; one that is no number is not a number (NaN)."""
    at = text.find(name)
    while at >= 0:
        end = text.find(b"\n", at)
        line = text[at : end if end >= 0 else len(text)]
        if (at == 0 or text[at - 1] == 10) and line[len(name) : len(name) + 1] in (b"{", b" "):
            yield _number(line[len(name) :].rpartition(b"}")[2])
        at = text.find(name, at + len(line))


def _number(rest: bytes) -> float:
    """`rest`: what follows the labels: a value, and perhaps a time."""
    try:
        return float(rest.split()[0])
    except (ValueError, IndexError):
        return math.nan
