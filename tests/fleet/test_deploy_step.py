"""What to do next about a deployment, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.deploy.nomad import Deployment
from fleet.deploy.proposal import Way
from fleet.deploy.step import Fresh, View, next_step

RUNNING = Deployment(
    deployment_id="d",
    job_version=2,
    status="running",
    why="",
    desired=2,
    desired_canaries=2,
    canaries=("a", "b"),
    placed=2,
    healthy=2,
    unhealthy=0,
    promoted=False,
    auto_revert=False,
    index=9,
)
PROMOTED = replace(RUNNING, promoted=True)
ROLLING = replace(RUNNING, desired_canaries=0, canaries=(), promoted=True)
OVER = replace(PROMOTED, status="successful")

WARM_A, WARM_B = Fresh("a", warm=True, serves=False), Fresh("b", warm=True, serves=False)
COLD_B = Fresh("b", warm=False, serves=False, trouble="the test prompt got no answer")
SERVING = (Fresh("a", warm=True, serves=True), Fresh("b", warm=True, serves=True))


def view(way: Way, deployment: Deployment | None, *fresh: Fresh, **more: Any) -> View:
    return View(way, deployment, more.pop("replicas", 2), tuple(fresh), **more)


@pytest.mark.parametrize(
    ("case", "kind", "said"),
    [
        (view("beside", RUNNING), "wait", "0 of 2 new replicas are warm"),
        (view("beside", RUNNING, WARM_A, COLD_B), "wait", "1 of 2 new replicas are warm"),
        (view("beside", RUNNING, WARM_A, WARM_B), "promote", ""),
        (view("beside", replace(RUNNING, healthy=1), WARM_A, WARM_B), "wait", "2 of 2"),
        (view("beside", replace(RUNNING, canaries=("a",)), WARM_A, WARM_B), "wait", "1 of 2"),
        (view("beside", PROMOTED, WARM_A, WARM_B), "wait", "healthy"),
        (view("beside", OVER, WARM_A, WARM_B), "wait", "0 of 2 replicas are warm"),
        (view("beside", OVER, *SERVING), "done", ""),
        (view("beside", RUNNING, WARM_A, COLD_B, broken="b died"), "give up", "b died"),
        (view("beside", RUNNING, WARM_A, COLD_B, still_s=61, patience_s=60), "give up", "the test prompt got no answer"),
        (view("beside", RUNNING, WARM_A, COLD_B, still_s=60, patience_s=60), "wait", ""),
        (view("beside", OVER, *SERVING, still_s=61, patience_s=60, broken="old news"), "done", ""),
        (view("beside", replace(RUNNING, status="failed", why="Failed due to progress deadline")), "failed", "progress deadline"),
        (view("beside", replace(RUNNING, status="cancelled", why="Cancelled because job is stopped")), "failed", "stopped"),
        (view("one by one", ROLLING), "wait", "0 of 2 replicas are replaced"),
        (view("one by one", ROLLING, SERVING[0]), "call healthy", ""),
        (view("one by one", ROLLING, replace(SERVING[0], called_healthy=True)), "wait", "1 of 2"),
        (view("one by one", replace(ROLLING, status="successful"), *SERVING), "done", ""),
        (view("start", None, replicas=0), "done", ""),
        (view("start", replace(ROLLING, status="successful"), *SERVING[:1]), "wait", "1 of 2 replicas are warm"),
        (view("by its rules", ROLLING, replicas=0), "wait", "2 of 2 healthy"),
        (view("by its rules", OVER, replicas=0), "done", ""),
        (view("in place", ROLLING, replicas=0), "wait", "healthy"),
    ],
)
def test_the_next_step(case: View, kind: str, said: str) -> None:
    step = next_step(case)
    assert (step.kind, said in step.why) == (kind, True), step


fresh_replicas = st.lists(
    st.builds(Fresh, alloc_id=st.sampled_from("abcd"), warm=st.booleans(), serves=st.booleans(), called_healthy=st.booleans()),
    max_size=4,
    unique_by=lambda f: f.alloc_id,
)


@given(fresh_replicas, st.integers(0, 4), st.lists(st.sampled_from("abcd"), max_size=4, unique=True))
def test_nothing_is_promoted_before_every_canary_is_warm(fresh: list[Fresh], healthy: int, canaries: list[str]) -> None:
    deployment = replace(RUNNING, desired_canaries=3, healthy=healthy, canaries=tuple(canaries))
    step = next_step(view("beside", deployment, *fresh, replicas=3))
    if step.kind == "promote":
        assert len(step.alloc_ids) >= 3  # a canary that was lost and replaced may be back
        assert {f.alloc_id for f in fresh if f.warm} >= set(canaries) & set(step.alloc_ids)


@given(fresh_replicas)
def test_only_warm_replicas_are_called_healthy_and_each_once(fresh: list[Fresh]) -> None:
    step = next_step(view("one by one", ROLLING, *fresh))
    assert set(step.alloc_ids) == {f.alloc_id for f in fresh if f.warm and not f.called_healthy}
