"""CPU time and memory of a process and its descendants, from /proc.

CPU is read from the scheduler's nanoseconds of every thread (schedstat), because a tick of `stat` (10 ms) is too coarse for a few
requests; where the kernel has none, the ticks must do. Wall-clock time is never used: on a busy machine it measures the others.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> tuple[int, ...]:
    """The process and everything it has started, as far as it still runs."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            found += map(int, _read(task / "children").split())
    return tuple(found)


def cpu_s(pid: int) -> float:
    """User and system time of the tree so far, in seconds."""
    return sum(map(_cpu_of, tree(pid)))


def rss_bytes(pid: int) -> int:
    """Resident memory of the tree."""
    return sum(int(_field(pid, "VmRSS")) * 1024 for pid in tree(pid))


def connections(pid: int, *, besides: Collection[int]) -> int:
    """TCP connections that the process itself holds, without those to the given ports of its own servers, such as Redis."""
    held = {_socket(path) for path in (_PROC / str(pid) / "fd").iterdir()}
    rows = [row.split() for row in _read(_PROC / "net" / "tcp").splitlines()[1:]]
    return sum(fields[9] in held and int(fields[2].split(":")[1], 16) not in {0, *besides} for fields in rows)


def _socket(path: Path) -> str:
    """The inode of a descriptor's socket; empty for anything else."""
    try:
        return str(path.readlink()).removeprefix("socket:[").removesuffix("]")
    except FileNotFoundError:
        return ""


def _cpu_of(pid: int) -> float:
    ns = [int(text.split()[0]) for task in _tasks(pid) if (text := _read(task / "schedstat"))]
    return sum(ns) / 1e9 if any(ns) else ticks_s(_read(_PROC / str(pid) / "stat"))


def ticks_s(stat: str) -> float:
    """utime + stime of a line of proc_pid_stat(5), in seconds; the name before may hold spaces and parentheses. Empty: 0."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S if fields else 0.0


def _tasks(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except FileNotFoundError:
        return []


def _field(pid: int, name: str) -> str:
    rows = dict(row.split(":", 1) for row in _read(_PROC / str(pid) / "status").splitlines())
    return rows.get(name, "0").split()[0]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
