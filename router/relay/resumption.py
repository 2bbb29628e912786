"""A stream that broke after content, from the break until its text goes on or its time is over.

    broke ─► next replica ─► content ─► ContinuedStream
               ▲     │ it failed too
               └─────┴─► none left: wait, and knock at one of the model once a second ─► time over: the error of the first break

Law: only the same model may go on. While there is nowhere to go, the model's replicas are asked whatever their breakers say: an engine
that Nomad restarts is back in seconds, and a knock that fails is nobody's strike. The wait is bounded by the clock of the first token, and
begins anew when a replica that was tried has failed: one that was silent for that long must not cost the others their turn.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from fleet import metrics
from router.relay import resume
from router.relay.attempt import Attempt
from router.relay.continued import ContinuedStream
from router.relay.hedge import Raced
from router.relay.stream import EventStream
from router.relay.transcript import Transcript
from router.replicas.breaker import Event, State
from router.replicas.replica import Replica
from router.replicas.select import Choice, NoCandidate, select
from router.wire.dialects import CHAT_PATH, is_messages
from router.wire.instead import Instead, instead_of
from router.wire.messages_answered import Translation
from router.wire.upstream import Connection

log = logging.getLogger(__name__)

MOST_RESUMES: Final = 4
_KNOCK_S: Final = 1.0


class Resumed(Raced):
    __slots__ = ("resumption",)

    resumption: Resumption | None

    def asked(self, replica: Replica) -> tuple[bytes, bytes]:
        path = self.path
        if self.resumption is not None:
            return CHAT_PATH if is_messages(path) else path, self.resumption.body
        if replica.lacks and (instead := _instead(replica, path)) is not None:
            return instead.path, instead.asked(self.body)
        return path, self.body

    def translation(self, replica: Replica) -> Translation | None:
        if self.resumption is not None:
            return Translation(self.resumption.said.tokens) if is_messages(self.path) else None
        if replica.lacks and (instead := _instead(replica, self.path)) is not None:
            return instead.translation()
        return None

    def resume_elsewhere(self, stream: EventStream, why: str, reason: str, event: Event | None) -> bool:
        """Goes on with a broken stream at another replica of its model. False: this one cannot go on; its caller must be told."""
        attempt = self.attempt
        if attempt is None or self.done or self.resumes >= MOST_RESUMES:
            return False
        said = stream.said()
        if said.plain and (said.finished or resume.at_limit(self.path, self.body, said)):
            self.leave(event)
            stream.close(resume.ending(self.path, said))
            return True
        remote = attempt.replica.remote
        body = resume.continuation(self.path, self.body, said) if remote is None or remote.continues else None
        if body is None or not self.plane.tally.of(attempt.replica.model).retry():
            return False
        _start(self, Resumption(self, stream, said, attempt.replica.model, body, why, reason), attempt.replica, event)
        return True

    def move_away(self, reason: str) -> bool:
        """Moves a stream that flows, because its replica will be stopped, if its text can go on and another one is warm.

        False: it stays where it is.
        """
        stream, attempt, plane = self.begun, self.attempt, self.plane
        if self.resumption is not None or not isinstance(stream, EventStream) or attempt is None or self.resumes >= MOST_RESUMES:
            return False
        said, now = stream.said(), plane.clock()
        body = resume.continuation(self.path, self.body, said)
        place = select((attempt.replica.model,), plane.warm, home=None, tried=(attempt.replica,), now=now, random=plane.random)
        if body is None or isinstance(place, NoCandidate):
            return False
        why = "its replica is being stopped."
        _start(self, Resumption(self, stream, said, attempt.replica.model, body, why, reason), attempt.replica, None)
        return True


def _instead(replica: Replica, path: bytes) -> Instead | None:
    """What it is asked because it lacks the path."""
    return instead_of(path) if path.partition(b"?")[0] in replica.lacks else None


def _start(relay: Resumed, resumption: Resumption, replica: Replica, event: Event | None) -> None:
    log.warning("stream %s left %s: %s", relay.request_id.decode(), replica.trace.decode(), resumption.reason)
    resumption.patience_s = replica.slo.first_token_s
    relay.resumes += 1
    relay.tried += (replica,)
    relay.resumption = resumption
    relay.leave(event)
    resumption.next()


@dataclass(slots=True, eq=False)
class Resumption:
    """`body`: the request for the next replica. `why`, `reason`: of the break, for the caller and for the metric.

    `patience_s`: of a wait. `until`, `next_at`: monotonic seconds. `knocking`: the attempt under way is a knock.
    """

    relay: Resumed
    stream: EventStream
    said: Transcript
    model: str
    body: bytes
    why: str
    reason: str
    patience_s: float = 0.0
    until: float = 0.0
    next_at: float = 0.0
    knocking: bool = False

    def next(self) -> None:
        """Tries the next replica, or waits for one."""
        relay, plane = self.relay, self.relay.plane
        now = plane.clock()
        if not self.knocking:
            self.until = now + self.patience_s
        choice = select((self.model,), plane.warm, home=None, tried=relay.tried, now=now, random=plane.random)
        if not isinstance(choice, NoCandidate):
            self.knocking = False
            relay.try_at(choice, now)
        elif now + _KNOCK_S > self.until:
            self.give_up()
        else:
            self.next_at = now + _KNOCK_S

    def sweep(self, now: float) -> None:
        """Between attempts: knocks when it is time."""
        replicas = self.relay.plane.warm.get(self.model, ())
        if now > self.until:
            self.give_up()
        elif now >= self.next_at and replicas:
            self.knocking = True
            self.relay.try_at(Choice(min(replicas, key=lambda replica: replica.in_flight), "failover", probe=False), now)

    def verdict(self, event: Event | None) -> Event | None:
        """What the breaker is told of a failed try."""
        return None if self.knocking else event

    def go_on(self, attempt: Attempt, connection: Connection) -> ContinuedStream:
        """Content is here."""
        plane, replica = self.relay.plane, attempt.replica
        plane.recorder.count(metrics.RESUMES, self.model, self.reason)
        if self.knocking and replica.breaker.state is State.OPEN:  # a knock that was answered is as good as a probe
            replica.report(Event.PROBE, plane.clock())
            replica.report(Event.PROBE_OK, plane.clock())
        return ContinuedStream(self.relay, connection, self.said, attempt.held, attempt.rest)

    def give_up(self) -> None:
        """Ends the caller's stream with the error of the break."""
        self.stream.fail(self.why, None)
