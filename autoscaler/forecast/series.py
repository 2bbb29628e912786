"""The demand of the last weeks, one count per minute, in bounded memory.

A minute without a count is a gap: it is marked, and the mean of the half hour before the gap stands in it (the last count alone
may be a spike, and would be held for hours). A count that comes late replaces its gap.
`KEPT_MIN` is what training needs: 14 days of examples, each of which looks back over 7 days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

KEPT_MIN = 22 * 1440
_HELD_FROM_MIN = 30


@dataclass(frozen=True, slots=True)
class Window:
    """`counts[i]` belongs to minute `first_minute + i` since a midnight; where `gap` is true it stands for an unknown one."""

    first_minute: int
    counts: Floats
    gap: Mask

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def next_minute(self) -> int:
        """The first minute after it."""
        return self.first_minute + len(self)


class Series:
    """Appends in place; when the buffer is full, the newest `KEPT_MIN` minutes move to its front."""

    __slots__ = ("_counts", "_end", "_first_minute", "_gap", "_start")

    def __init__(self) -> None:
        self._counts = np.zeros(2 * KEPT_MIN)
        self._gap = np.zeros(2 * KEPT_MIN, dtype=bool)
        self._first_minute = 0
        self._start = self._end = 0

    @classmethod
    def of(cls, window: Window) -> Series:
        """A series that holds a window, as `copy` gave it; of a longer one the newest part."""
        series, kept = cls(), min(len(window), KEPT_MIN)
        series._counts[:kept] = window.counts[len(window) - kept :]
        series._gap[:kept] = window.gap[len(window) - kept :]
        series._first_minute, series._end = window.first_minute + len(window) - kept, kept
        return series

    @property
    def next_minute(self) -> int:
        """The first minute that was not told yet."""
        return self._first_minute + len(self)

    def __len__(self) -> int:
        return self._end - self._start

    def observe(self, minute: int, count: float | None) -> None:
        """Takes a count in. Minutes that were passed over become gaps; gaps before the first count are forgotten.

        Raises: ValueError: a negative or infinite count.
        """
        if count is not None and not 0 <= count < np.inf:
            raise ValueError(f"minute {minute}: {count} is not a count of requests")
        if minute < self.next_minute and len(self):
            self._amend(minute, count)
            return
        self.skip_to(minute)
        if len(self):
            self._append(self._stand_in(self._end) if count is None else count, count is None)
        elif count is not None:
            self._first_minute = minute
            self._append(count, False)

    def skip_to(self, minute: int) -> None:
        """Marks what is missing before `minute` as gaps. After a silence of longer than is kept it starts anew."""
        if not len(self):
            return
        if minute - self.next_minute > KEPT_MIN:
            self._start = self._end = 0
            return
        for _ in range(self.next_minute, minute):
            self._append(self._stand_in(self._end), True)

    def age_min(self) -> int:
        """Minutes at the end that are gaps."""
        gaps = self._gap[self._start : self._end][::-1]
        return int(np.argmin(gaps)) if len(gaps) and not gaps.all() else len(gaps)

    def view(self) -> Window:
        """What is kept, without a copy: valid until the next `observe`."""
        return Window(self._first_minute, self._counts[self._start : self._end], self._gap[self._start : self._end])

    def copy(self) -> Window:
        view = self.view()
        return Window(view.first_minute, view.counts.copy(), view.gap.copy())

    def _append(self, count: float, is_gap: bool) -> None:
        if self._end == len(self._counts):
            self._make_room()
        self._counts[self._end], self._gap[self._end] = count, is_gap
        self._end += 1
        if len(self) > KEPT_MIN:
            self._start += 1
            self._first_minute += 1

    def _stand_in(self, at: int) -> float:
        """The value of a gap at an index that has a minute before it: the same all through the gap."""
        if self._gap[at - 1]:
            return float(self._counts[at - 1])
        return float(self._counts[max(self._start, at - _HELD_FROM_MIN) : at].mean())

    def _make_room(self) -> None:
        kept = len(self)
        for buffer in (self._counts, self._gap):
            buffer[:kept] = buffer[self._start : self._end]
        self._start, self._end = 0, kept

    def _amend(self, minute: int, count: float | None) -> None:
        at = self._start + minute - self._first_minute
        if count is None or at < self._start or not self._gap[at]:
            return
        known = np.flatnonzero(~self._gap[at + 1 : self._end])
        upto = at + 1 + int(known[0]) if len(known) else self._end
        self._counts[at], self._gap[at] = count, False
        self._counts[at + 1 : upto] = self._stand_in(at + 1)
