"""Lines that are written beside the requests and never by one: for logs of what was answered.

Law: whoever has something to note adds it to a bounded queue and is done; a task makes lines of it four times a second and writes them in a
thread, so that a log nobody takes away delays no answer. What does not fit, or cannot be written, is counted as lost and said.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

_EVERY_S: Final = 0.25
_MOST_QUEUED: Final = 20_000

T = TypeVar("T")


class Written(Generic[T]):
    """`what`: the log's name in sentences. `line`: a note as one line, with its end. `write`: whole lines, in a thread.

    `write_forever` must run for anything to be written.
    """

    def __init__(self, what: str, line: Callable[[T], bytes], write: Callable[[list[bytes]], object]) -> None:
        self.lost = 0
        self.most_queued = _MOST_QUEUED
        self._what = what
        self._line = line
        self._write = write
        self._queue: list[T] = []

    def put(self, note: T) -> None:
        if len(self._queue) >= self.most_queued:
            self.lost += 1
        else:
            self._queue.append(note)

    async def write_forever(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.write_queued()

    async def write_queued(self) -> None:
        """Everything that has been noted so far."""
        taken, self._queue = self._queue, []
        if self.lost:
            self._say(f"{self.lost} requests are not in the {self._what}: it is not taken away fast enough")
            self.lost = 0
        lines = [self._line(one) for one in taken]
        if lines:
            try:
                await asyncio.to_thread(self._write, lines)
            except OSError as error:
                self._say(f"{len(lines)} lines of the {self._what} could not be written: {error}")

    def _say(self, message: str) -> None:
        log.warning("%s", message, extra={"event": f"{self._what.replace(' ', '_')}_lost"})


def pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines in pieces that a pipe takes at once, so that those of several workers do not run into each other."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > select.PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def to_stdout(lines: list[bytes]) -> None:
    for piece in pieces(lines):
        data = piece
        while data:
            data = data[os.write(1, data) :]
