"""What a candidate has shown lately: the last 1,000 answers and failures.

Law: latency and cost are means over successes only, because a failure that comes at once is not speed. What is described counts as
ten answers beside what is measured, so that one odd answer changes little. Sums are kept, so that asking costs nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

SIZE: Final = 1000
_PRIOR: Final = 10


class Sample(NamedTuple):
    """One answer (`ok`) or failure. `cost`: dollars."""

    ok: bool
    latency_ms: float = 0.0
    cost: float = 0.0
    tokens: int = 0


class Window:
    """`size` samples; the oldest one goes when a new one comes."""

    __slots__ = ("_cost", "_latency_ms", "_samples", "_tokens", "successes", "total")

    def __init__(self, size: int = SIZE) -> None:
        self._samples: deque[Sample] = deque(maxlen=size)
        self._latency_ms = self._cost = 0.0
        self._tokens = self.successes = 0
        self.total = 0
        """Ever, not only those that are still in it."""

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: Sample) -> None:
        if len(self._samples) == self._samples.maxlen:
            self._count(self._samples[0], -1)
        self._samples.append(sample)
        self._count(sample, 1)
        self.total += 1

    def _count(self, sample: Sample, by: int) -> None:
        if not sample.ok:
            return
        self.successes += by
        self._latency_ms += by * sample.latency_ms
        self._cost += by * sample.cost
        self._tokens += by * sample.tokens

    def copy(self) -> Window:
        twin = Window(self._samples.maxlen or SIZE)
        for sample in self._samples:
            twin.add(sample)
        twin.total = self.total
        return twin

    @property
    def mean_latency_ms(self) -> float:
        """Of successes; 0 where there is none."""
        return max(self._latency_ms, 0.0) / self.successes if self.successes else 0.0

    @property
    def mean_cost(self) -> float:
        """Dollars, of successes; 0 where there is none."""
        return max(self._cost, 0.0) / self.successes if self.successes else 0.0

    @property
    def tokens(self) -> int:
        return self._tokens

    def latency_ms(self, prior_ms: float) -> float:
        """As it is to be expected, from what is described and what was measured."""
        return (_PRIOR * prior_ms + self._latency_ms) / (_PRIOR + self.successes)

    @property
    def success_rate(self) -> float:
        """As it is to be expected: ten successes beside what was seen."""
        return (_PRIOR + self.successes) / (_PRIOR + len(self._samples))

    @property
    def seen_success_rate(self) -> float:
        """Of what is in it, 1 where nothing is."""
        return self.successes / len(self._samples) if self._samples else 1.0
