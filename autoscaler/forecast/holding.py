"""From what is wanted at this minute to what is asked for: no replica is given up at the first doubt, none ordered at the first wish.

up      at once. One replica alone is an order like any other, and minutes later it is often not wanted any more:
        it must be worth START_ONE times the price
down    hysteresis: what was asked for stays while its need is above price / KEEP. A replica that is warm stays for HELD_MIN
        minutes after it was wanted last; one that still loads serves nobody, and is given up after COLD_MIN
Warm is what was asked for all through the lead time: the youngest goes first. Where less is remembered, what is there is warm.
"""

from __future__ import annotations

from dataclasses import dataclass

HELD_MIN = 15
COLD_MIN = 2
KEEP = 1.35
START_ONE = 2.0


@dataclass(frozen=True, slots=True)
class Worth:
    """Replicas that are worth, now: `starting` (their price), `one_more` (START_ONE times it), `keeping` (price / KEEP)."""

    starting: int
    one_more: int
    keeping: int


@dataclass(frozen=True, slots=True)
class Answer:
    """`wanted` at a minute, and what was asked for then."""

    minute: int
    wanted: int
    asked: int


@dataclass(frozen=True, slots=True)
class Held:
    """The last answers, oldest first."""

    recent: tuple[Answer, ...] = ()

    @property
    def replicas(self) -> int:
        return self.recent[-1].asked if self.recent else 0


def hold(held: Held, minute: int, worth: Worth, lead_min: int) -> Held:
    """With the answer for `minute`, in place of an earlier one for it."""
    before = tuple(each for each in held.recent if minute - max(HELD_MIN, lead_min) <= each.minute < minute)
    wanted = _wanted(before[-1], worth) if before else worth.starting
    lately = max((each.wanted for each in before if minute - each.minute < COLD_MIN), default=0)
    longer = max((each.wanted for each in before if minute - each.minute < HELD_MIN), default=0)
    warm = min((each.asked for each in before if minute - each.minute <= lead_min), default=0)
    return Held((*before, Answer(minute, wanted, max(wanted, lately, min(warm, longer)))))


def _wanted(last: Answer, worth: Worth) -> int:
    is_one_more = worth.starting == last.asked + 1 and worth.one_more <= last.asked
    return max(last.asked if is_one_more else worth.starting, min(last.wanted, worth.keeping))
