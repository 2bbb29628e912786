"""What a person reads: changes, reasons, and what to do."""

from __future__ import annotations

import io
import json
import os
import signal
from dataclasses import replace
from typing import Any

import click
import pytest
from rich.console import Console
from rich.live import Live

from fleet.deploy.diff import changes
from fleet.deploy.display import Row, Screen, display
from fleet.deploy.inspector import broken_of, summary, told
from fleet.deploy.nomad import Plan, Story, unplaced
from fleet.deploy.proposal import Draft, Proposal, Way
from fleet.deploy.text import described_plan, jobs_table, left_over, why_no_room
from fleet.nomad import Job, JobInfo, Unplaced
from fleet.placement import devices


def field(name: str, old: str, new: str) -> dict[str, Any]:
    return {"Type": "Edited" if old and new else "Added" if new else "Deleted", "Name": name, "Old": old, "New": new}


def tree(*fields: dict[str, Any]) -> dict[str, Any]:
    service = {"Type": "Edited", "Name": "Service", "Fields": list(fields), "Objects": None}
    noise = {"Type": "Edited", "Name": "Scaling", "Fields": None, "Objects": None}
    group = {"Type": "Edited", "Name": "main", "Fields": None, "Objects": [noise, service], "Tasks": None}
    return {"Type": "Edited", "ID": "x", "Fields": None, "Objects": None, "TaskGroups": [group]}


def test_what_nomad_calls_edited_without_any_change_is_no_change() -> None:
    same = {"Type": "None", "Name": "Port", "Old": "http", "New": "http"}
    assert changes(tree(same)) == ()


def test_changes_stand_below_the_blocks_they_are_in() -> None:
    lines = [str(line) for line in changes(tree(field("Name", "a", "b"), field("Tag", "", "c"), field("Port", "d", "")))]
    assert [line.rstrip() for line in lines] == [
        "  group 'main'",
        "    Service",
        '    ~ Name: "a" -> "b"',
        '    + Tag: "c"',
        '    - Port: "d"',
    ]


def test_a_description_in_a_template_shows_the_settings_that_change() -> None:
    old = json.dumps({"router": {"port": 8000, "cpu": 1}, "model": [{"name": "small", "context": 1}]})
    new = json.dumps({"router": {"port": 8001, "cpu": 1}, "model": [{"name": "small", "context": 2}], "redis": {"cpu": 5}})
    lines = [str(line).strip() for line in changes(tree(field("EmbeddedTmpl", old, new)))]
    assert lines[2:] == ["EmbeddedTmpl", "~ router.port: 8000 -> 8001", "~ model.small.context: 1 -> 2", '+ redis: {"cpu": 5}']


def test_a_long_value_is_cut() -> None:
    (line,) = [str(line) for line in changes(tree(field("Data", "", "x" * 500))) if line.kind == "added"]
    assert len(line) < 130 and line.endswith("...")


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"DimensionExhausted": {"memory": 2}}, "resource 'memory' is exhausted on 2 node(s) (of 3 evaluated)"),
        ({"ConstraintFiltered": {"missing devices": 3}}, "constraint 'missing devices' leaves 3 node(s) out (of 3 evaluated)"),
        ({"ClassFiltered": {"cpu-only": 1}}, "node class 'cpu-only' leaves 1 node(s) out (of 3 evaluated)"),
        ({"ClassExhausted": {"gpu": 1}}, "node class 'gpu' is exhausted on 1 node(s) (of 3 evaluated)"),
        ({"QuotaExhausted": ["team"]}, "quota 'team' is exhausted (of 3 evaluated)"),
        ({}, "no node fits (of 3 evaluated)"),
        ({"NodesInPool": 0, "NodePool": "gpu"}, "there is no node in node pool 'gpu'"),
        ({"NodesEvaluated": 0, "NodesAvailable": {"dc9": 0}}, "no ready node in datacenters dc9"),
    ],
)
def test_a_placement_failure_names_what_is_missing(metric: dict[str, Any], said: str) -> None:
    (found,) = unplaced({"main": {"NodesEvaluated": 3, "NodesInPool": 3, "CoalescedFailures": 1} | metric})
    assert (found.wanted, found.why) == (2, said)


