"""fleet.nomad against a real Nomad: what its answers mean, and what it refuses."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from fleet.errors import Blocked, Conflict, Refused, Unreachable
from fleet.local.processes import wait_until
from fleet.nomad import Allocation, Nomad, Registration
from tests.servers import NomadServer

pytestmark = pytest.mark.contract

T = TypeVar("T")

NO_DEPLOYMENTS = "update {\n max_parallel = 0\n }"
LONG_DEPLOYMENT = 'update {\n min_healthy_time = "5m"\n healthy_deadline = "10m"\n progress_deadline = "20m"\n }'
NO_RETRY = 'restart {\n attempts = 0\n mode = "fail"\n }\n reschedule {\n attempts = 0\n unlimited = false\n }'
KEEP_TRYING = 'restart {\n attempts = 9\n interval = "10m"\n delay = "1s"\n mode = "delay"\n }'


def hcl(job_id: str, script: str = "sleep 1000", *, count: int = 1, group: str = NO_DEPLOYMENTS, memory: int = 10, job: str = "") -> str:
    return f"""
job "{job_id}" {{
  {job}
  meta {{
    colour = "green"
  }}
  group "main" {{
    count = {count}
    {group}
    task "work" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args = ["-c", "{script}"]
      }}
      resources {{
        cpu = 10
        memory = {memory}
      }}
    }}
  }}
}}
"""


@pytest.fixture
def nomad(nomad_server: NomadServer) -> Nomad:
    return Nomad(nomad_server.address)


@pytest.fixture
def job_id(nomad: Nomad) -> Iterator[str]:
    name = f"job-{uuid4().hex[:8]}"
    yield name
    if nomad.job(name):
        nomad.deregister(name)


def submit(nomad: Nomad, text: str, **options: Any) -> Registration:
    return nomad.register(nomad.parse(text), **options)


def eventually(read: Callable[[], T], wanted: Callable[[T], object], timeout_s: float = 30.0) -> T:
    seen: list[T] = []

    def holds() -> bool:
        seen.append(read())
        return bool(wanted(seen[-1]))

    assert wait_until(holds, timeout_s), f"still {seen[-1]}"
    return seen[-1]


def running(nomad: Nomad, job_id: str, count: int) -> tuple[Allocation, ...]:
    def read() -> tuple[Allocation, ...]:
        return tuple(a for a in nomad.allocations(job_id) if a.live and a.client_status == "running")

    return eventually(read, lambda live: len(live) == count)


def test_a_syntax_error_is_refused_with_its_line(nomad: Nomad) -> None:
    with pytest.raises(Refused, match=r"(?s)4.*nonsense"):
        nomad.parse('job "x" {\n  group "main" {\n    count = 1\n    nonsense = 2\n  }\n}\n')


def test_a_good_job_has_no_errors_and_a_bad_one_says_which(nomad: Nomad, job_id: str) -> None:
    assert nomad.validate(nomad.parse(hcl(job_id))) == ()
    errors = nomad.validate(nomad.parse(hcl(job_id, count=-1)))
    assert any("count" in error.lower() for error in errors), errors


def test_a_registered_job_is_described(nomad: Nomad, job_id: str) -> None:
    assert nomad.job(job_id) is None
    registered = submit(nomad, hcl(job_id, count=2), source="the source")
    info = eventually(lambda: nomad.job(job_id), lambda job: job and job.status == "running")
    assert info is not None
    assert (info.counts, info.stopped, info.version, info.meta) == ({"main": 2}, False, 0, {"colour": "green"})
    assert info.modify_index == registered.modify_index
    assert json.loads(raw(nomad, f"/v1/job/{job_id}/submission?version=0"))["Source"] == "the source"


def test_a_stopped_job_is_still_listed_and_a_purged_one_is_not(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id))
    nomad.deregister(job_id, purge=False)
    assert [(job.job_id, job.stopped) for job in nomad.jobs(job_id[:-1])] == [(job_id, True)]
    nomad.deregister(job_id)
    assert nomad.jobs(job_id) == ()


@pytest.mark.parametrize(("index", "taken"), [(None, True), (0, False), (1, False), ("current", True)])
def test_check_and_set_of_a_registration(nomad: Nomad, job_id: str, index: int | str | None, taken: bool) -> None:
    current = submit(nomad, hcl(job_id), check_index=0).modify_index
    check = current if index == "current" else index
    if taken:
        assert submit(nomad, hcl(job_id, "sleep 999"), check_index=check).modify_index > current
    else:
        with pytest.raises(Conflict):
            submit(nomad, hcl(job_id, "sleep 999"), check_index=check)


@pytest.mark.parametrize(("keep", "count"), [(True, 2), (False, 1)])
def test_a_new_version_keeps_the_scaled_count_unless_told_otherwise(nomad: Nomad, job_id: str, keep: bool, count: int) -> None:
    first = submit(nomad, hcl(job_id))
    nomad.scale(job_id, "main", 2, modify_index=first.modify_index, message="", meta={})
    submit(nomad, hcl(job_id, "sleep 999"), keep_counts=keep)
    info = nomad.job(job_id)
    assert info is not None and info.counts == {"main": count}


def test_scaling_places_replicas_by_index_and_leaves_the_reason(nomad: Nomad, job_id: str) -> None:
    first = submit(nomad, hcl(job_id))
    running(nomad, job_id, 1)
    assert nomad.scale(job_id, "main", 3, modify_index=first.modify_index, message="demand is 5", meta={"demand": 5})
    assert [a.index for a in running(nomad, job_id, 3)] == [0, 1, 2]
    event = json.loads(raw(nomad, f"/v1/job/{job_id}/scale"))["TaskGroups"]["main"]["Events"][0]
    assert (event["Message"], event["Meta"]) == ("demand is 5", {"demand": 5})
    assert nomad.scaled_at(job_id, "main")[-1] == pytest.approx(event["Time"] / 1e9)


def test_scaling_in_ends_the_highest_index(nomad: Nomad, job_id: str) -> None:
    first = submit(nomad, hcl(job_id, count=3))
    before = {a.index: a.alloc_id for a in running(nomad, job_id, 3)}
    nomad.scale(job_id, "main", 2, modify_index=first.modify_index, message="", meta={})
    assert {a.alloc_id for a in running(nomad, job_id, 2)} == {before[0], before[1]}


def test_scaling_a_job_that_has_changed_since_is_a_conflict(nomad: Nomad, job_id: str) -> None:
    old = submit(nomad, hcl(job_id)).modify_index
    submit(nomad, hcl(job_id, "sleep 999"))
    with pytest.raises(Conflict):
        nomad.scale(job_id, "main", 2, modify_index=old, message="", meta={})
    info = nomad.job(job_id)
    assert info is not None and info.counts == {"main": 1}


def test_scaling_during_a_deployment_is_blocked(nomad: Nomad, job_id: str) -> None:
    registered = submit(nomad, hcl(job_id, group=LONG_DEPLOYMENT))
    eventually(lambda: nomad.deployment_active(job_id), bool)
    with pytest.raises(Blocked, match="deployment"):
        nomad.scale(job_id, "main", 2, modify_index=registered.modify_index, message="", meta={})


def test_scaling_what_does_not_exist_is_refused(nomad: Nomad, job_id: str) -> None:
    with pytest.raises(Refused, match="not found"):
        nomad.scale(job_id, "main", 2, modify_index=1, message="", meta={})


def test_a_job_without_deployments_has_none_active(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id))
    running(nomad, job_id, 1)
    assert not nomad.deployment_active(job_id)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"memory": 9_000_000}, "memory exhausted on 1 node"),
        ({"job": 'constraint {\n attribute = "${attr.kernel.name}"\n value = "plan9"\n }'}, "plan9 filtered 1 node"),
    ],
)
def test_what_has_no_place_says_why(nomad: Nomad, job_id: str, options: dict[str, Any], why: str) -> None:
    submit(nomad, hcl(job_id, **options))
    (unplaced,) = eventually(lambda: nomad.unplaced(job_id), bool)
    assert (unplaced.group, unplaced.wanted) == ("main", 1)
    assert why in unplaced.why


def test_replicas_that_wait_for_a_place_are_counted(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id, count=3, memory=9_000_000))
    (unplaced,) = eventually(lambda: nomad.unplaced(job_id), bool)
    assert unplaced.wanted == 3


def test_what_has_a_place_is_not_unplaced(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id))
    running(nomad, job_id, 1)
    assert nomad.unplaced(job_id) == ()


def test_an_allocation_tells_how_its_task_failed(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id, "echo before >&2; exit 3", group=NO_RETRY))
    failed = eventually(lambda: nomad.allocations(job_id), lambda all_: all_ and all_[0].client_status == "failed")[0]
    assert "Exit Code: 3" in failed.failure
    assert not failed.live
    assert nomad.logs(failed.alloc_id, "work").strip() == "before"


def test_an_allocation_counts_the_restarts_of_a_task_that_keeps_ending(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id, "exit 3", group=KEEP_TRYING))
    (dying,) = eventually(lambda: nomad.allocations(job_id), lambda all_: all_ and all_[0].restarts >= 2)
    assert dying.live
    assert dying.failure


def test_a_healthy_allocation_has_no_failure(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id))
    (healthy,) = running(nomad, job_id, 1)
    assert (healthy.failure, healthy.restarts, healthy.job_version) == ("", 0, 0)
    assert healthy.started_at >= healthy.created_at - 1


def test_a_stopped_allocation_is_replaced(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id))
    (old,) = running(nomad, job_id, 1)
    nomad.stop_allocation(old.alloc_id)
    eventually(lambda: running(nomad, job_id, 1)[0].alloc_id, lambda alloc_id: alloc_id != old.alloc_id)


def test_logs_are_the_tail(nomad: Nomad, job_id: str) -> None:
    submit(nomad, hcl(job_id, "seq 1000; echo end; sleep 1000"))
    (alloc,) = running(nomad, job_id, 1)
    text = eventually(lambda: nomad.logs(alloc.alloc_id, "work", "stdout", tail_bytes=12), lambda text: text.endswith("end\n"))
    assert text == "99\n1000\nend\n"


def test_logs_of_an_allocation_that_does_not_exist_are_refused(nomad: Nomad) -> None:
    with pytest.raises(Refused):
        nomad.logs("00000000-0000-0000-0000-000000000000", "work")


def test_an_address_where_nobody_listens_is_unreachable() -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
        Nomad("http://127.0.0.1:1").ready_nodes()


def test_the_environment_overrides_nothing(nomad_server: NomadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NOMAD_ADDR": "http://127.0.0.1:1", "NOMAD_NAMESPACE": "other", "http_proxy": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    assert Nomad(nomad_server.address).ready_nodes() == 1


def test_a_job_of_another_namespace_is_only_seen_there(nomad: Nomad, job_id: str) -> None:
    raw(nomad, "/v1/namespace", {"Name": "elsewhere"})
    there = Nomad(nomad.address, namespace="elsewhere")
    registered = submit(there, hcl(job_id, job='namespace = "elsewhere"'))
    try:
        assert nomad.job(job_id) is None and nomad.jobs(job_id) == ()
        assert [job.job_id for job in there.jobs(job_id)] == [job_id]
        (alloc,) = running(there, job_id, 1)
        assert there.logs(alloc.alloc_id, "work") == ""
        there.scale(job_id, "main", 2, modify_index=registered.modify_index, message="", meta={})
        running(there, job_id, 2)
    finally:
        there.deregister(job_id)


def raw(nomad: Nomad, path: str, body: dict[str, Any] | None = None) -> str:
    """What Nomad itself says, past the adapter."""
    connection = http.client.HTTPConnection(urlsplit(nomad.address).netloc, timeout=10)
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, text
        return text
    finally:
        connection.close()
