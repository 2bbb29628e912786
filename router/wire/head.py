"""A caller's head, as far as the router needs it.

A module of its own because it is not compiled: msgspec makes these faster than compiled Python, and reads types that a compiler takes away.
"""

from __future__ import annotations

import msgspec


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """A caller's head, read once. `forward` are whole lines for the engine; `length` is -1 where the caller gave none or nonsense."""

    forward: bytes
    length: int
    session: bytes | None
    request_id: bytes | None
    expects_continue: bool
    has_connection: bool
    authorization: bytes | None = None
    wish: bytes | None = None  # what the caller asks of the choice: see router.relay.choosing
    coding: bytes | None = None  # of the body: see router.wire.inflate
    has_trace: bool = False  # a field of a tracer goes on: see router.records.tracing
    has_deadline: bool = False  # x-deadline-s goes on, right or wrong: see `check_deadline`
