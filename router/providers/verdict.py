"""What a provider's HTTP status means for the request, for its breaker, and for whoever described it, as one table.

    status                             the request           the breaker
    200                                answered              success
    429, 498, 503, 529                 next link             success: at its limit is not broken
    401, 402                           next link             failure: our key or our bill, and so will the next one be
    3xx, 404, 405, 501                 next link             of a chat: failure, its row is wrong; else success: it has no such API
    403                                next link             success: it may be about what this request says
    408, 409, 425                      next link             success
    other 4xx                          passed on             success: the caller's mistake
    other 5xx                          next link             failure

A provider's no to our key is never shown to a caller as a no to theirs. Google says it with 400, so that a 400 is read too, and so is
an error event before any content. Pure.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Verdict(Enum):
    PASS = "pass"  # noqa: S105 - not a password
    BUSY = "busy"
    REFUSED = "refused"
    """The provider's row is wrong: its key, its address, its model or what it was asked for."""
    LATER = "later"
    BROKEN = "broken"


_BUSY: Final = frozenset((429, 498, 503, 529))
_UNPAID: Final = frozenset((401, 402))
_NOT_THERE: Final = frozenset((404, 405, 501))
_FORBIDDEN: Final = 403
_LATER: Final = frozenset((408, 409, 425))
_KEY_EVENT: Final = re.compile(rb'"error"\s*:\s*\{[^}]*"code"\s*:\s*"?(?:401|402|invalid_api_key)\b').search
_KEY_MARKS: Final = (b"api key not valid", b"api_key_invalid", b"invalid_api_key", b"invalid api key")


def verdict(status: int) -> Verdict:
    if status in _BUSY:
        return Verdict.BUSY
    if status in _UNPAID or _is_not_there(status) or status == _FORBIDDEN:
        return Verdict.REFUSED
    if status in _LATER:
        return Verdict.LATER
    return Verdict.BROKEN if status >= 500 else Verdict.PASS


def is_strike(status: int, *, of_chat: bool) -> bool:
    """A refusal that every further request would get too: a chat is what every provider is for."""
    return status in _UNPAID or (of_chat and _is_not_there(status))


def _is_not_there(status: int) -> bool:
    return status in _NOT_THERE or 300 <= status < 400


def is_key_error(events: bytes) -> bool:
    """An error event about our key or bill, at the beginning of a stream. In a text its quotes would be escaped."""
    return _KEY_EVENT(events) is not None


def refuses_key(status: int, body: bytes) -> bool:
    """A 400 that is about our key."""
    lowered = body[:4096].lower() if status == 400 else b""
    return any(mark in lowered for mark in _KEY_MARKS)
