"""Processes of a local stack: started apart from the terminal, and ended without ever hitting somebody else's.

A process is its pid and its start time: a pid alone may have been given to another process since. Every signal goes through a pidfd
that was opened before the start time was compared, so the process cannot change in between.
All processes of a stack carry its state folder in their environment (MARKER), which Nomad's raw_exec tasks inherit; that is how
tasks are found whose agent was killed. Needs /proc, so Linux.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet.errors import StackError

MARKER = "WARMFLEET_STATE"

_PROC = Path("/proc")
_ALIEN = ("NOMAD_", "CONSUL_", "VAULT_")  # a shell set up for another cluster must not reconfigure ours
_POLL_S = 0.05
_KILL_S = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process for all time: `started` is its start in clock ticks after boot."""

    pid: int
    started: int


def spawn(argv: list[str], log: Path, *, marker: Path, inherit_fd: int | None = None) -> Process:
    """Starts a program in a session of its own, its output appended to `log`, its environment marked with the state folder.

    Raises:
        StackError: the program cannot be started.
    """
    out, append = os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), out, append),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    if inherit_fd is not None:
        actions.append((os.POSIX_SPAWN_DUP2, inherit_fd, inherit_fd))  # onto itself: clears close-on-exec in the child only
    try:
        pid = os.posix_spawn(argv[0], argv, _environment(os.environ, marker), file_actions=actions, setsid=True)
    except OSError as error:
        raise StackError(f"cannot start {argv[0]}: {error.strerror}") from error
    return Process(pid, start_time(pid) or 0)


def is_alive(process: Process) -> bool:
    return start_time(process.pid) == process.started


def listens(process: Process, port: int) -> bool:
    """Whether it is this very process that listens on a TCP port (IPv4), and not another that was quicker to take it."""
    try:
        rows = (_PROC / str(process.pid) / "net" / "tcp").read_text().splitlines()[1:]
        sockets = {f"socket:[{row.split()[9]}]" for row in rows if _is_listener(row.split(), port)}
        return any(str(fd.readlink()) in sockets for fd in (_PROC / str(process.pid) / "fd").iterdir())
    except OSError:  # it has ended, or closed one while we looked
        return False


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks after boot; None where there is no such process, or only its zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else int(fields[19])


def marked(state: Path) -> tuple[Process, ...]:
    """All processes of a stack: those with the marker, those whose working folder is the state folder or below, and their descendants.

    The folder and the descent find programs that overwrite their environment to change their title, as Redis does.
    Processes with a terminal are somebody's shell, and this process and its ancestors are never among them.
    """
    wanted = f"{MARKER}={state}".encode()
    parents = {pid: int(fields[1]) for pid in _pids() if (fields := _stat(pid)) is not None and fields[4] == "0"}
    ours = {pid for pid in parents if _has_marker(pid, wanted) or _works_below(pid, state)}
    while more := {pid for pid, parent in parents.items() if parent in ours and pid not in ours}:
        ours |= more
    ours -= set(_ancestors(os.getpid()))
    return tuple(Process(pid, started) for pid in sorted(ours) if (started := start_time(pid)) is not None)


def terminate(processes: Iterable[Process], *, grace_s: float) -> None:
    """SIGTERM to all, and SIGKILL to those that are still there after `grace_s`. Returns when all are gone.

    Raises:
        StackError: one belongs to another user, or does not die.
    """
    left = _signal_all(_signal_all(tuple(processes), signal.SIGTERM, grace_s), signal.SIGKILL, _KILL_S)
    if left:
        raise StackError(f"processes {', '.join(str(p.pid) for p in left)} do not end; look at them with `ps`")


def wait_until(done: Callable[[], bool], timeout_s: float) -> bool:
    """Polls; False if it was not done in time."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _environment(base: Mapping[str, str], marker: Path) -> dict[str, str]:
    """Nomad, built without cgo, runs no task for a user that has neither an entry in /etc/passwd nor these two, as in some containers."""
    kept = {name: value for name, value in base.items() if not name.startswith(_ALIEN)}
    return {"USER": f"uid-{os.getuid()}", "HOME": str(marker), **kept, MARKER: str(marker)}


def _signal_all(processes: tuple[Process, ...], number: signal.Signals, patience_s: float) -> tuple[Process, ...]:
    for process in processes:
        _signal(process, number)
    wait_until(lambda: not any(map(_lives, processes)), patience_s)
    return tuple(filter(_lives, processes))


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(process):
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise StackError(f"process {process.pid} belongs to another user; run this as the user who started it") from error
    finally:
        os.close(fd)


def _lives(process: Process) -> bool:
    with contextlib.suppress(ChildProcessError):  # not our child, or reaped already
        os.waitpid(process.pid, os.WNOHANG)
    return is_alive(process)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the state on (proc_pid_stat(5), field 3); the name before may hold spaces and parentheses."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _is_listener(row: list[str], port: int) -> bool:
    """A row of /proc/net/tcp (proc_pid_net(5)): local address, a colon, port in hexadecimal; 0A is LISTEN."""
    return row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port


def _has_marker(pid: int, wanted: bytes) -> bool:
    try:
        return wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or gone
        return False


def _works_below(pid: int, folder: Path) -> bool:
    try:
        return (_PROC / str(pid) / "cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0
