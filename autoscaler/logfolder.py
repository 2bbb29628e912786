"""How fast the logs in a local folder grow: the log volume where no Datadog is.

Growth is counted per file by its inode, so that a rotation by renaming is no growth and one by truncating is no shrinking; a copy that is
made before the truncating is told by its size. What stood there at the first look is not growth. Compressed copies of rotated logs are left
out. Looks from a thread, beside the loop.
One folder holds the logs of all: each model gets the same number.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoscaler.signals import LOG_BYTES_PER_MIN, Signal, Unknown, scaled
from autoscaler.window import Point, Window, rate_per_s

_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".zip")
_LOOKS_KEPT = 1000
_USUAL_BYTES = 1e5  # a second: a log that was silent may wake with a megabyte, and that is no jump but what the rule waits for

Sizes = Mapping[int, int]
"""Inode -> bytes."""


def grown(before: Sizes, after: Sizes) -> int:
    """Bytes written between two looks: of a file that is shorter than it was, all of it is new; of a copy, what was not there before."""
    known = sum(size - before[inode] if size >= before[inode] else size for inode, size in after.items() if inode in before)
    return known + sum(size - _copied(size, before, after) for inode, size in after.items() if inode not in before)


def _copied(size: int, before: Sizes, after: Sizes) -> int:
    """Bytes of a new file that had stood in another: one that was truncated since, or has the copy's size on the way to its own."""
    originals = ((was, after[inode]) for inode, was in before.items() if inode in after)
    return max((was for was, now in originals if was <= size and (now < was or size <= now)), default=0)


def sizes(folder: Path) -> Sizes:
    """Raises: OSError: no such folder, or it may not be read. A file that goes away meanwhile is left out."""
    found: dict[int, int] = {}
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False) and not entry.name.endswith(_COMPRESSED):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            found[status.st_ino] = status.st_size
    return found


@dataclass(slots=True)
class LogFolder:
    """`clock`: seconds since the epoch. One task runs it."""

    folder: Path
    interval_s: float
    window_s: float
    max_age_s: float
    clock: Callable[[], float]
    _sizes: Sizes | None = None
    _points: tuple[Point, ...] = ()
    _trouble: str = "it was not looked at yet"

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self.interval_s)

    async def look(self) -> None:
        try:
            after = await asyncio.to_thread(sizes, self.folder)
        except OSError as error:
            self._trouble = f"cannot be read: {error.strerror}; set autoscaler.log_folder to a folder with logs"
            return
        now, total = self.clock(), self._points[-1].value if self._points else 0.0
        new = grown(self._sizes, after) if self._sizes is not None else 0
        kept = [point for point in self._points if now - self.window_s - self.max_age_s <= point.at <= now][-_LOOKS_KEPT:]
        self._sizes, self._points, self._trouble = after, (*kept, Point(now, total + new)), ""

    def signals(self, _model: str, now: float, /) -> Mapping[str, Signal]:
        """The same for every model."""
        if self._trouble:
            return {LOG_BYTES_PER_MIN: Unknown(f"log folder {self.folder} {self._trouble}")}
        volume = rate_per_s(self._points, Window(now, self.window_s, self.max_age_s), usual=_USUAL_BYTES)
        return {LOG_BYTES_PER_MIN: scaled(volume, lambda per_s: 60 * per_s)}

    def remark(self, _now: float, /) -> str:
        return ""
