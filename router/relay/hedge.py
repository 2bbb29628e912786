"""A second attempt beside one that is slow to its first content; the faster one answers.

    attempt ──────────── slow ─────────────► first content? it answers, the rival is closed
       └─ after slo.hedge ─► rival ────────► first content? it answers, the first one is closed

Law: once per request, at another replica of the same model, only for streams that have sent nothing yet, and out of the retry budget.
The loser is closed at once; that is no strike, and its tokens are nobody's. Where one of the two fails, the other goes on alone.
"""

from __future__ import annotations

from fleet import metrics
from router.relay.attempt import Attempt, Trying
from router.replicas.breaker import Event
from router.replicas.select import NoCandidate, select


class Raced(Trying):
    """`rival`: the second attempt. `hedged`: there was one."""

    __slots__ = ("hedged", "rival")

    rival: Attempt | None
    hedged: bool


def start_if_due(relay: Raced, now: float) -> None:
    """Starts the rival of an attempt that has been without content for too long."""
    attempt, plane = relay.attempt, relay.plane
    if attempt is None or relay.hedged or relay.begun is not None or not (relay.ask and relay.ask.stream):
        return
    replica = attempt.replica
    if not 0 < replica.slo.hedge_s < now - attempt.at:
        return
    choice = select((replica.model,), plane.warm, home=None, tried=(*relay.tried, replica), now=now, random=plane.random)
    wanted = relay.plan.wanted if relay.plan is not None else replica.model
    if isinstance(choice, NoCandidate) or choice.probe or not plane.tally.of(wanted).retry():
        return
    relay.hedged = True
    relay.attempts += 1
    relay.rival = Attempt(relay, choice.replica, now)
    relay.rival.begin()


def settle(relay: Raced, winner: Attempt) -> None:
    """One of two has content: it becomes the attempt."""
    loser = relay.attempt if winner is relay.rival else relay.rival
    relay.plane.recorder.count(metrics.HEDGES, winner.replica.model, "rival" if winner is relay.rival else "first")
    relay.attempt, relay.rival = winner, None
    if loser is not None:
        loser.drop()


def lost_one(relay: Raced, attempt: Attempt, event: Event | None) -> None:
    """One of two has failed: the other one is left."""
    relay.attempt, relay.rival = relay.rival if attempt is relay.attempt else relay.attempt, None
    relay.tried += (attempt.replica,)
    attempt.leave(event)
