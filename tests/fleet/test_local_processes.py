"""Processes of a stack are found by what they carry, and ended without hitting others."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import StackError
from fleet.local.processes import MARKER, Process, is_alive, listens, marked, spawn, start_time, terminate, wait_until

SLEEP = ["/bin/sleep", "1000"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)",
]
PARENT = ["/bin/sh", "-c", "env -i /bin/sleep 1000 & wait"]
READY_S = 20.0


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    terminate(marked(tmp_path), grace_s=0)


def started(argv: list[str], state: Path) -> Process:
    return spawn(argv, state / "log", marker=state)


def test_a_process_is_alive_until_it_is_ended(state: Path) -> None:
    process = started(SLEEP, state)
    assert is_alive(process)
    terminate([process], grace_s=READY_S)
    assert not is_alive(process)


def test_one_that_ignores_sigterm_is_killed(state: Path) -> None:
    process = started(DEAF, state)
    assert wait_until(lambda: "deaf" in (state / "log").read_text(), READY_S)
    terminate([process], grace_s=0.1)
    assert not is_alive(process)


def test_a_pid_that_was_given_to_another_process_is_left_alone(state: Path) -> None:
    process = started(SLEEP, state)
    earlier = dataclasses.replace(process, started=process.started - 1)
    assert not is_alive(earlier)
    terminate([earlier], grace_s=READY_S)
    assert is_alive(process)


def test_ending_what_is_gone_is_no_error(state: Path) -> None:
    process = started(SLEEP, state)
    for _ in range(2):
        terminate([process], grace_s=READY_S)


def test_a_zombie_counts_as_gone() -> None:
    with subprocess.Popen(["/bin/true"]) as child:
        assert wait_until(lambda: start_time(child.pid) is None, READY_S)


def test_who_listens_on_a_port_is_the_process_that_does_and_no_other(state: Path) -> None:
    this, other = Process(os.getpid(), start_time(os.getpid()) or 0), started(SLEEP, state)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert (listens(this, port), listens(other, port)) == (True, False)
    assert not listens(this, port)
    terminate([other], grace_s=READY_S)
    assert not listens(other, port)


def test_a_program_that_is_not_there_is_named(state: Path) -> None:
    with pytest.raises(StackError, match=r"cannot start /no/such/program: No such file"):
        started(["/no/such/program"], state)


def test_processes_are_found_by_the_marker_and_only_those_of_this_folder(state: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    ours, theirs = started(SLEEP, state), started(SLEEP, other)
    assert marked(state) == (ours,)
    assert marked(other) == (theirs,)
    terminate([theirs], grace_s=READY_S)


def test_a_child_without_the_marker_is_found_by_descent(state: Path) -> None:
    started(PARENT, state)
    assert wait_until(lambda: len(marked(state)) == 2, READY_S)


def test_a_process_without_the_marker_is_found_by_its_folder(state: Path) -> None:
    folder = state / "task"
    folder.mkdir()
    with subprocess.Popen(SLEEP, cwd=folder, env={}, start_new_session=True) as orphan:
        assert [p.pid for p in marked(state)] == [orphan.pid]
        orphan.kill()


def test_this_process_is_never_found(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state)
    assert os.getpid() not in {p.pid for p in marked(state)}


def test_a_program_starts_apart_from_the_terminal_with_a_clean_environment(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOMAD_ADDR", "http://elsewhere")
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "elsewhere")
    process = started(SLEEP, state)
    assert os.getsid(process.pid) == process.pid
    read = Path(f"/proc/{process.pid}/environ").read_text
    assert wait_until(lambda: read() != "", 30.0)  # empty for a moment while the program is being loaded
    environment = read()
    assert "elsewhere" not in environment
    assert f"{MARKER}={state}" in environment.split("\0")


def test_only_the_given_descriptor_is_inherited(state: Path) -> None:
    with (state / "held").open("w") as held, (state / "other").open("w") as other:
        os.set_inheritable(other.fileno(), False)
        process = spawn(SLEEP, state / "log", marker=state, inherit_fd=held.fileno())
        targets = {fd.readlink() for fd in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert state / "held" in targets
    assert state / "other" not in targets


def test_signals_reach_a_process_once_it_is_known(state: Path) -> None:
    process = started(SLEEP, state)
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(process), READY_S)
    terminate([process], grace_s=0)  # reaps it
