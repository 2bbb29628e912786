"""Policies to compare with, none of which looks ahead.

    static     the peak, always: hindsight, the price of never missing
    target     nomad-autoscaler's target-value: demand / (capacity x target), again after a cooldown
    reactive   the same each minute, and the largest answer of the last `held_min` minutes stands

A policy is told of minute t only after it has decided for it. What is not known (a gap) changes nothing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol


class Policy(Protocol):
    def observe(self, minute: int, requests: float | None) -> None:
        """The demand of a minute that is over; None: not known. Minutes come in order, each once."""

    def desired(self, minute: int) -> int:
        """Replicas wanted in `minute`, from what was observed before it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    low: int
    high: int

    def clip(self, replicas: int) -> int:
        return max(self.low, min(self.high, replicas))


@dataclass(frozen=True, slots=True)
class Static:
    replicas: int

    def observe(self, minute: int, requests: float | None) -> None:
        pass

    def desired(self, minute: int) -> int:  # noqa: ARG002 (the same at any minute)
        return self.replicas


@dataclass(slots=True)
class Target:
    """`capacity` in requests per minute of a replica, `target` the wanted use of it."""

    capacity: float
    bounds: Bounds
    target: float = 0.7
    cooldown_min: int = 5
    _latest: float = 0.0
    _standing: int = 0
    _changed: int | None = None

    def observe(self, minute: int, requests: float | None) -> None:  # noqa: ARG002 (the latest count, whenever it came)
        if requests is not None:
            self._latest = requests

    def desired(self, minute: int) -> int:
        wanted = self.bounds.clip(needed(self._latest, self.capacity * self.target))
        resting = self._changed is not None and minute - self._changed < self.cooldown_min
        if not resting and wanted != self._standing:
            self._standing, self._changed = wanted, minute
        return self._standing


@dataclass(slots=True)
class Reactive:
    """`capacity` in requests per minute of a replica, `target` the wanted use of it."""

    capacity: float
    bounds: Bounds
    target: float = 0.7
    held_min: int = 1
    _recent: deque[float] = field(default_factory=deque)

    def observe(self, minute: int, requests: float | None) -> None:  # noqa: ARG002 (counts minutes itself)
        self._recent.append(requests if requests is not None else (self._recent[-1] if self._recent else 0.0))
        if len(self._recent) > self.held_min:
            self._recent.popleft()

    def desired(self, minute: int) -> int:  # noqa: ARG002
        return self.bounds.clip(needed(max(self._recent, default=0.0), self.capacity * self.target))


def needed(requests: float, capacity: float) -> int:
    """Replicas for a demand; both in requests per minute."""
    return math.ceil(requests / capacity - 1e-9)
