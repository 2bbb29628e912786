"""Traces and which of their days are scored.

`CASES` are those that the price and the learner were chosen on. `OTHERS` are not: other days of the same traces, fleets of another
size, and made-up traffic of shapes that none of them has (synthetic.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoscaler.simulate.trace import Trace, read_trace
from bench.forecast import synthetic

TRACES = Path(__file__).parent.parent / "traces"


@dataclass(frozen=True, slots=True)
class Case:
    """A trace and its scored days: first, and how many. The largest scored minute fills `peak_replicas`."""

    name: str
    made: Callable[[], Trace]
    first_day: int
    days: int
    peak_replicas: float = 20.0

    def trace(self) -> Trace:
        return self.made()


def _file(name: str) -> Callable[[], Trace]:
    return lambda: read_trace(TRACES / f"{name}_1min.csv")


_AZURE, _LARGE, _NASA = _file("azure2024_code"), _file("servegen_m-large"), _file("nasa1995_jul")
_MID = _file("servegen_m-mid_first10d")

CASES = (
    Case("azure code", _AZURE, 2, 5),
    Case("m-large", _LARGE, 7, 7),
    Case("m-mid", _MID, 7, 3),
    Case("nasa", _NASA, 14, 13),
)
OTHERS = (
    Case("m-large d2-6", _LARGE, 2, 5),
    Case("m-mid d2-6", _MID, 2, 5),
    Case("nasa d3-13", _NASA, 3, 11),
    Case("m-large / 30", _LARGE, 7, 7, 30),
    Case("nasa / 8", _NASA, 14, 13, 8),
    Case("azure / 6", _AZURE, 2, 5, 6),
    Case("office", synthetic.office, 7, 7),
    Case("growth", synthetic.growth, 7, 7),
    Case("launches", synthetic.launches, 7, 7),
    Case("batches", synthetic.batches, 7, 7),
    Case("broken telemetry", synthetic.broken, 7, 7),
)
