"""Policies see the past only, and baselines answer as their rules say."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from autoscaler.simulate.policies import Bounds, Policy, Reactive, Static, Target
from autoscaler.simulate.replay import replay
from autoscaler.simulate.trace import Trace

WIDE = Bounds(1, 60)


@dataclass
class Witness:
    """Decides nothing, writes down what it was told and when."""

    seen: list[tuple[str, int, float | None]] = field(default_factory=list)

    def observe(self, minute: int, requests: float | None) -> None:
        self.seen.append(("observe", minute, requests))

    def desired(self, minute: int) -> int:
        self.seen.append(("desired", minute, None))
        return 1


def trace_of(requests: list[float], gap: list[bool] | None = None, first_minute: int = 0) -> Trace:
    return Trace("t", first_minute, np.array(requests), np.array(gap if gap is not None else [False] * len(requests)))


def test_a_policy_decides_for_a_minute_before_it_is_told_of_it() -> None:
    witness = Witness()
    assert replay(trace_of([5.0, 6.0, 7.0], [False, False, True], 100), 1, witness).tolist() == [1, 1]
    assert witness.seen == [
        ("observe", 100, 5.0),
        ("desired", 101, None),
        ("observe", 101, 6.0),
        ("desired", 102, None),
        ("observe", 102, None),
    ]


def test_progress_is_told_after_each_day() -> None:
    told: list[int] = []
    replay(trace_of([1.0] * 3000), 0, Static(1), told.append)
    assert told == [1440, 2880]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Static(4), [4, 4, 4, 4, 4, 4]),
        (Reactive(10, WIDE, target=0.7), [1, 1, 2, 2, 1, 1]),
        (Reactive(10, WIDE, target=0.7, held_min=3), [1, 1, 2, 2, 2, 2]),
        (Reactive(10, Bounds(2, 2), target=0.7), [2, 2, 2, 2, 2, 2]),
        (Target(10, WIDE, target=0.7, cooldown_min=1), [1, 1, 2, 2, 1, 1]),
        (Target(10, WIDE, target=0.7, cooldown_min=5), [1, 1, 1, 1, 1, 1]),  # rests from its first answer on
    ],
)
def test_baselines(policy: Policy, expected: list[int]) -> None:
    requests = [7.0, 7.1, 0.0, 0.0, 0.0, 0.0]
    gap = [False, False, True, False, False, False]  # the third is not known: what was known before stands
    assert replay(trace_of(requests, gap), 0, policy).tolist() == expected
