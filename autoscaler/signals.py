"""What is known of a demand, and how several answers become one.

Not knowing is a value, and is never zero. The law of the three kinds:
    Known     may scale up and down
    Partial   a part of the truth (a router is silent, the window is young): may scale up, never down
    Unknown   holds
Pure: no clock, no I/O. How the numbers are made is window.py's and demand.py's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace


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
