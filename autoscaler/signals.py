"""What is known of a demand, and how several answers become one.

Not knowing is a value, and is never zero. The law of the three kinds:
    Known     may scale up and down
    Partial   a part of the truth (a router is silent, the window is young): may scale up, never down
    Unknown   holds
Two sources of one signal (`combined`): a stale one does not speak, the larger value counts, and only where both know is it Known.
So a signal goes up with the first source that sees it, and down when none sees it any more.
Pure: no clock, no I/O. How the numbers are made is window.py's, demand.py's and datadog's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

CONCURRENCY = "concurrency"
"""Requests inside or held at the routers, at the same time."""
REQUESTS_PER_MIN = "requests_per_min"
SESSION_STARTS_PER_MIN = "session_starts_per_min"
INPUT_TOKENS_PER_S = "input_tokens_per_s"
OUTPUT_TOKENS_PER_S = "output_tokens_per_s"
HELD = "held"
"""Requests that wait at the routers for a warm replica."""
ANSWERS_PER_MIN = "answers_per_min"
TTFT_S = "ttft_s"
"""Mean time to the first token, of streams that began in the window."""
RUNNING = "running"
"""Requests that the engines work on."""
QUEUED = "queued"
"""Requests that wait inside the engines."""
QUEUE_TIME_S = "queue_time_s"
KV_USE = "kv_cache_use"
"""0 to 1, mean over the replicas."""
GPU_USE = "gpu_use"
"""0 to 1. Near 1 under any batching, so a guard at most: it says busy, never how much is needed."""
LOG_BYTES_PER_MIN = "log_bytes_per_min"
LOG_LINES_PER_MIN = "log_lines_per_min"


@dataclass(frozen=True, slots=True)
class Known:
    """`age_s` is the age of the oldest answer that `value` rests on."""

    value: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Partial:
    value: float
    age_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Unknown:
    why: str


Signal = Known | Partial | Unknown


def total(parts: Sequence[Signal], *, nobody: str) -> Signal:
    """The sum over several sources. One silent source makes it Partial: the rest is a lower bound. No source: Unknown(nobody)."""
    heard = [part for part in parts if not isinstance(part, Unknown)]
    reasons = [part.why for part in parts if not isinstance(part, Known)]
    if not heard:
        return Unknown(reasons[0] if reasons else nobody)
    value, age_s = sum(part.value for part in heard), max(part.age_s for part in heard)
    return Partial(value, age_s, reasons[0]) if reasons else Known(value, age_s)


def larger(prime: Signal, second: Signal) -> Signal:
    """The larger of two estimates of one thing. Only the prime source can make it Known; the second alone is Partial."""
    if isinstance(second, Unknown):
        return prime
    if isinstance(prime, Unknown):
        return Partial(second.value, second.age_s, prime.why)
    return replace(prime, value=max(prime.value, second.value))


def scaled(signal: Signal, change: Callable[[float], float]) -> Signal:
    return signal if isinstance(signal, Unknown) else replace(signal, value=change(signal.value))


def average(parts: Sequence[Signal], *, nobody: str) -> Signal:
    """The mean over several sources of a level that does not add up."""
    heard = sum(not isinstance(part, Unknown) for part in parts)
    return scaled(total(parts, nobody=nobody), lambda value: value / heard)


def combined(first: Mapping[str, Signal], others: Iterable[Mapping[str, Signal]]) -> Mapping[str, Signal]:
    """One signal per name, of all sources that have the name. A source that never tells a thing leaves the name out."""
    found = dict(first)
    for other in others:
        for name, signal in other.items():
            found[name] = confirmed(found[name], signal) if name in found else signal
    return found


def confirmed(one: Signal, other: Signal) -> Signal:
    """Two sources of the same thing: the larger value, Known only where both are."""
    if isinstance(one, Unknown) and isinstance(other, Unknown):
        return Unknown(f"{one.why}; {other.why}")
    reasons = [signal.why for signal in (one, other) if not isinstance(signal, Known)]
    heard = [signal for signal in (one, other) if not isinstance(signal, Unknown)]
    value, age_s = max(signal.value for signal in heard), max(signal.age_s for signal in heard)
    return Partial(value, age_s, "; ".join(reasons)) if reasons else Known(value, age_s)
