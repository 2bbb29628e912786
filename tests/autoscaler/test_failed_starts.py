"""Starts that end before the replica was ever warm: counted, and told for an hour."""

from __future__ import annotations

import pytest

from autoscaler.capacity import capacity
from autoscaler.coldstart import ColdStarts, measure
from fleet.nomad import Allocation
from tests.autoscaler.build import NOW, allocation, instance


def loading_then(*after: Allocation) -> ColdStarts:
    """A replica is seen loading, and in the next pass Nomad lists `after`."""
    before = capacity(1, [allocation(0)], [], [])
    cold, _ = measure(ColdStarts(600), before.replicas, NOW, before.failures)
    seen = capacity(1, after, [], [])
    return measure(cold, seen.replicas, NOW + 10, seen.failures)[0]


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (allocation(0, restarts=1, failure="engine: exit 1"), "1 start failed in the last hour, the last one: engine: exit 1"),
        (allocation(0, client_status="failed", failure="engine: OOM"), "1 start failed in the last hour, the last one: engine: OOM"),
        (allocation(0, desired="stop", client_status="complete"), ""),  # scaled in while it was loading
        (allocation(0, failure="Nomad could not pull the image yet"), ""),  # and still tries
    ],
)
def test_a_start_that_fails_is_counted_and_told(after: Allocation, why: str) -> None:
    assert loading_then(after).trouble == why


def test_failed_starts_add_up_and_are_forgotten_after_an_hour() -> None:
    cold = loading_then(allocation(0, restarts=1, failure="engine: exit 1"))
    seen = capacity(1, [allocation(0, restarts=2, failure="engine: exit 2")], [], [])
    cold, _ = measure(cold, seen.replicas, NOW + 20, seen.failures)
    assert cold.trouble == "2 starts failed in the last hour, the last one: engine: exit 2"
    cold, _ = measure(cold, seen.replicas, NOW + 30, seen.failures)
    assert (len(cold.failed), [f.at for f in cold.failed]) == (2, [NOW + 10, NOW + 20])
    cold, _ = measure(cold, seen.replicas, NOW + 3621, seen.failures)
    assert cold.trouble == ""


def test_a_replica_that_breaks_after_it_was_warm_is_no_failed_start() -> None:
    warm = capacity(1, [allocation(0)], [], [instance(0)])
    cold, _ = measure(ColdStarts(600), warm.replicas, NOW, warm.failures)
    broken = capacity(1, [allocation(0, restarts=1, failure="engine: exit 1")], [], [])
    assert measure(cold, broken.replicas, NOW + 10, broken.failures)[0].trouble == ""
