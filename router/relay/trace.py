"""Our own header lines of an answer: its request and session, where it was served, how often it was tried, and why there."""

from __future__ import annotations

from router.records.facts import Facts


def lines(relay: Facts) -> bytes:
    """Each ends in CRLF."""
    plan, replica = relay.plan, relay.at()
    reason: str = f"{relay.reason}; moved={relay.moves}" if relay.moves else relay.reason
    if relay.held_s:
        reason = f"{reason}; held={relay.held_s * 1000:.0f}"
    trace = (
        plan.trace if plan else b"selector=-; route=-",
        replica.trace if replica else b"model=-; replica=-",
        relay.attempts,
        reason.encode(),
    )
    made = b"x-request-id: %b\r\nx-route: %b; %b; attempts=%d; reason=%b\r\n" % (relay.request_id, *trace)
    if relay.session is not None and relay.session_id is not None:
        made += b"x-session-id: %b\r\n" % relay.session_id.encode()
    return made if relay.visit is None else made + relay.visit.lines