@pytest.mark.parametrize(
    ("count", "metric", "said"),
    [
        (1, {"DimensionExhausted": {"devices: no devices match request": 2}}, "resource 'device nvidia/gpu' is exhausted on 2 node(s)"),
        (4, {"ConstraintFiltered": {"missing devices": 3}}, "constraint 'need of device nvidia/gpu x 4' leaves 3 node(s) out"),
        (4, {"DimensionExhausted": {"memory": 2}}, "resource 'memory' is exhausted on 2 node(s)"),
    ],
)
def test_a_placement_failure_names_the_device(count: int, metric: dict[str, Any], said: str) -> None:
    wanted = devices({"TaskGroups": [{"Tasks": [{"Resources": {"Devices": [{"Name": "nvidia/gpu", "Count": count}]}}]}]})
    (found,) = unplaced({"main": {"NodesEvaluated": 3, "NodesInPool": 3} | metric}, wanted)
    assert found.why == f"{said} (of 3 evaluated)"


def test_a_device_is_named_with_what_it_must_have() -> None:
    constraint = {"LTarget": "${device.attr.memory}", "Operand": ">=", "RTarget": "40 GiB"}
    device = {"Name": "nvidia/gpu", "Count": 2, "Constraints": [constraint]}
    assert devices({"TaskGroups": [{"Tasks": [{"Resources": {"Devices": [device]}}]}]}) == "nvidia/gpu x 2 with memory >= 40 GiB"


def test_a_job_without_tasks_or_devices_asks_for_none() -> None:
    assert devices({"TaskGroups": None}) == ""
    assert devices({"TaskGroups": [{"Tasks": [{"Resources": None}, {"Resources": {"Devices": None}}]}]}) == ""


def proposal(way: Way, *, count: int = 2, missing: tuple[Unplaced, ...] = (), warnings: str = "") -> Proposal:
    job = Job({"ID": "warmfleet-small", "TaskGroups": [{"Name": "main", "Count": count}]})
    diff = tree(field("Name", "a", "b"))
    return Proposal(Draft("small", "", job), job, None, Plan(diff, {"canary": 2, "leave": 2}, missing, warnings, 41), changes(diff), way)


def test_a_plan_says_what_changes_how_and_the_index_to_deploy_it_with() -> None:
    text = click.unstyle(described_plan(proposal("beside")))
    assert text.splitlines()[0] == "~ small: new version starts beside the old one, takes over when warm (canary 2)"
    assert '~ Name: "a" -> "b"' in text
    assert text.endswith("check index: 41")


def test_a_plan_is_coloured_by_kind_of_change() -> None:
    assert click.style('      ~ Name: "a" -> "b"', fg="yellow")[:5] in described_plan(proposal("beside"))


def test_a_warning_of_nomad_is_passed_on_but_not_the_one_that_is_meant() -> None:
    warnings = (
        '1 warning:\n\n* Group "main" has warnings: 2 errors occurred:'
        "\n\t* Update max parallel count is greater than task group count (3 > 2)."
        "\n\t* something else\n"
    )
    text = click.unstyle(described_plan(proposal("beside", warnings=warnings)))
    assert "Nomad warns: something else" in text
    assert "max parallel" not in text


@pytest.mark.parametrize(
    ("count", "said"), [(3, "--rolling: at least 2 of 3 stay warm"), (1, "it is away for one cold start (say --floor 0 too)")]
)
def test_no_room_for_both_versions_offers_the_way_out(count: int, said: str) -> None:
    text = why_no_room(proposal("beside", count=count, missing=(Unplaced("main", 2, "resource 'memory' is exhausted"),)))
    assert "2 replica(s): resource 'memory' is exhausted" in text
    assert said in text


def test_no_room_for_a_new_job_has_no_rolling_to_offer() -> None:
    assert "--rolling" not in why_no_room(proposal("start", missing=(Unplaced("main", 1, "no node fits"),)))


