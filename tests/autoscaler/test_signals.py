"""Two sources of one signal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.signals import Known, Partial, Signal, Unknown, average, combined, confirmed

KNOWN, PARTIAL, UNKNOWN = Known(3.0, 1.0), Partial(2.0, 2.0, "a router is silent"), Unknown("Datadog is silent")


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (KNOWN, Known(5.0, 90.0), Known(5.0, 90.0)),  # they differ: the larger, and both are sure of no more
        (Known(5.0, 90.0), KNOWN, Known(5.0, 90.0)),
        (KNOWN, UNKNOWN, Partial(3.0, 1.0, "Datadog is silent")),
        (UNKNOWN, KNOWN, Partial(3.0, 1.0, "Datadog is silent")),
        (KNOWN, PARTIAL, Partial(3.0, 2.0, "a router is silent")),
        (PARTIAL, UNKNOWN, Partial(2.0, 2.0, "a router is silent; Datadog is silent")),
        (UNKNOWN, Unknown("nobody"), Unknown("Datadog is silent; nobody")),
    ],
)
def test_the_larger_counts_and_both_must_know(one: Signal, other: Signal, both: Signal) -> None:
    assert confirmed(one, other) == both


def test_a_source_that_never_tells_a_thing_does_not_make_it_less_known() -> None:
    seen = combined({"concurrency": KNOWN, "queued": KNOWN}, [{"concurrency": UNKNOWN, "gpu_use": KNOWN}, {}])
    assert seen == {"concurrency": Partial(3.0, 1.0, "Datadog is silent"), "queued": KNOWN, "gpu_use": KNOWN}


def test_a_level_that_does_not_add_up_is_averaged_over_those_who_spoke() -> None:
    assert average([Known(0.2, 1.0), Known(0.6, 3.0)], nobody="x") == Known(pytest.approx(0.4), 3.0)  # type: ignore[arg-type]
    assert average([Known(0.2, 1.0), UNKNOWN], nobody="x") == Partial(0.2, 1.0, "Datadog is silent")
    assert average([], nobody="nobody is there") == Unknown("nobody is there")


numbers, ages = st.floats(0, 1e9), st.floats(0, 1e4)
signals = st.one_of(st.builds(Known, numbers, ages), st.builds(Partial, numbers, ages, st.just("p")), st.builds(Unknown, st.just("u")))


@given(signals, signals)
def test_a_second_source_never_hides_demand_and_never_adds_certainty(one: Signal, other: Signal) -> None:
    both = confirmed(one, other)
    for signal in (one, other):
        if not isinstance(signal, Unknown):
            assert not isinstance(both, Unknown)
            assert both.value >= signal.value
    assert isinstance(both, Known) == (isinstance(one, Known) and isinstance(other, Known))
    assert type(both) is type(confirmed(other, one))
