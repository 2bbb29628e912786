"""Several workers' numbers as one: nothing that was counted is ever lost, whoever dies."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fleet import metrics
from fleet.recorder import Recorder, prometheus_text
from router.health.ledger import Ledger, Numbers, Report, numbers, recorder
from router.health.report import Degraded, Health, Workers, together

WELL = Health("ok", (), {"large": 2}, 1.0, ready=True)
REQUESTS = ("large", "best", "200")


def report(requests: int, in_flight: int = 0, endpoints: int = 2, seconds: float = 0.5) -> Report:
    own = Recorder()
    own.count(metrics.REQUESTS, *REQUESTS, by=requests)
    own.gauge(metrics.IN_FLIGHT, "large", value=in_flight)
    own.gauge(metrics.ENDPOINTS, "large", value=endpoints)
    for _ in range(requests):
        own.observe(metrics.LATENCY, "large", "best", seconds=seconds)
    return Report(numbers(own), WELL)


def counted(ledger: Ledger) -> float:
    return recorder((ledger.total().numbers,)).counts.get((metrics.REQUESTS, REQUESTS), 0)


def test_counts_and_levels_are_added_and_facts_are_not() -> None:
    ledger = Ledger(2)
    ledger.heard(0, report(3, in_flight=1))
    ledger.heard(1, report(4, in_flight=2, endpoints=3))
    whole = recorder((ledger.total().numbers,))
    assert whole.counts[metrics.REQUESTS, REQUESTS] == 7
    assert whole.gauges[metrics.IN_FLIGHT, ("large",)] == 3
    assert whole.gauges[metrics.ENDPOINTS, ("large",)] == 3
    assert sum(whole.distributions[metrics.LATENCY, ("large", "best")].buckets.values()) == 7
    assert whole.distributions[metrics.LATENCY, ("large", "best")].total_us == 3_500_000


def test_a_dead_worker_leaves_its_counts_and_takes_its_levels() -> None:
    ledger = Ledger(2)
    ledger.heard(0, report(3, in_flight=5))
    ledger.heard(1, report(4, in_flight=2))
    ledger.died(0)
    ledger.heard(0, report(1))
    whole = recorder((ledger.total().numbers,))
    assert whole.counts[metrics.REQUESTS, REQUESTS] == 8
    assert whole.gauges[metrics.IN_FLIGHT, ("large",)] == 2


@given(st.lists(st.tuples(st.sampled_from(("count", "die")), st.integers(0, 2), st.integers(0, 9)), max_size=30))
def test_no_counter_ever_falls(events: list[tuple[str, int, int]]) -> None:
    ledger, own, before = Ledger(3), [0, 0, 0], 0.0
    for what, slot, more in events:
        if what == "die":
            ledger.died(slot)
            own[slot] = 0
        else:
            own[slot] += more
            ledger.heard(slot, report(own[slot]))
        assert counted(ledger) >= before
        before = counted(ledger)


def test_the_sum_reads_as_one_process_would() -> None:
    alone = Recorder()
    alone.count(metrics.REQUESTS, *REQUESTS, by=2)
    alone.observe(metrics.TTFT, "large", "best", seconds=0.25)
    assert prometheus_text(recorder((numbers(alone),))) == prometheus_text(alone)


def test_a_report_survives_the_line() -> None:
    sent = report(3, in_flight=1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Report) == sent
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Numbers()), type=Numbers) == Numbers()


def test_the_worst_worker_speaks_for_all() -> None:
    early, late = Degraded("redis", 10.0, 5.0), Degraded("redis", 12.0, 3.0)
    ill = Health("degraded", (late,), {"large": 1}, 4.0, ready=True)
    worse = Health("degraded", (early,), {"large": 2}, 2.0, ready=True)
    seen = together((WELL, ill, worse), 4)
    assert seen == Health("degraded", (early,), {"large": 1}, 4.0, ready=True, workers=Workers(3, 4))


def test_a_worker_that_does_not_know_consul_yet_makes_the_router_unready() -> None:
    seen = together((WELL, Health("starting")), 2)
    assert (seen.status, seen.ready, seen.models) == ("starting", False, {"large": 2})
    assert together((), 2).status == "starting"
