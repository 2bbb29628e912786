"""How a job is prepared: whose count it is, and what a change of version looks like."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.deploy import jobs
from fleet.nomad import Job


def job(count: int = 1, *, canary: int = 1, auto: bool = False, bounds: tuple[int, int] | None = (1, 5)) -> Job:
    group: dict[str, Any] = {"Name": "main", "Count": count, "Scaling": {"Min": bounds[0], "Max": bounds[1]} if bounds else None}
    group["Update"] = {"Canary": canary, "AutoPromote": auto, "MaxParallel": 5, "HealthCheck": "checks"}
    return Job({"ID": "x", "TaskGroups": [group]})


def update(prepared: Job) -> dict[str, Any]:
    group: dict[str, Any] = prepared["TaskGroups"][0]
    return group["Update"]


def test_parts_go_in_the_order_in_which_they_need_each_other() -> None:
    parts = ("datadog-agent", "small", "autoscaler", "router", "redis", "large")
    assert jobs.in_order(parts) == ("redis", "small", "large", "router", "autoscaler", "datadog-agent")


@pytest.mark.parametrize(
    ("bounds", "described", "running", "expected"),
    [((1, 5), 1, 3, 3), ((1, 2), 1, 3, 2), ((2, 5), 2, 1, 2), ((0, 5), 1, 0, 0), (None, 2, 3, 2)],
)
def test_the_running_count_is_kept_within_bounds_where_the_autoscaler_owns_it(
    bounds: tuple[int, int] | None, described: int, running: int, expected: int
) -> None:
    assert jobs.count(jobs.kept(job(described, bounds=bounds), {"main": running})) == expected


@pytest.mark.parametrize(("canary", "auto", "expected"), [(1, False, True), (1, True, False), (0, False, False)])
def test_a_job_is_warm_first_where_canaries_wait_for_us(canary: int, auto: bool, expected: bool) -> None:
    assert jobs.is_warm_first(job(canary=canary, auto=auto)) is expected


def test_a_group_without_an_update_block_is_not_warm_first() -> None:
    assert not jobs.is_warm_first(Job({"ID": "x", "TaskGroups": [{"Name": "main", "Count": 1, "Update": None}]}))


def with_template(text: str) -> Job:
    return Job({"ID": "x", "TaskGroups": [{"Name": "main", "Tasks": [{"Templates": [{"EmbeddedTmpl": text}]}, {"Templates": None}]}]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing", {}),
        ('{{ with nomadVar "a/b" }}K={{ .key }} L={{.other}} M={{ .key }}{{ end }}', {"a/b": ("key", "other")}),
        ('{{ if nomadVarExists "a/b" }}{{ with nomadVar "a/b" }}K={{ .key }}{{ end }}{{ end }}', {}),
    ],
)
def test_a_secret_is_a_variable_that_a_task_waits_for(text: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert jobs.secrets(with_template(text)) == expected


@given(st.integers(0, 5))
def test_beside_there_are_as_many_canaries_as_replicas(count: int) -> None:
    assert update(jobs.beside(job(count)))["Canary"] == max(1, count)


@given(st.integers(1, 5), st.integers(0, 4))
def test_one_by_one_the_floor_stays_and_health_is_ours_to_tell(count: int, floor: int) -> None:
    prepared = update(jobs.one_by_one(job(count), floor))
    assert (prepared["Canary"], prepared["HealthCheck"]) == (0, "manual")
    assert prepared["MaxParallel"] == 1 or count - prepared["MaxParallel"] == floor


@given(st.integers(1, 5))
def test_a_version_that_went_one_by_one_can_be_registered_as_usual_again(count: int) -> None:
    again = jobs.usual(jobs.one_by_one(job(count), 1))
    assert jobs.is_warm_first(again)
    assert update(again)["HealthCheck"] == "checks"
    assert jobs.usual(job(count)) == job(count)


def test_how_many_canaries_there_are_is_no_change_of_the_job() -> None:
    assert jobs.with_canaries_of(job(canary=1), job(canary=3)) == job(canary=3)
    assert jobs.with_canaries_of(job(canary=1), job(canary=0)) == job(canary=1)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda j: jobs.kept(j, {"main": 4}),
        lambda j: jobs.counted(j, {"main": 4}),
        jobs.beside,
        lambda j: jobs.one_by_one(j, 1),
        lambda j: jobs.with_canaries_of(j, job(canary=4)),
    ],
)
def test_the_job_passed_in_stays_as_it_was(prepare: Any) -> None:
    given_job = job(3)
    before = copy.deepcopy(given_job)
    assert prepare(given_job) != before
    assert given_job == before
