"""The growth of a log folder on a real disk: writing, rotating, truncating, and a folder that is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.logfolder import LogFolder, grown
from autoscaler.signals import LOG_BYTES_PER_MIN, Known, Partial, Signal, Unknown


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ({1: 100}, {1: 150}, 50),
        ({1: 100}, {1: 100, 2: 30}, 30),
        ({1: 100}, {1: 20}, 20),  # truncated, and written again
        ({1: 100, 2: 5}, {2: 5}, 0),  # removed
        ({1: 5000}, {1: 0, 2: 5000}, 0),  # copied and truncated
        ({1: 5000}, {1: 70, 2: 5400}, 470),  # the same, while it was written to
        ({1: 5000}, {1: 5000, 2: 5000}, 0),  # copied, and not truncated yet
        ({1: 5000, 2: 5000}, {1: 0, 2: 5000}, 0),
        ({1: 5000, 2: 30}, {1: 5200, 2: 30, 3: 900}, 1100),  # another file, and no copy
        ({}, {}, 0),
    ],
)
def test_growth_by_inode(before: dict[int, int], after: dict[int, int], new: int) -> None:
    assert grown(before, after) == new


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def look(watched: LogFolder, clock: Clock) -> Signal:
    clock.now += 10
    await watched.look()
    return watched.signals("any", clock.now)[LOG_BYTES_PER_MIN]


async def test_what_is_written_counts_once_and_a_rotation_does_not(tmp_path: Path) -> None:
    clock = Clock()
    watched, log = LogFolder(tmp_path, 10, 20, 45, clock), tmp_path / "api_server.log"
    log.write_bytes(b"x" * 5000)  # stood there before: no growth
    assert isinstance(await look(watched, clock), Unknown)
    log.write_bytes(b"x" * 6000)
    assert await look(watched, clock) == Partial(6000.0, 0.0, "only 10 s of the 20 s window were seen")
    log.rename(tmp_path / "api_server.log.1")
    log.write_bytes(b"y" * 500)
    (tmp_path / "api_server.log.2.gz").write_bytes(b"z" * 9999)
    assert await look(watched, clock) == Known(4500.0, 0.0)
    await look(watched, clock)
    assert await look(watched, clock) == Known(0.0, 0.0)


async def test_a_rotation_that_copies_and_truncates_is_no_flood(tmp_path: Path) -> None:
    clock = Clock()
    watched, log = LogFolder(tmp_path, 10, 20, 45, clock), tmp_path / "engine.log"
    log.write_bytes(b"x" * 5_000_000)
    for _ in range(3):
        await look(watched, clock)
    shutil.copy(log, tmp_path / "engine.log.1")
    os.truncate(log, 0)
    assert await look(watched, clock) == Known(0.0, 0.0)


async def test_a_silent_log_that_wakes_with_megabytes_is_a_volume_and_no_jump(tmp_path: Path) -> None:
    clock = Clock()
    watched, log = LogFolder(tmp_path, 10, 60, 45, clock), tmp_path / "engine.log"
    log.touch()
    for _ in range(6):
        await look(watched, clock)
    with log.open("ab") as out:
        out.truncate(20_000_000)
    assert await look(watched, clock) == Known(pytest.approx(20e6), 0.0)


@pytest.mark.parametrize(("make", "says"), [(Path.touch, "Not a directory"), (lambda path: path.symlink_to(path), "symbolic links")])
async def test_what_cannot_be_looked_into_says_why(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    make(tmp_path / "logs")
    seen = await look(LogFolder(tmp_path / "logs", 10, 20, 45, Clock()), Clock())
    assert isinstance(seen, Unknown)
    assert says in seen.why


async def test_a_folder_that_is_not_there_is_unknown_until_it_is(tmp_path: Path) -> None:
    clock = Clock()
    watched = LogFolder(tmp_path / "logs", 10, 20, 45, clock)
    assert "was not looked at yet" in watched.signals("any", clock.now)[LOG_BYTES_PER_MIN].why  # type: ignore[union-attr]
    assert "No such file or directory; set autoscaler.log_folder" in (await look(watched, clock)).why  # type: ignore[union-attr]
    (tmp_path / "logs").mkdir()
    for _ in range(3):
        seen = await look(watched, clock)
    assert seen == Known(0.0, 0.0)
