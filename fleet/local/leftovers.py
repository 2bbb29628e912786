"""What a stack leaves behind, and its removal: processes, mounts, control groups, the state folder.

Needs nothing but the state folder's path, so it works after any crash. Everything is found by what belongs to the folder: the marker
in the environment, mount points below it, and the allocation ids that Nomad names its control groups after.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet.errors import StackError
from fleet.local.processes import marked, terminate, wait_until

_GRACE_S = 20.0
_EMPTY_S = 2.0
_CGROUPS = Path("/sys/fs/cgroup")
_CGROUP_NAMES = ("*/nomad/{}.*", "nomad.slice/*/{}.*")  # version 1, by controller; version 2


def sweep(state: Path) -> None:
    """Ends every process of a stack, and unmounts and removes everything of it.

    Raises:
        StackError: something does not go away; the message names it.
    """
    groups = list(groups_below(state))
    terminate(marked(state), grace_s=_GRACE_S)
    for point in reversed(mounts_below(state)):
        _unmount(point)
    wait_until(lambda: all(map(_removed, groups)), _EMPTY_S)
    shutil.rmtree(state, onerror=_not_removed)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points below a folder, outer before inner (proc_pid_mountinfo(5), field 5, blanks as octal)."""
    rows = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(row.split(" ")[4].encode().decode("unicode_escape")) for row in rows]
    return sorted(point for point in points if point.is_relative_to(folder))


def groups_below(state: Path) -> Iterator[Path]:
    """Control groups of the allocations of a stack; none where Nomad runs as an ordinary user."""
    allocations = state / "nomad" / "data" / "alloc"
    for allocation in allocations.iterdir() if allocations.is_dir() else ():
        for name in _CGROUP_NAMES:
            yield from _CGROUPS.glob(name.format(allocation.name))


def _removed(group: Path) -> bool:
    """A group is busy for a moment after its last process has ended; one that stays so is empty and harmless."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def _unmount(point: Path) -> None:
    done = subprocess.run(["umount", "--lazy", str(point)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"cannot unmount {point}: {done.stderr.strip()}; run this as the user who started the system")


def _not_removed(_function: Any, path: str, error: Any) -> None:
    if not isinstance(error[1], FileNotFoundError):
        raise StackError(f"cannot remove {path}: {error[1]}; run this as the user who started the system")
