"""From what is wanted at this minute to what is asked for: no replica is given up at the first doubt.

up      at once
down    hysteresis: what was asked for stays while its need is above price / KEEP; and the largest answer of the last
        HELD_MIN minutes stands, so a replica that was started gets warm before it is judged
"""

from __future__ import annotations

from dataclasses import dataclass

HELD_MIN = 15
KEEP = 2.0


@dataclass(frozen=True, slots=True)
class Held:
    """`recent`: (minute, replicas) of the last answers, oldest first, before they were held."""

    recent: tuple[tuple[int, int], ...] = ()

    @property
    def replicas(self) -> int:
        return max((replicas for _, replicas in self.recent), default=0)


def hold(held: Held, minute: int, wanted: int, kept: int) -> Held:
    """With the answer for `minute`, in place of an earlier one for it.

    `wanted`: replicas worth starting; `kept`: replicas worth keeping once there, at least `wanted`.
    """
    before = tuple(answer for answer in held.recent if minute - HELD_MIN < answer[0] < minute)
    standing = before[-1][1] if before else 0
    return Held((*before, (minute, max(wanted, min(standing, kept)))))
