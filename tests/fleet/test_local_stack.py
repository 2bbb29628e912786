"""The state folder of a local stack: what `status` reads from it, and that `down` ends everything it stands for."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from fleet.errors import StackError
from fleet.local import agents, commands, leftovers, ports, records, stack, status, tools
from fleet.local.processes import Process, is_alive, marked, start_time, wait_until
from fleet.local.records import Record
from fleet.local.status import Part
from fleet.nomad import Nomad
from tests.servers import ConsulServer

SLEEPER = """
job "t-sleeper" {
  group "main" {
    task "sleeper" {
      driver = "raw_exec"
      config {
        command = "/bin/sleep"
        args = ["1000"]
      }
      resources {
        cpu = 10
        memory = 10
      }
    }
  }
}
"""
DEADLINE_S = 30.0
THIS = Process(os.getpid(), start_time(os.getpid()) or 0)
GONE = Process(THIS.pid, THIS.started - 1)


def agent(name: str, process: Process) -> agents.Agent:
    return agents.Agent(name, f"http://127.0.0.1:1/{name}", process, Path("/no/log"))


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_that_is_not_there_or_empty_is_a_stack_that_is_down(tmp_path: Path, made: bool) -> None:
    state = tmp_path / "state"
    if made:
        state.mkdir()
    assert status.look(state).state == "down"


def test_a_folder_of_somebody_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for use in (stack.down, stack.up, status.look):
        with pytest.raises(StackError, match="not a state folder of warmfleet"):
            use(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    record = Record(phase="up", owner=THIS, fleet="f", router="http://r", parts=("redis", "m"), agents=(agent("nomad", GONE),))
    records.write(tmp_path, record)
    assert records.read(tmp_path) == record


def test_a_damaged_record_is_named_and_still_comes_down(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / records.FILE).write_text('{"phase": "half')
    with pytest.raises(records.Damaged, match="make down"):
        status.look(state)
    assert stack.down(state)
    assert not state.exists()


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Record(phase="starting", owner=GONE), "consul was never started"),
        (Record(phase="up", owner=GONE, agents=(agent("consul", THIS), agent("nomad", GONE))), f"nomad (process {GONE.pid}) has ended"),
        (Record(phase="up", owner=GONE, agents=(agent("consul", GONE), agent("nomad", THIS))), f"consul (process {GONE.pid}) has ended"),
        (Record(phase="starting", owner=THIS, agents=(agent("consul", THIS), agent("nomad", THIS))), "still bringing it up"),
        (Record(phase="starting", owner=GONE, agents=(agent("consul", THIS), agent("nomad", THIS))), "never completely up"),
        (Record(phase="up", owner=GONE, agents=(agent("consul", THIS), agent("nomad", THIS)), parts=("redis",)), "does not answer"),
    ],
    ids=["no agent", "no nomad", "no consul", "starting", "interrupted", "silent"],
)
def test_what_is_wrong_with_a_stack_is_said(tmp_path: Path, record: Record, said: str) -> None:
    records.write(tmp_path, record)
    found = status.look(tmp_path)
    assert found.state == "degraded"
    assert said in "\n".join(found.problems)


def test_of_the_log_of_an_agent_that_ended_the_last_lines_that_mean_something_are_said(tmp_path: Path) -> None:
    log = tmp_path / "nomad.log"
    noise = "[WARN] task_hook.api: error creating task api socket: path=/a/long/one"
    log.write_text("\n".join(["old"] * 20 + ["the reason"] + [noise] * 20))
    dead = agents.Agent("nomad", "http://127.0.0.1:1", GONE, log)
    records.write(tmp_path, Record(phase="up", owner=GONE, agents=(agent("consul", THIS), dead)))
    said = "\n".join(status.look(tmp_path).problems)
    assert said.endswith("the reason")
    assert noise not in said
    assert said.count("old") == 4


@pytest.mark.parametrize(
    ("record", "advised"),
    [
        (Record(phase="starting", owner=GONE), "Run `make down`, then `make up`."),
        (Record(phase="up", owner=GONE, agents=(agent("consul", GONE), agent("nomad", THIS))), "Run `make down`, then `make up`."),
        (Record(phase="starting", owner=THIS), ""),
    ],
    ids=["interrupted", "no consul", "starting"],
)
def test_who_asks_for_the_status_of_what_is_broken_is_told_what_to_do(tmp_path: Path, record: Record, advised: str) -> None:
    records.write(tmp_path, record)
    said = CliRunner().invoke(commands.status, ["--state", str(tmp_path)]).output
    assert said.rstrip().endswith(advised)
    assert ("make down" in said) == bool(advised)


def test_what_nomad_starts_again_is_waited_for_first() -> None:
    part, record = Part("router", "running", 1, 0, 0, 0, ""), Record(phase="up", owner=GONE, agents=(agent("consul", THIS),))
    broken = status.Status("degraded", record, (part,), ("router does not answer: job running, 0 of 1 passing",))
    assert broken.advice.startswith("Nomad starts again what has ended.")
    assert status.Status("up", record, (part,)).advice == ""


def test_of_two_that_take_a_folder_one_succeeds(tmp_path: Path) -> None:
    state = tmp_path / "state"
    records.begin(state, Record(phase="starting", owner=THIS))
    with pytest.raises(StackError, match="in use"):
        records.begin(state, Record(phase="starting", owner=GONE))
    assert [path.name for path in state.iterdir()] == [records.FILE]
    first = records.read(state)
    assert first is not None and first.owner == THIS


@pytest.mark.parametrize(
    ("desired", "running", "passing", "answers", "is_complete"),
    [
        (1, 1, 1, True, True),
        (1, 1, 0, False, False),
        (1, 0, 1, True, False),  # Consul has heard of it before Nomad has
        (3, 3, 1, True, False),
        (0, 0, 0, True, True),
        (1, 2, 2, True, True),
    ],
)
def test_one_warm_replica_answers_and_all_of_them_are_complete(
    desired: int, running: int, passing: int, answers: bool, is_complete: bool
) -> None:
    part = Part("m", "running", desired, running, passing, 0, "")
    assert (part.answers, part.is_complete) == (answers, is_complete)


def test_status_of_nothing_exits_with_3_and_down_of_nothing_with_0(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state")]
    said = CliRunner().invoke(commands.status, [*state, "--json"])
    assert said.exit_code == 3
    assert json.loads(said.output)["state"] == "down"
    ended = CliRunner().invoke(commands.down, state)
    assert (ended.exit_code, ended.output) == (0, "nothing is up\n")


def test_up_beside_what_is_left_of_an_earlier_one_says_so_and_starts_nothing(tmp_path: Path) -> None:
    records.write(tmp_path, Record(phase="starting", owner=GONE))
    refused = CliRunner().invoke(commands.up, ["--state", str(tmp_path)])
    assert isinstance(refused.exception, StackError)
    assert "make down" in str(refused.exception)
    assert marked(tmp_path) == ()


def test_a_port_that_somebody_else_has_is_named_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(StackError, match="is taken by another program"):
        stack.up(tmp_path / "state", usual_ports=False, variables=[f"router.port={other.getsockname()[1]}"])
    assert not (tmp_path / "state").exists()


@pytest.mark.contract
def test_an_agent_whose_port_another_one_was_quicker_to_take_is_not_taken_for_up(consul_server: ConsulServer, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with closing(ports.lease()) as lease:
        taken = urlsplit(consul_server.address).port or 0
        ground = agents.Ground(state, replace(ports.block(lease.base), consul_http=taken), lease)
        late = agents.start_consul(tools.require().consul, ground)
        with pytest.raises(StackError, match="address already in use"):
            agents.await_consul(late)
        leftovers.sweep(state)


@pytest.mark.contract
class TestWithAgents:
    """Agents and one plain job, as `up` leaves them, in a folder of the test's own."""

    @pytest.fixture
    def state(self, tmp_path: Path) -> Iterator[Path]:
        folder = tmp_path / "state"
        yield folder
        if folder.exists():
            leftovers.sweep(folder)

    @pytest.fixture
    def running(self, state: Path) -> Record:
        lease, programs = ports.lease(), tools.require()
        ground = agents.Ground(state, ports.block(lease.base), lease)
        consul = agents.start_consul(programs.consul, ground)
        agents.await_consul(consul)
        nomad = agents.start_nomad(programs.nomad, ground, consul=consul.address)
        agents.await_nomad(nomad)
        lease.close()
        record = Record(phase="up", owner=THIS, fleet="t", parts=("sleeper",), agents=(consul, nomad))
        records.write(state, record)
        api = Nomad(nomad.address)
        api.register(api.parse(SLEEPER))
        assert wait_until(lambda: any(a.client_status == "running" for a in api.allocations("t-sleeper")), DEADLINE_S)
        return record

    def test_a_job_that_was_deployed_later_is_a_part_until_it_is_stopped(self, state: Path, running: Record) -> None:
        records.write(state, replace(running, parts=()))
        assert [(part.name, part.running) for part in status.look(state).parts] == [("sleeper", 1)]
        Nomad(running.address("nomad")).deregister("t-sleeper", purge=False)
        assert status.look(state).parts == ()

    @pytest.mark.parametrize("killed", [(), ("nomad",), ("consul",), ("consul", "nomad")])
    def test_down_leaves_nothing_whoever_was_killed_before(self, state: Path, running: Record, killed: tuple[str, ...]) -> None:
        for name in killed:
            victim = running.agent(name)
            assert victim is not None
            os.kill(victim.process.pid, signal.SIGKILL)
        before, groups = marked(state), list(leftovers.groups_below(state))
        assert sleepers(before)
        assert stack.down(state)
        assert not any(map(is_alive, before))
        assert not any(group.exists() for group in groups)
        assert leftovers.mounts_below(state) == []
        assert not state.exists()
        assert not stack.down(state)


def sleepers(processes: tuple[Process, ...]) -> list[int]:
    return [p.pid for p in processes if Path(f"/proc/{p.pid}/cmdline").read_bytes().startswith(b"/bin/sleep")]
