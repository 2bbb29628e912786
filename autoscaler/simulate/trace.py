"""A recorded demand: requests per minute, from a CSV file with a header.

Columns: `minute` (0 = midnight of day 0) and `requests` are needed; `gap` (1: telemetry was missing, the row says nothing) may
be there; other columns (tokens) are not read. A minute that the file skips is a gap too. A gap is not zero load, and what stands in
its other cells is not read either.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoscaler.simulate.errors import MalformedTrace

MINUTES_PER_DAY = 1440
_LONGEST_SKIP_MIN = 7 * MINUTES_PER_DAY
_NEEDED = ("minute", "requests")

Counts = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Trace:
    """`requests[i]` and `gap[i]` are those of minute `first_minute + i`; where `gap` is true, `requests` is 0 and means nothing."""

    name: str
    first_minute: int
    requests: Counts
    gap: Mask

    def __len__(self) -> int:
        return len(self.requests)

    def bridged(self) -> Counts:
        """Requests with gaps interpolated: hindsight, so for the optimum only, never for a policy."""
        known = np.flatnonzero(~self.gap)
        return np.interp(np.arange(len(self)), known, self.requests[known])


@dataclass(frozen=True, slots=True)
class _Row:
    minute: int
    requests: float
    gap: bool


def read_trace(path: Path) -> Trace:
    """The trace in a CSV file.

    Raises:
        MalformedTrace: not such a file; the message has line and column.
        OSError: cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            return _trace(path.stem, list(_rows(csv.DictReader(file))))
        except (csv.Error, UnicodeDecodeError) as error:
            raise MalformedTrace(f"{path}: not CSV text ({error}): give a file with the header minute,requests[,gap]") from error
        except _Bad as bad:
            raise MalformedTrace(f"{path}:{bad}") from bad


def write_trace(path: Path, trace: Trace) -> None:
    """For `read_trace`. Raises: OSError."""
    rows = zip(trace.requests.tolist(), trace.gap.tolist(), strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = [(minute, f"{requests:.17g}", int(gap)) for minute, (requests, gap) in enumerate(rows, trace.first_minute)]
        csv.writer(file).writerows([("minute", "requests", "gap"), *lines])


class _Bad(Exception):
    """`line: column: what is wrong`, without the path."""


def _trace(name: str, rows: list[_Row]) -> Trace:
    if all(row.gap for row in rows):
        raise _Bad("2: column requests: the trace has no minute with a count: nothing to replay")
    first = rows[0].minute
    requests = np.zeros(rows[-1].minute - first + 1)
    gap = np.ones(len(requests), dtype=bool)
    at = np.array([row.minute - first for row in rows])
    gap[at] = [row.gap for row in rows]
    requests[at] = [row.requests for row in rows]
    return Trace(name, first, requests, gap)


def _rows(lines: csv.DictReader[str]) -> Iterator[_Row]:
    _check_header(lines.fieldnames or ())
    previous: int | None = None
    for line in lines:
        row = _row(lines.line_num, line)
        if previous is not None and not previous < row.minute <= previous + _LONGEST_SKIP_MIN:
            raise _Bad(f"{lines.line_num}: column minute: {row.minute} after {previous}: minutes must grow, by at most 7 days")
        previous = row.minute
        yield row


def _check_header(names: Iterable[str]) -> None:
    if missing := [name for name in _NEEDED if name not in names]:
        raise _Bad(f"1: column {missing[0]}: missing from the header; it must have minute,requests and may have gap")


def _row(line: int, cells: Mapping[str, str | None]) -> _Row:
    minute = _number(line, "minute", cells["minute"])
    if minute != int(minute):
        raise _Bad(f"{line}: column minute: {cells['minute']!r} is not a whole number")
    is_gap = _number(line, "gap", cells.get("gap") or "0") != 0
    return _Row(int(minute), 0.0 if is_gap else _number(line, "requests", cells["requests"]), is_gap)


def _number(line: int, column: str, text: str | None) -> float:
    try:
        value = float(text if text is not None else "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise _Bad(f"{line}: column {column}: {text!r} is not a number of 0 or more")
    return value
