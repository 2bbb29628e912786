"""What an engine's HTTP status means for the request and for the replica's breaker, as one table.

    status                    the request        the breaker
    2xx, 3xx                  answered           success
    501 and every other 4xx   passed on as is    success: the engine works, the caller's request does not
    429, 503                  another replica    success: at its limit is not broken
    other 5xx                 another replica    failure, once another place has answered the same request (router.relay.doubt)
    503 "Loading model"       as if nobody       nothing: it is not there yet
                              listened

llama.cpp listens before it has loaded and says so. As a rule Consul names it only afterwards; a router that has lost Consul still knows the
place from before. 501 is how llama.cpp says that this engine has no such API; a bad request must never eject a replica. Pure.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Verdict(Enum):
    PASS = "pass"  # noqa: S105 - not a password
    BUSY = "busy"
    BROKEN = "broken"


_SAID_BYTES: Final = 1024


def is_loading(status: int, body: bytes) -> bool:
    """The engine listens and cannot answer yet."""
    return status == 503 and b"loading model" in body[:_SAID_BYTES].lower()


def verdict(status: int) -> Verdict:
    if status in (429, 503):
        return Verdict.BUSY
    return Verdict.BROKEN if status >= 500 and status != 501 else Verdict.PASS
