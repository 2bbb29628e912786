"""A file of lines that several processes write to, which is put aside when it is large and deleted when it is old.

    usage.jsonl                                   the newest lines
    usage.jsonl.20261121T140000Z-4711             put aside at that time by that process

Law: lines are added whole, by one write each time to the file that has the name then, so that no line is lost or torn by a rotation. One
process at a time rotates. What a rotation cannot do (a full disk, a missing folder) is the writer's OSError.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 10 * 1024**2
OLDEST_S: Final = 7 * 86400.0


class RotatedFile:
    """`wall`: seconds since the epoch."""

    def __init__(self, path: Path, wall: Callable[[], float], *, most_bytes: int = MOST_BYTES, oldest_s: float = OLDEST_S) -> None:
        self._path = path
        self._wall = wall
        self._most_bytes = most_bytes
        self._oldest_s = oldest_s

    def write(self, lines: list[bytes]) -> None:
        """Raises: OSError"""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._rotate()
            self._add(b"".join(lines))
        finally:
            os.close(lock)

    def _add(self, data: bytes) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)

    def _rotate(self) -> None:
        if not self._path.exists() or self._path.stat().st_size < self._most_bytes:
            return
        now = self._wall()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        self._path.rename(self._free_name(f"{self._path.name}.{stamp}-{os.getpid()}"))
        for old in self._path.parent.glob(f"{self._path.name}.*Z-*"):
            if now - old.stat().st_mtime > self._oldest_s:
                old.unlink()

    def _free_name(self, name: str) -> Path:
        """Two rotations may fall into one second."""
        path, number = self._path.with_name(name), 1
        while path.exists():
            path, number = self._path.with_name(f"{name}.{number}"), number + 1
        return path
