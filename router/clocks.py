"""The clocks of a request, as one rule without timers: a sweep asks it every 250 ms.

    connect       the dial's own timeout (router.connect_timeout)
    first token   a stream without content this long after an attempt began is moved to another replica
    idle          an answer that has begun and then is silent this long is broken
    total         a whole request, attempts and all

A caller that does not read stops the idle clock: the engine is waiting for us, not we for it. Pure.
"""

from __future__ import annotations

from enum import Enum

SWEEP_S = 0.25
CALLER_STALL_S = 60.0
HEAD_S = 15.0
BODY_S = 120.0
MOVING_S = 2.0  # before a replica is killed, in which its streams go elsewhere


class Clock(Enum):
    FIRST_TOKEN = "first token"  # noqa: S105 - not a password
    IDLE = "idle"
    TOTAL = "total"
    CALLER = "caller"


def overdue(
    *,
    age_s: float,
    attempt_s: float,
    silent_s: float,
    paused_s: float,
    streams: bool,
    begun: bool,
    first_token_s: float,
    idle_s: float,
    total_s: float,
) -> Clock | None:
    """The clock that has run out. `streams`: a stream was asked for; `begun`: bytes of the answer have gone to the caller."""
    if age_s > total_s:
        return Clock.TOTAL
    if paused_s > CALLER_STALL_S:
        return Clock.CALLER
    if begun:
        return Clock.IDLE if not paused_s and silent_s > idle_s else None
    return Clock.FIRST_TOKEN if streams and attempt_s > first_token_s else None
