"""What an engine's HTTP status means for the request and for the replica's breaker, as one table.

    status                    the request        the breaker
    2xx, 3xx                  answered           success
    501 and every other 4xx   passed on as is    success: the engine works, the caller's request does not
    429, 503                  another replica    success: at its limit is not broken
    other 5xx                 another replica    failure

501 is how llama.cpp says that this engine has no such API; a bad request must never eject a replica. Pure.
"""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    PASS = "pass"  # noqa: S105 - not a password
    BUSY = "busy"
    BROKEN = "broken"


def verdict(status: int) -> Verdict:
    if status in (429, 503):
        return Verdict.BUSY
    return Verdict.BROKEN if status >= 500 and status != 501 else Verdict.PASS
