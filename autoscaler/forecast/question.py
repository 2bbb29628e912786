"""What a forecaster is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.policy import PRICE


@dataclass(frozen=True, slots=True)
class Question:
    """One model's side of the question.

    capacity: requests per minute that one warm replica carries.
    lead_min: minutes from a decision to a warm replica.
    hold_s: how long a request may wait for its turn.
    least, most: bounds of the answer.
    price: what a replica-minute costs in units of a late replica-minute of requests. A replica is wanted while the part of it
        that is expected to be needed is above this. On the traces in bench/ .006 accepts .15 % late requests; see there.
    """

    capacity: float
    lead_min: int
    hold_s: float
    least: int
    most: int
    price: float = PRICE

    def __post_init__(self) -> None:
        if not (self.capacity > 0 and self.lead_min >= 1 and self.hold_s >= 0 and 0 <= self.least <= self.most and self.most >= 1):
            raise ValueError(f"not a question: {self}: capacity, lead and the bounds must be positive, and least at most most")

    def clip(self, replicas: int) -> int:
        return max(self.least, min(self.most, replicas))


@dataclass(frozen=True, slots=True)
class Forecast:
    """Replicas wanted now. `low` to `high` is the band of what will be needed when they are warm: half the time, and almost never.

    `age_min`: minutes since the demand was last known; 0 when it was known for the last minute.
    """

    desired: int
    low: int
    high: int
    age_min: int
    reason: str
