"""What happens to one request every 250 ms: its clocks, its place in the waiting room, its resumption, its hedge, its transcript.

Law: at most one of them acts in a sweep, and the clocks first. Nothing here runs per byte or per chunk.
"""

from __future__ import annotations

from abc import abstractmethod

from router.clocks import MOVING_S, Clock, overdue
from router.errors import Stopping, UpstreamSilent
from router.relay import hedge
from router.relay.stream import EventStream
from router.relay.transcript import chunks_bytes
from router.relay.waiting import Waiter
from router.replicas.breaker import Event


class Swept(Waiter):
    __slots__ = ()

    @abstractmethod
    def silent_s(self, now: float) -> float:
        """Since the engine last said something, as far as the sweeps have seen."""

    def sweep(self, now: float) -> None:
        clock = _overdue(self, now)
        if clock is not None:
            _ran_out(self, clock)
        elif self.wait is not None:
            self.wait.sweep(now)
        elif self.resumption is not None:
            if self.attempt is None:
                self.resumption.sweep(now)
        elif isinstance(self.begun, EventStream):
            if not _moved(self, now):
                self.begun.compact(chunks_bytes(len(self.plane.active)))
        else:
            hedge.start_if_due(self, now)

    def stop(self) -> None:
        """The router is being stopped and this request has had its time."""
        self.fail(Stopping("This router is being stopped; try again, another one serves."))


def _moved(relay: Swept, now: float) -> bool:
    """Its replica has left Consul and is about to be killed: the stream goes on elsewhere, if it can. Asked until it is too late."""
    attempt = relay.attempt
    return attempt is not None and 0 <= now - attempt.replica.move_at < MOVING_S and relay.move_away("drain")


def _overdue(relay: Swept, now: float) -> Clock | None:
    attempt, plane = relay.attempt, relay.plane
    slo = attempt.replica.slo if attempt is not None else plane.catalogue.slo("")
    return overdue(
        age_s=now - relay.began,
        attempt_s=now - attempt.at if attempt is not None else 0.0,
        silent_s=relay.silent_s(now),
        paused_s=0.0 if relay.paused_at is None else now - relay.paused_at,
        streams=bool(relay.ask and relay.ask.stream),
        begun=relay.begun is not None and relay.resumption is None,
        first_token_s=slo.first_token_s,
        idle_s=slo.idle_s,
        total_s=plane.limits.total_s,
    )


def _ran_out(relay: Swept, clock: Clock) -> None:
    error = UpstreamSilent(f"The engine took too long: the {clock.value} clock ran out.")
    if clock is Clock.CALLER:
        relay.sink.cut()
        relay.caller_left()
    elif clock is Clock.IDLE and relay.begun is not None:
        relay.begun.broken(str(error), "idle", Event.FAILURE)
    elif clock is Clock.FIRST_TOKEN and relay.attempt is not None:
        relay.failed(relay.attempt, error, "first_token", Event.FAILURE)
    else:
        relay.fail(error)
