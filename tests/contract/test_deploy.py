"""Delivery against real Nomad and Consul, with tasks that are told how to behave: warm, mute, or dead."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from fleet import names
from fleet.consul import Consul
from fleet.deploy import jobs
from fleet.deploy.display import Row
from fleet.deploy.nomad import Delivery
from fleet.deploy.proposal import Proposal, Wish, propose, read, refreshed
from fleet.deploy.run import FAILED, OK, Model, Run
from fleet.deploy.warmth import Warmth
from fleet.errors import Blocked, Conflict, SpecError, Unreachable
from fleet.local import agents, tools
from fleet.local.processes import wait_until
from router.replicas.snapshot import snapshot
from tests import servers
from tests.servers import NomadServer

pytestmark = pytest.mark.contract

ENGINE = """
import http.server, os, sys
class Engine(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.answer(200, b"ok")
    def do_POST(self): self.answer(int(sys.argv[1]), b'{"choices": [{}]}')
    def answer(self, status, body):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer((os.environ["NOMAD_IP_http"], int(os.environ["NOMAD_PORT_http"])), Engine).serve_forever()
"""


def own_program(job_id: str, fleet: str, script: str, *, auto_revert: bool = False, memory: int = 20) -> str:
    """A job like the router's: replaced by its own rules."""
    return f"""
job "{job_id}" {{
  meta = {{
    "{names.JOB_META_FLEET}" = "{fleet}"
  }}
  group "main" {{
    update {{
      min_healthy_time  = "2s"
      healthy_deadline  = "8s"
      progress_deadline = "10s"
      auto_revert       = {str(auto_revert).lower()}
    }}
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    task "work" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "{script}"]
      }}
      resources {{
        cpu    = 10
        memory = {memory}
      }}
    }}
  }}
}}
"""


def model(job_id: str, fleet: str, version: str, script: Path, *, status: int = 200, count: int = 1, memory: int = 30) -> str:
    """A job like a model's: warm first."""
    meta = f'alloc_id = "${{NOMAD_ALLOC_ID}}"\n version = "{version}"'
    return f"""
job "{job_id}" {{
  meta = {{
    "{names.JOB_META_FLEET}"  = "{fleet}"
    "{names.JOB_META_SOURCE}" = "{version}"
  }}
  group "main" {{
    count = {count}
    scaling {{
      enabled = true
      min     = 1
      max     = 3
    }}
    update {{
      max_parallel     = 3
      min_healthy_time = "0s"
      canary           = 1
      auto_promote     = false
    }}
    network {{
      port "http" {{}}
    }}
    service {{
      name     = "{fleet}-model"
      provider = "consul"
      port     = "http"
      meta {{
        {names.META_MODEL} = "{job_id}"
        {meta}
      }}
      canary_meta {{
        {names.META_CANARY} = "{job_id}"
        {meta}
      }}
      check {{
        type      = "http"
        path      = "/health"
        interval  = "1s"
        timeout   = "5s"
        on_update = "ignore"
      }}
    }}
    task "engine" {{
      driver = "raw_exec"
      config {{
        command = "{sys.executable}"
        args    = ["{script}", "{status}"]
      }}
      resources {{
        cpu    = 10
        memory = {memory}
      }}
    }}
  }}
}}
"""


@dataclass
class Told:
    """What a person would have seen. `meanwhile` happens when replicas are shown for the first time: somebody else does it."""

    lines: list[str] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None

    def say(self, text: str) -> None:
        self.lines.append(text)

    def show(self, title: str, rows: Sequence[Row]) -> None:
        if rows and self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            happens()


class Moody(Delivery):
    """Away now and then, as in elections."""

    asked = 0

    def _call(self, *path: str, **options: Any) -> Any:
        self.asked += 1
        if self.asked in (2, 3, 5, 8, 13, 21, 34):
            raise Unreachable("Nomad is unwell: No cluster leader (HTTP 500)")
        return super()._call(*path, **options)


@dataclass
class World:
    nomad: Delivery
    consul: str
    fleet: str
    script: Path
    told: Told = field(default_factory=Told)
    is_model: bool = False

    @property
    def job_id(self) -> str:
        return f"{self.fleet}-part"

    def proposed(self, text: str, **wish: Any) -> Proposal:
        (proposal,) = propose(self.nomad, read(self.nomad, {"part": text}), Wish(self.fleet, **wish))
        return proposal

    def run(self, *, patience_s: float = 60.0) -> Run:
        """Where the part is a model it is watched with this patience."""
        warmth = Warmth(self.consul, None, f"{self.fleet}-model", self.job_id)
        return Run(self.nomad, {"part": Model(warmth, patience_s)} if self.is_model else {}, self.told)

    def exists(self) -> bool:
        return self.nomad.job(self.job_id) is not None

    def model(self, version: str, *, status: int = 200, count: int = 1, memory: int = 30) -> str:
        self.is_model = True
        return model(self.job_id, self.fleet, version, self.script, status=status, count=count, memory=memory)

    def program(self, script: str, *, auto_revert: bool = False) -> str:
        return own_program(self.job_id, self.fleet, script, auto_revert=auto_revert)

    def live(self) -> set[str]:
        return {a.alloc_id for a in self.nomad.allocations(self.job_id) if a.live}


@pytest.fixture
def world(nomad_server: NomadServer, tmp_path: Path) -> Iterator[World]:
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    made = World(Delivery(nomad_server.address), nomad_server.consul, f"f{uuid4().hex[:8]}", script)
    yield made
    if made.exists():
        made.nomad.deregister(made.job_id)
        wait_until(lambda: not made.live(), 20)


def started(world: World, text: str) -> None:
    """The first version, up."""
    assert world.run().deliver(world.proposed(text)).code == OK
    assert wait_until(lambda: not world.nomad.deployment_active(world.job_id), 30)


def test_what_is_as_described_is_not_touched(world: World) -> None:
    started(world, world.program("sleep 1000"))
    before = world.nomad.job(world.job_id)
    again = world.proposed(world.program("sleep 1000"))
    assert (again.way, again.lines, world.run().deliver(again).code) == ("nothing", (), OK)
    assert world.nomad.job(world.job_id) == before


def test_the_source_of_a_job_is_kept_beside_it(world: World) -> None:
    text = world.program("sleep 1000")
    started(world, text)
    assert world.nomad.source(world.job_id, 0) == text


def test_a_job_of_somebody_else_is_left_alone_unless_taken_over(world: World) -> None:
    world.nomad.register(world.nomad.parse(own_program(world.job_id, "other-fleet", "sleep 1000")))
    with pytest.raises(SpecError, match=r"belongs to fleet 'other-fleet'.*--take-over"):
        world.proposed(world.program("sleep 999"))
    assert world.proposed(world.program("sleep 999"), take_over=True).way == "by its rules"


def test_a_job_changed_between_plan_and_deploy_is_left_as_it_is(world: World) -> None:
    started(world, world.program("sleep 1000"))
    planned = world.proposed(world.program("sleep 1001"))
    world.nomad.register(world.nomad.parse(world.program("sleep 1002")))
    theirs = world.nomad.job(world.job_id)
    with pytest.raises(Conflict, match="changed by somebody else since it was planned"):
        world.run().deliver(planned)
    now = world.nomad.job(world.job_id)
    assert now and theirs and now.modify_index == theirs.modify_index


def test_every_mistake_in_every_job_is_said_before_anything_is_done(world: World) -> None:
    texts = {"a": world.program("x").replace('driver = "raw_exec"', ""), "b": world.program("x").replace("task", "tusk")}
    with pytest.raises(SpecError) as caught:
        read(world.nomad, texts)
    assert [f.where for f in caught.value.findings] == ["a.nomad.hcl", "b.nomad.hcl"]
    assert not world.exists()


def test_a_secret_that_is_missing_is_said_before_anything_is_done(world: World) -> None:
    path = f"nomad/jobs/{world.job_id}"
    waits = f'template {{\n data = "{{{{ with nomadVar \\"{path}\\" }}}}{{{{ .api_key }}}}{{{{ end }}}}"\n destination = "secrets/key"\n}}'
    text = world.program("sleep 1000").replace("resources {", f"{waits}\nresources {{")
    with pytest.raises(SpecError, match=rf"nomad var put -namespace=default {path} api_key=\.\.\.") as caught:
        world.proposed(text)
    assert [f.where for f in caught.value.findings] == ["part.nomad.hcl"]
    variable = {"Namespace": "default", "Path": path, "Items": {"api_key": "x"}}
    url = f"{world.nomad.address}/v1/var/{path}"
    assert wait_until(lambda: requests.put(url, json=variable, timeout=10).ok, 60)  # its keys are not there at once
    try:
        started(world, text)
    finally:
        requests.delete(url, timeout=10)


def test_no_room_is_known_from_the_plan(world: World) -> None:
    (why,) = world.proposed(own_program(world.job_id, world.fleet, "sleep 1", memory=9_000_000)).unplaced
    assert why.why == "resource 'memory' is exhausted on 1 node(s) (of 1 evaluated)"


def test_what_nomad_reverts_by_itself_is_followed_to_its_end_with_the_reason(world: World) -> None:
    started(world, world.program("sleep 1000", auto_revert=True))
    outcome = world.run().deliver(world.proposed(world.program("echo the last words; exit 3", auto_revert=True)))
    assert outcome.code == FAILED
    assert "what ran before runs again" in outcome.text
    assert any("the last words" in line for line in world.told.lines)
    assert any("Exit Code: 3" in line for line in world.told.lines)
    assert world.proposed(world.program("sleep 1000", auto_revert=True)).way == "nothing"


def test_a_replica_that_passes_and_does_not_answer_a_prompt_is_never_promoted(world: World) -> None:
    started(world, world.model("one"))
    old = world.live()
    outcome = world.run(patience_s=4.0).deliver(world.proposed(world.model("two", status=500)))
    assert outcome.code == FAILED
    assert "the test prompt was answered with 500" in outcome.text
    assert "what ran before serves" in outcome.text
    assert world.live() == old
    assert world.nomad.versions(world.job_id)[0].source == "one"


async def seen_by_a_router(world: World) -> tuple[set[str], int]:
    """(allocations that it sends requests to, replicas that pass)"""
    consul = Consul(world.consul)
    seen = await consul.instances(f"{world.fleet}-model")
    await consul.close()
    return {e.alloc_id for e in snapshot(seen.value, seen.index).endpoints}, sum(i.passing for i in seen.value)


def test_a_canary_is_no_endpoint_of_the_router_until_the_next_deploy_promotes_it(world: World) -> None:
    started(world, world.model("one"))
    old = world.live()
    assert world.run().deliver(world.proposed(world.model("two")), detach=True).code == OK
    assert wait_until(lambda: asyncio.run(seen_by_a_router(world)) == (old, 2), 30)
    again = world.proposed(world.model("two"))
    assert again.way == "nothing" and again.resumes
    assert world.run().deliver(again).code == OK
    assert old.isdisjoint(world.live())
    assert asyncio.run(seen_by_a_router(world))[0] - old == world.live()


def test_where_both_versions_do_not_fit_one_by_one_does_and_a_single_replica_needs_consent(world: World) -> None:
    (node,) = requests.get(f"{world.nomad.address}/v1/nodes", {"resources": "true"}, timeout=10).json()
    most = node["NodeResources"]["Memory"]["MemoryMB"] * 6 // 10
    started(world, world.model("one", memory=most))
    old = world.live()
    (why,) = world.proposed(world.model("two", memory=most)).unplaced
    assert "resource 'memory' is exhausted" in why.why
    with pytest.raises(SpecError, match="--floor 0"):
        world.proposed(world.model("two", memory=most), rolling=True)
    rolling = world.proposed(world.model("two", memory=most), rolling=True, floor=0)
    assert (rolling.way, rolling.unplaced) == ("one by one", ())
    assert world.run().deliver(rolling).code == OK
    assert len(world.live()) == 1 and old.isdisjoint(world.live())
    assert world.proposed(world.model("two", memory=most)).way == "nothing"


def test_one_by_one_that_nobody_watched_to_its_end_is_brought_there_by_the_next_deploy(world: World) -> None:
    started(world, world.model("one", count=2))
    old = world.live()
    left = world.proposed(world.model("two", count=2), rolling=True)
    world.nomad.register(left.job, source=left.draft.text, check_index=left.plan.check_index, keep_counts=False)
    assert wait_until(lambda: len(world.live() - old) == 1 == len(world.live() & old), 30)
    again = world.proposed(world.model("two", count=2))
    assert world.run().deliver(again).code == OK
    assert len(world.live()) == 2 and old.isdisjoint(world.live())
    assert world.proposed(world.model("two", count=2)).way == "nothing"
    assert wait_until(lambda: scaled(world, 1), 30)


def test_a_detached_version_that_turns_out_bad_is_given_up_by_the_deploy_that_watches(world: World) -> None:
    started(world, world.model("one"))
    old = world.live()
    world.run().deliver(world.proposed(world.model("two", status=500)), detach=True)
    outcome = world.run(patience_s=4.0).deliver(world.proposed(world.model("two", status=500)))
    assert (outcome.code, world.live()) == (FAILED, old)
    assert world.nomad.versions(world.job_id)[0].source == "one"


def test_who_deploys_at_the_same_time_is_not_undone(world: World) -> None:
    started(world, world.model("one"))
    first = world.proposed(world.model("two", status=500))
    world.told.meanwhile = lambda: world.run().deliver(world.proposed(world.model("three")), detach=True)
    outcome = world.run().deliver(first)
    assert outcome.code == FAILED
    assert "somebody else has registered version 2, which is left as it is" in outcome.text
    assert world.nomad.versions(world.job_id)[0].source == "three"


def test_a_job_that_somebody_stops_meanwhile_is_not_started_again(world: World) -> None:
    started(world, world.model("one"))
    first = world.proposed(world.model("two", status=500))
    world.told.meanwhile = lambda: world.nomad.deregister(world.job_id, purge=False)
    outcome = world.run().deliver(first)
    assert (outcome.code, "somebody else has stopped the job" in outcome.text) == (FAILED, True)
    info = world.nomad.job(world.job_id)
    assert info and info.stopped


def test_going_back_goes_to_what_ran_and_not_to_what_was_never_seen_warm(world: World) -> None:
    started(world, world.model("one"))
    old = world.live()
    world.run().deliver(world.proposed(world.model("two", status=500)), detach=True)
    outcome = world.run(patience_s=4.0).deliver(world.proposed(world.model("three", status=500)))
    assert outcome.code == FAILED
    assert (world.nomad.versions(world.job_id)[0].source, world.live()) == ("one", old)


def test_a_delivery_outlives_elections(world: World) -> None:
    started(world, world.model("one"))
    proposal = world.proposed(world.model("two"))
    eval_id = world.nomad.register(proposal.job, check_index=proposal.plan.check_index, keep_counts=False).eval_id
    assert eval_id
    again, run = world.proposed(world.model("two")), world.run()
    run.nomad = Moody(world.nomad.address)
    assert run.deliver(again).code == OK
    assert world.nomad.versions(world.job_id)[0].source == "two"
    assert any("it is asked again" in line for line in world.told.lines)


def test_a_job_that_was_only_scaled_since_it_was_planned_is_delivered_with_the_count_of_now(world: World) -> None:
    started(world, world.model("one"))
    planned, wish = world.proposed(world.model("two")), Wish(world.fleet)
    assert wait_until(lambda: scaled(world, 2), 30)
    with pytest.raises(Conflict):
        world.run().deliver(planned)
    assert world.run().deliver(refreshed(world.nomad, planned, wish)).code == OK
    assert (len(world.live()), world.nomad.versions(world.job_id)[0].source) == (2, "two")


def test_a_job_that_somebody_has_changed_since_it_was_planned_is_not_planned_anew(world: World) -> None:
    started(world, world.model("one"))
    planned = world.proposed(world.model("two"))
    world.nomad.register(world.nomad.parse(world.model("three")))
    assert refreshed(world.nomad, planned, Wish(world.fleet)) is planned


def scaled(world: World, count: int) -> bool:
    """False while the deployment that the last scaling has made is under way."""
    info = world.nomad.job(world.job_id)
    assert info
    try:
        world.nomad.scale(world.job_id, "main", count, modify_index=info.modify_index, message="", meta={})
    except Blocked:
        return False
    return True


def test_scaled_counts_are_kept_and_do_not_push_a_deployed_version_out_of_memory(world: World) -> None:
    started(world, world.model("one"))
    started(world, world.model("two"))
    for count in (2, 1, 2, 1, 2, 3, 2, 1, 2):
        assert wait_until(lambda count=count: scaled(world, count), 30)
    assert [v.tag for v in world.nomad.versions(world.job_id)] == [""] * 6 + ["one"]
    wider = world.proposed(world.model("two").replace("max     = 3", "max     = 4"))
    assert (wider.way, jobs.count(wider.job)) == ("in place", 2)
    new = world.proposed(world.model("three"))
    assert (new.way, jobs.count(new.job), new.plan.updates["canary"]) == ("beside", 2, 2)
    assert jobs.count(world.proposed(world.model("three"), force_count=True).job) == 1


@contextmanager
def guarded_nomad(consul: str) -> Iterator[str]:
    """A Nomad that wants a token."""
    with servers.ground() as own:
        agent = servers.start("nomad", agents.nomad_config(own.state / "nomad", own.ports, consul) | {"acl": {"enabled": True}}, own)
        assert wait_until(lambda: bool(agents._get(agent.address, "/v1/status/leader")), 60)
        yield agent.address
        agents.stop(agent)


@pytest.mark.parametrize("token", ["", "4d3f9c4e-0000-0000-0000-000000000000", "no token at all"])
def test_a_token_that_may_not_is_one_message(consul_server: servers.ConsulServer, token: str) -> None:
    with guarded_nomad(consul_server.address) as address:
        for command, code in (("plan", 255), ("deploy", 1), ("jobs", 1), ("validate", 1)):
            said = subprocess.run(
                [sys.executable, "-c", "from fleet.cli import main; main()", command, "--address", address],
                cwd=tools.CHECKOUT,
                env=os.environ | {"NOMAD_TOKEN": token},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert (said.returncode, "NOMAD_TOKEN is missing, unknown, or may not do this" in said.stderr) == (code, True), said
            assert len(said.stderr.splitlines()) == 1
