"""A request for which no replica has room now: what becomes of it, and the time that it waits if it is held.

    no_room ─► hold ─► Wait in the room ─► go ─► an attempt
       │                   └─► its time is over ─┐
       ├─► downgrade: an attempt at another model◄┤ if one has room
       └─► shed: 503 with the time to warmth  ◄──┘ else

Law: a request waits before its first attempt, and once more when all engines that it was sent to have gone (`again`); what an engine has
answered with a failure is not held. Held requests are let in in order, and no faster than a replica takes them: not more than twice what
it carries at once. A caller that leaves gives up its place at once.
"""

from __future__ import annotations

from typing import Final, Literal

from fleet import metrics
from router.cold import hold
from router.cold.eta import UNKNOWN, warmth
from router.cold.hold import Fate
from router.errors import TooManyHeld
from router.models.catalogue import Plan
from router.relay import preamble
from router.relay.resumption import Resumed
from router.replicas.replica import Replica
from router.replicas.select import Choice, NoCandidate
from router.tenant import Tenant
from router.wire import headers

_MOST_LOST: Final = 6  # engines that may die of one request: it may be the reason
_AT_ONCE: Final = 2  # times its concurrency: enough for its batches to stay full


class Waiter(Resumed):
    __slots__ = ("wait",)

    wait: Wait | None


def no_room(relay: Waiter, plan: Plan, none: NoCandidate) -> None:
    """Holds, downgrades or sheds a request that has not been tried anywhere."""
    plane = relay.plane
    hold_s = plan.cold.hold_s if plane.limits.max_held else 0.0
    now = plane.clock()
    patience_s = hold.patience_s(hold_s, headers.deadline_s(relay.head.forward), now - relay.began)
    expected = warmth(plan.first, plane.published.states, plane.wall()) if none.why == "cold" else UNKNOWN
    other = relay.choose(plan.chain, now) if plan.first != plan.chain else none
    fate = hold.fate(plan.cold.on_cold, expected, patience_s, another=isinstance(other, Choice))
    if fate is Fate.HOLD and _held(relay, plan, none, patience_s):
        return
    if isinstance(other, Choice) and fate is not Fate.SHED:
        relay.try_at(other, now)
    elif fate is Fate.HOLD:
        relay.fail(TooManyHeld(f"Too many requests wait for {plan.wanted!r} already; try again shortly."))
    else:
        relay.fail(plane.refusal(plan, none))


def again(relay: Waiter, plan: Plan) -> bool:
    """Holds a request that has lost every engine it was sent to: killed, and as a rule started again in seconds at the same place.

    Engines that still listen are told from those by a second round: it is only waited on if nobody is left behind one of the ports.
    False: it does not wait.
    """
    if not _all_gone(relay) or plan.cold.on_cold == "shed" or not relay.plane.limits.max_held:
        return False
    age_s = relay.plane.clock() - relay.began
    patience_s = hold.patience_s(plan.cold.hold_s - relay.held_s, headers.deadline_s(relay.head.forward), age_s)
    if patience_s <= 0 or not _held(relay, plan, NoCandidate("ejected"), patience_s):
        return False
    relay.tried = ()
    return True


def _all_gone(relay: Waiter) -> bool:
    """`moves` are those of the whole request, `tried` the engines since it was held last."""
    moves = relay.moves.split(",")
    if not {"connect", "connection"}.issuperset(moves) or moves.count("connection") >= _MOST_LOST:
        return False
    return ("connect" in moves[-len(relay.tried) :] or not relay.held_s) and not any(replica.remote for replica in relay.tried)


def _held(relay: Waiter, plan: Plan, none: NoCandidate, patience_s: float) -> bool:
    """False: the room is full."""
    wait = Wait(relay, plan, none, patience_s)
    if not relay.plane.room.enter(wait):
        return False
    relay.wait = wait
    return True


class Wait:
    """One request in the waiting room."""

    __slots__ = ("_comment_at", "_none", "_relay", "_since", "_until", "chain", "plan", "size_bytes", "tenant", "wanted")

    def __init__(self, relay: Waiter, plan: Plan, none: NoCandidate, patience_s: float) -> None:
        self.plan = plan
        self.chain = plan.first
        self.wanted = plan.wanted
        self.tenant: Tenant = relay.tenant
        self.size_bytes = len(relay.body)
        self._relay = relay
        self._none = none
        self._since = relay.plane.clock()
        self._until = self._since + patience_s
        self._comment_at = self._since + relay.plane.limits.keep_alive_s

    def go(self) -> bool:
        """Starts it if a replica has room. False: none has."""
        now = self._relay.plane.clock()
        choice = self._relay.choose(self.chain, now)
        if not isinstance(choice, Choice) or _is_busy(choice.replica):
            return False
        self._leave("served")
        self._relay.try_at(choice, now)
        return True

    def left(self) -> None:
        """The request has ended while it waited."""
        self._leave("left")

    def sweep(self, now: float) -> None:
        relay = self._relay
        if now >= self._until:
            self._over()
        elif now >= self._comment_at and relay.ask is not None and relay.ask.stream:
            self._comment_at = now + relay.plane.limits.keep_alive_s
            preamble.comment(relay)

    def _over(self) -> None:
        """It has waited for as long as it may: another model, if that is allowed and has room, or a no."""
        relay, now = self._relay, self._relay.plane.clock()
        self._leave("over")
        choice = relay.choose(self.plan.chain, now)
        if isinstance(choice, Choice) and not (choice.replica.model in self.chain and _is_busy(choice.replica)):
            relay.try_at(choice, now)
        else:
            relay.fail(relay.plane.refusal(self.plan, self._none))

    def _leave(self, end: Literal["served", "over", "left"]) -> None:
        relay, plane = self._relay, self._relay.plane
        plane.room.leave(self, served=end == "served")
        relay.wait = None
        relay.held_s += plane.clock() - self._since
        plane.recorder.observe(metrics.HOLD_TIME, self.wanted, end, seconds=relay.held_s)


def _is_busy(replica: Replica) -> bool:
    return replica.in_flight >= _AT_ONCE * replica.concurrency
