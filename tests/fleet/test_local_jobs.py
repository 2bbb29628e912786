"""The jobs of a local stack: this machine's values in them, their order, and waiting that ends early where it is in vain."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from fleet.errors import Refused, SpecError, StackError
from fleet.local import jobs, ports, tools
from fleet.local.agents import Agent
from fleet.local.processes import Process
from fleet.local.records import Record
from fleet.local.status import Part, look_at_parts
from fleet.nomad import Nomad
from tests.servers import NomadServer

PROGRAMS = tools.Tools(consul=Path("/bin/consul"), nomad=Path("/bin/nomad"), redis=Path("/opt/a folder/redis-server"))
VALUES = jobs.machine_values(ports.block(20000), PROGRAMS)


def job(job_id: str, script: str, *, cpu: int = 10, disk: int = 300, service: str = "") -> str:
    return f"""
job "{job_id}" {{
  group "main" {{
    ephemeral_disk {{
      size = {disk}
    }}
    network {{
      port "http" {{}}
    }}
    restart {{
      attempts = 9
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }}
    {service}
    task "{job_id.partition("-")[2]}" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args = ["-c", "{script}"]
      }}
      resources {{
        cpu = {cpu}
        memory = 10
      }}
    }}
  }}
}}
"""


def service(name: str, check: str) -> str:
    return f"""service {{
      name = "{name}"
      tags = ["model"]
      port = "http"
      check {{
        type     = "script"
        task     = "model"
        command  = "/bin/{check}"
        interval = "1s"
        timeout  = "1s"
      }}
    }}"""


def test_the_machine_stands_in_the_description_and_the_overlay_below_it() -> None:
    spec = jobs.read(tools.CHECKOUT, VALUES, ()).spec
    assert (spec.fleet.consul, spec.fleet.nomad) == ("http://127.0.0.1:20001", "http://127.0.0.1:20006")
    assert (spec.runtime.python, spec.redis.command) == (sys.executable, "/opt/a folder/redis-server")
    assert (spec.runtime.driver, spec.router.port) == ("raw_exec", 20010)
    assert {Path(model.weights) for model in spec.models} == {jobs.bundled_weights()}


def test_what_the_user_says_wins_over_the_machine() -> None:
    spec = jobs.read(tools.CHECKOUT, VALUES, ["router.port=9999", "model.small-model.weights=/my.gguf"]).spec
    assert spec.router.port == 9999
    assert spec.model("small-model").weights == "/my.gguf"


THIRD = """
[[model]]
name = "third-model"
engine = "llamacpp"
cold_start = "5s"
capacity = {{ concurrency = 2, requests_per_min = 60 }}
{weights}
"""


@pytest.mark.parametrize(("said", "used"), [("", ""), ('weights = "/my.gguf"', "/my.gguf")])
def test_a_model_of_the_overlay_runs_on_the_weights_that_it_names_and_else_on_the_bundled_ones(
    tmp_path: Path, said: str, used: str
) -> None:
    overlay = tmp_path / "local.toml"
    overlay.write_text((tools.CHECKOUT / "jobs" / "local.toml").read_text() + THIRD.format(weights=said))
    spec = jobs.read_over(tools.CHECKOUT / "jobs" / "fleet.toml", overlay, VALUES, ()).spec
    assert spec.model("third-model").weights == (used or str(jobs.bundled_weights()))
    assert spec.model("small-model").weights == str(jobs.bundled_weights())


@pytest.mark.parametrize("broken", ["[[model", 'model = "none"', "model = [1]", "[[model]]\nengine = 'llamacpp'"])
def test_what_is_wrong_with_the_overlay_is_said_of_the_overlay(tmp_path: Path, broken: str) -> None:
    (tmp_path / "local.toml").write_text(broken)
    with pytest.raises(SpecError, match=r"local\.toml"):
        jobs.read_over(tools.CHECKOUT / "jobs" / "fleet.toml", tmp_path / "local.toml", VALUES, ())


def test_jobs_are_rendered_into_a_folder_in_the_order_of_their_needs(tmp_path: Path) -> None:
    rendered = jobs.render(jobs.read(tools.CHECKOUT, VALUES, ()), tools.CHECKOUT / "templates", tmp_path / "jobs")
    assert list(rendered) == ["redis", "small-model", "large-model", "router", "autoscaler"]
    assert {path.name: path.read_text() for path in (tmp_path / "jobs").iterdir()} == {
        f"{part}.nomad.hcl": text for part, text in rendered.items()
    }


@pytest.mark.contract
class TestOnNomad:
    @pytest.fixture
    def stack(self, nomad_server: NomadServer) -> Iterator[Record]:
        """A stack of one model, on the servers of the test run."""
        nobody = Process(0, 0)
        servers = [Agent(n, a, nobody, Path("/no")) for n, a in (("nomad", nomad_server.address), ("consul", nomad_server.consul))]
        record = Record(phase="starting", owner=nobody, fleet=f"f{uuid4().hex[:6]}", parts=("model",), agents=tuple(servers))
        yield record
        jobs.deregister(record, 20.0)
        assert Nomad(nomad_server.address).job(f"{record.fleet}-model") is None

    def run(self, stack: Record, script: str, *, check: str = "true", cpu: int = 10, disk: int = 300) -> list[Sequence[Part]]:
        text = job(f"{stack.fleet}-model", script, cpu=cpu, disk=disk, service=service(f"{stack.fleet}-model", check))
        jobs.register(stack.address("nomad"), {"model": text}, lambda _: None)
        shown: list[Sequence[Part]] = []
        jobs.await_passing(stack, shown.append, 40.0)
        return shown

    def test_waiting_ends_when_everything_passes(self, stack: Record) -> None:
        shown = self.run(stack, "exec sleep 1000")
        assert shown[-1] == (Part("model", "running", 1, 1, 1, 0, ""),)

    def test_a_model_that_wants_no_replica_is_complete(self, stack: Record) -> None:
        text = job(f"{stack.fleet}-model", "exec sleep 1000").replace('group "main" {', 'group "main" {\n    count = 0')
        jobs.register(stack.address("nomad"), {"model": text}, lambda _: None)
        jobs.await_passing(stack, lambda _: None, 40.0)
        assert look_at_parts(stack) == (Part("model", "running", 0, 0, 0, 0, ""),)

    def test_a_task_that_keeps_dying_ends_the_waiting_with_its_last_words(self, stack: Record) -> None:
        with pytest.raises(StackError, match=r"(?s)model does not start: model: Exit Code: 3.*no weights here"):
            self.run(stack, "echo no weights here >&2; exit 3", check="false")

    @pytest.mark.parametrize(
        ("cpu", "disk", "said"),
        [
            (900_000, 300, "cpu exhausted.*; lower its cpu"),
            (10, 900_000_000, "disk exhausted.*; free 2 GB of the disk with the state folder"),
        ],
        ids=["cpu", "disk"],
    )
    def test_what_has_no_place_ends_the_waiting_with_the_reason_and_what_to_do(self, stack: Record, cpu: int, disk: int, said: str) -> None:
        with pytest.raises(StackError, match=rf"model has no place on this machine: {said}"):
            self.run(stack, "exec sleep 1000", cpu=cpu, disk=disk)

    def test_a_job_that_nomad_refuses_is_named(self, stack: Record) -> None:
        with pytest.raises(Refused, match=r"^model: .*"):
            jobs.register(stack.address("nomad"), {"model": 'job "x" {}'}, lambda _: None)

    def test_what_runs_without_passing_is_seen_as_such(self, stack: Record) -> None:
        text = job(f"{stack.fleet}-model", "exec sleep 1000", service=service(f"{stack.fleet}-model", "false"))
        jobs.register(stack.address("nomad"), {"model": text}, lambda _: None)
        with pytest.raises(StackError, match=r"not all replicas pass after .*model \(0 of 1\)"):
            jobs.await_passing(stack, lambda _: None, 4.0)
        assert look_at_parts(stack)[0].running == 1
