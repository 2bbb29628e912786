"""Capacity by state, and measured cold starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.capacity import Capacity, capacity, of_model
from autoscaler.coldstart import ColdStarts, measure
from fleet.nomad import Unplaced
from tests.autoscaler.build import NOW, allocation, instance, replica


def test_running_is_not_warm() -> None:
    seen = capacity(2, [allocation(0), allocation(1)], [], [instance(0), instance(1, passing=False)])
    assert (seen.placed, seen.ready, seen.count("loading"), seen.missing) == (2, 1, 1, 0)


def test_ended_and_stopping_allocations_are_no_capacity() -> None:
    rows = [allocation(0), allocation(1, client_status="complete"), allocation(2, desired="stop")]
    assert capacity(1, rows, [], [instance(i) for i in range(3)]).placed == 1


def test_a_draining_replica_is_not_ready() -> None:
    seen = capacity(2, [allocation(0), allocation(1)], [], [instance(0), instance(1)], draining=["alloc-1"])
    assert (seen.ready, seen.count("draining")) == (1, 1)
    assert seen.with_draining(()).ready == 2


@pytest.mark.parametrize(
    ("allocations", "unplaced", "why"),
    [
        ([], [Unplaced("main", 2, "memory exhausted on 1 node(s)")], "memory exhausted on 1 node(s)"),
        ([allocation(0, client_status="failed", failure="engine: exit 1")], [], "the last one failed: engine: exit 1"),
        ([], [], "Nomad has not placed it yet"),
    ],
)
def test_what_is_missing_has_a_reason(allocations: list, unplaced: list, why: str) -> None:  # type: ignore[type-arg]
    seen = capacity(2, allocations, unplaced, [])
    assert (seen.missing, seen.missing_why) == (2, why)


def test_nothing_missing_has_no_reason() -> None:
    assert capacity(1, [allocation(0)], [Unplaced("main", 1, "old news")], []).missing_why == ""


@pytest.mark.parametrize(("target", "victims"), [(0, [9, 4, 0]), (1, [9, 4]), (2, [9]), (3, []), (7, [])])
def test_nomad_stops_the_highest_indexes(target: int, victims: list[int]) -> None:
    seen = Capacity(3, tuple(replica(i) for i in (0, 4, 9)))
    assert [r.index for r in seen.victims(target)] == victims


def test_instances_of_other_models_do_not_count() -> None:
    assert of_model([instance(0), instance(1, model="large-model")], "small-model") == (instance(0),)


# Cold starts.

LOADING = replace(replica(1, passing=False), since=NOW)
WARM = replace(replica(1), since=NOW)


def test_a_start_ends_between_two_passes() -> None:
    cold, _ = measure(ColdStarts(600), [LOADING], NOW + 90)
    cold, ended = measure(cold, [WARM], NOW + 100)
    assert ended == (95.0,)
    assert (cold.p50_s, cold.measured_s) == (95.0, (95.0,))


def test_a_replica_that_was_warm_at_first_sight_tells_nothing() -> None:
    assert measure(ColdStarts(600), [WARM], NOW + 100)[1] == ()


def test_a_replica_that_fails_after_it_passed_is_not_loading() -> None:
    cold, _ = measure(ColdStarts(600), [WARM], NOW)
    cold, _ = measure(cold, [LOADING], NOW + 10)
    assert cold.loading == {}
    assert measure(cold, [WARM], NOW + 20)[1] == ()


def test_a_broken_replica_found_at_the_start_is_not_loading() -> None:
    cold, _ = measure(ColdStarts(600), [LOADING], NOW + 3 * 86400)
    assert cold.loading == {}


def test_a_task_restarted_in_place_loads_again_and_is_not_measured() -> None:
    cold, _ = measure(ColdStarts(600), [WARM], NOW)
    cold, _ = measure(cold, [replace(LOADING, restarts=1, since=NOW + 5)], NOW + 10)
    assert cold.loading == {"alloc-1.1": NOW + 10}
    cold, ended = measure(cold, [replace(WARM, restarts=1, since=NOW + 5)], NOW + 20)
    assert (ended, cold.measured_s) == ((), ())


def test_quantiles_are_those_of_the_last_twenty() -> None:
    cold = ColdStarts(600, tuple(float(n) for n in range(1, 21)))
    assert (cold.p50_s, cold.p90_s) == (11.0, 19.0)
    assert (ColdStarts(600).p50_s, ColdStarts(600).p90_s) == (600, 600)


@pytest.mark.parametrize(("waited_s", "eta_in_s"), [(0, 11), (10, 1), (12, 7), (25, 6)])
def test_the_eta_is_never_in_the_past(waited_s: float, eta_in_s: float) -> None:
    cold = ColdStarts(600, tuple(float(n) for n in range(1, 21)))
    assert cold.eta(NOW - waited_s, NOW) == NOW + eta_in_s


def test_a_canary_is_no_replica_until_it_is_promoted() -> None:
    seen = capacity(1, [allocation(0), allocation(0, alloc_id="new", is_canary=True, failure="engine: Exit Code: 3")], [], [instance(0)])
    assert [replica.alloc_id for replica in seen.replicas] == ["alloc-0"]
    assert (seen.placed, seen.count("loading"), seen.failures) == (1, 0, ())


def test_a_replica_on_a_node_that_is_cut_off_says_why_no_other_is_started() -> None:
    seen = capacity(2, [allocation(0), allocation(1, client_status="unknown")], [], [instance(0)])
    assert (seen.missing, seen.missing_why) == (1, "its node is out of Nomad's reach, and no second one is started before model.lost_after")
