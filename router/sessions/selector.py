"""Session ids and the 4-bit selector that ours end in.

An id of ours is `wf-` and 32 hexadecimal digits, the last of which is the selector: a router that has neither cache nor Redis
still knows the session's route. A caller's own id is taken as it is, within limits. Pure.
"""

from __future__ import annotations

import re
from typing import Final

from router.errors import BadSession

_ACCEPTED: Final = re.compile(rb"[A-Za-z0-9._:@/+=~\-]{1,128}").fullmatch
_OURS: Final = re.compile(r"wf-[0-9a-f]{32}").fullmatch


def parse(raw: bytes) -> str:
    """Raises: BadSession: longer than 128 characters, empty, or with other characters than letters, digits and ._:@/+=~-"""
    if _ACCEPTED(raw):
        return raw.decode("ascii")
    raise BadSession(
        "The session id must have 1 to 128 letters, digits or ._:@/+=~- ; send another, or none to start without a session.",
        param="session_id",
    )


def new_id(selector: int, random_bits: int) -> str:
    """An id of ours. `random_bits`: 124 of them."""
    return f"wf-{random_bits & (1 << 124) - 1:031x}{selector:x}"


def selector_of(session_id: str) -> int | None:
    """The selector in an id of ours; None for a caller's own id, which says nothing."""
    return int(session_id[-1], 16) if _OURS(session_id) else None