def story(**changed: Any) -> Story:
    usual: dict[str, Any] = {"alloc_id": "0123456789", "node": "n1", "job_version": 3, "client_status": "running", "desired": "run"}
    usual |= {"tasks": ("small",), "events": (("small", "Task started by client"),), "restarts": 0}
    return Story(**(usual | changed))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, False),
        ({"client_status": "failed"}, True),
        ({"client_status": "lost"}, True),
        ({"restarts": 1}, False),
        ({"restarts": 2}, True),
        ({"restarts": 2, "desired": "stop", "client_status": "complete"}, False),
        ({"client_status": "failed", "job_version": 2}, False),
    ],
)
def test_a_replica_is_broken_when_it_failed_or_keeps_dying(changed: dict[str, Any], expected: bool) -> None:
    assert bool(broken_of((story(**changed),), 3)) is expected


def test_a_failure_is_told_with_events_and_the_end_of_the_logs() -> None:
    events = tuple(("small", f"event {n}") for n in range(20))
    logs = {("small", "stdout"): "", ("small", "stderr"): "\n".join(f"line {n}" for n in range(40))}
    lines = list(told(story(client_status="failed", events=events, restarts=1), logs))
    assert lines[0] == "allocation 01234567 on n1, failed after 1 restart(s)"
    assert lines[1] == "    small: event 8" and lines[12] == "    small: event 19"
    assert lines[13:15] == ["  the end of small's stderr:", "    line 28"] and lines[-1] == "    line 39"


def test_the_summary_names_the_cause_not_the_restart_that_follows_it() -> None:
    events = (("small", "Exit Code: 2"), ("small", "Task restarting in 5s"))
    assert summary(story(events=events, restarts=2)).endswith("running after 2 restart(s): Exit Code: 2")


def test_jobs_are_listed_with_whose_they_are() -> None:
    meta = {"warmfleet.fleet": "warmfleet", "warmfleet.source": "abc"}
    infos = [JobInfo("warmfleet-a", "running", 3, 9, {"main": 2}, meta, stopped=False), JobInfo("b", "dead", 0, 1, {}, {}, stopped=True)]
    lines = jobs_table("warmfleet", infos).splitlines()
    assert lines[1].split() == ["warmfleet-a", "running", "3", "2", "abc", "this", "fleet"]
    assert lines[2].split() == ["b", "stopped", "0", "0", "?", "something", "else"]


@pytest.mark.parametrize(
    ("runs", "updates", "said"),
    [
        (2, {"update in place": 2}, "no task is touched"),
        (3, {"update in place": 2, "stop": 1}, "stopped without being drained: scale it in first"),
        (2, {"update in place": 2, "stop": 2}, "new replicas that nobody promoted are stopped"),
    ],
)
def test_a_change_in_place_that_stops_replicas_says_so(runs: int, updates: dict[str, int], said: str) -> None:
    made = proposal("in place")
    live = JobInfo("wf-small", "running", 1, 41, {"main": runs}, {}, stopped=False)
    lines = click.unstyle(described_plan(replace(made, live=live, plan=replace(made.plan, updates=updates)))).splitlines()
    assert said in lines[0]


@pytest.mark.parametrize("title", ["small: the test prompt was answered with 500: [/INST]", "small: [red]2[/red] of 3", "small: \\["])
def test_a_title_is_shown_as_it_stands_whatever_an_engine_has_said(title: str) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        Screen(live).show(title, [Row("0123", "n1", 1, "loading", "yellow")])
    assert "".join(title.split()) in "".join(out.getvalue().split())


def test_jobs_of_this_fleet_that_nobody_describes_any_more_are_told_with_the_way_out() -> None:
    def job(job_id: str, fleet: str, *, stopped: bool = False) -> JobInfo:
        return JobInfo(job_id, "running", 3, 9, {"main": 2}, {"warmfleet.fleet": fleet}, stopped=stopped)

    infos = [job("wf-a", "wf"), job("wf-old", "wf"), job("wf-ended", "wf", stopped=True), job("wf-2-a", "wf-2")]
    (line,) = left_over("wf", {"wf-a"}, infos)
    assert line.startswith("wf-old runs and is not in the description") and line.endswith("`nomad job stop wf-old` ends it")


def test_a_pipeline_that_is_cancelled_is_told_what_a_person_is_told_at_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), display():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.sigtimedwait([], 30)  # it comes at the next instruction; this one is only for a machine that is slow to deliver it
    assert signal.getsignal(signal.SIGTERM) is before
