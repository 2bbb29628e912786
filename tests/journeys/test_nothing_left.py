"""`make down` after the worst: Nomad and Consul killed, so that nobody is there who could stop a task or take its folder away.

Ports are not asked: as soon as they are free another test may have them. Who listened is a process, and those are looked for.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.local import leftovers, stack
from fleet.local.processes import is_alive, marked
from tests import servers
from tests.journeys.fleet import Fleet, kill

pytestmark = pytest.mark.journey


def test_after_a_kill_of_both_agents_no_process_mount_control_group_or_folder_is_left() -> None:
    with servers.state_folder() as state:
        fleet = Fleet(state, stack.up(state, usual_ports=False))
        processes, groups = marked(state), list(leftovers.groups_below(state))
        for victim in (fleet.agent_pid("nomad"), fleet.agent_pid("consul"), fleet.engine_pids("small-model")[0]):
            kill(victim, signal.SIGKILL)
        assert any(map(is_alive, processes)), "tasks outlive the agents, so there is something to end"
        assert down(state) == (0, "down\n", "")
        assert not state.exists()
        assert [process for process in (*processes, *marked(state)) if is_alive(process)] == []
        assert leftovers.mounts_below(state) == []
        assert [group for group in groups if group.exists()] == []


def down(state: Path) -> tuple[int, str, str]:
    argv = [sys.executable, "-c", "from fleet.cli import main; main()", "down", "--state", str(state)]
    said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    return said.returncode, said.stdout, said.stderr
