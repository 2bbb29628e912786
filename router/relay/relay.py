"""One request: from its plan to an answer, over as many replicas as its failures need.

    begin (router.relay.resolving) ─► Attempt ─► EventStream / Passage / whole answer ─► finish
                                        ▲ │ failure before content: another replica, then the next model
                                        ├─┘
                                        └── a stream that breaks after content: another replica of its model (Resumption)

Law: nothing reaches the caller before the first content, so everything before it can be tried elsewhere; each replica once.
Every end goes through `finish`, once; what an attempt holds is given back there or when it is left.
No task per request: only a dial or a look-up is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fleet import metrics
from router.errors import CALLER_LEFT, RouterError, UpstreamFailed, encode, to_http
from router.models.catalogue import NO_ROUTE, Plan
from router.plane import DataPlane
from router.relay import doubt, hedge, preamble, trace, trail
from router.relay.attempt import Attempt
from router.relay.metered import MeteredStream
from router.relay.passage import Passage
from router.relay.remote_attempt import RemoteAttempt
from router.relay.resolving import Resolved
from router.relay.stream import EventStream
from router.relay.waiting import again, no_room
from router.replicas.breaker import Event
from router.replicas.ramp import NO_LIMIT
from router.replicas.replica import Replica
from router.replicas.select import Choice, NoCandidate, Reason, select
from router.tally import UNKNOWN
from router.wire import answers, events, headers, requests
from router.wire.dialects import Dialect
from router.wire.head import RequestHead
from router.wire.sink import Sink
from router.wire.upstream import Connection

MOST_ATTEMPTS = 6


class Relay(Resolved):
    __slots__ = ("_error", "_moved", "_seen_at", "_seen_reads")

    def __init__(  # noqa: PLR0917 - by place, because that costs least and one is made for every request
        self, plane: DataPlane, sink: Sink, path: bytes, dialect: Dialect, head: RequestHead, body: bytes
    ) -> None:
        self.plane = plane
        self.sink = sink
        self.body = body
        self.path = path
        self.dialect = dialect
        self.head = head
        self.request_id = head.request_id or b"req-%016x" % plane.random_bits(64)
        self.ask = self.plan = self.model = self.session_id = self.session = self.home = None
        self.attempt = self.rival = self.begun = self.resumption = self.wait = self.visit = None
        self.usage = self.ids = self.ttft_s = self.paused_at = None
        self.opened = self.done = self.hedged = self.hides_usage = False
        self.attempts = self.resumes = self._seen_reads = 0
        self.held_s = self._seen_at = 0.0
        self.tried: tuple[Replica, ...] = ()
        self.reason: Reason | Literal["-"] = "-"
        self.moves = ""
        self.at_home = "home"
        self.look_up = None
        self._moved: str | None = None
        self._error: RouterError | None = None

    @property
    def connection(self) -> Connection | None:
        return self.attempt.connection if self.attempt is not None else None

    # attempts

    def try_next(self, plan: Plan) -> None:
        now = self.plane.clock()
        choice = self.choose(plan.chain if self.tried else plan.first, now)
        if self.attempts >= MOST_ATTEMPTS:
            choice = NoCandidate("tried")
        if isinstance(choice, Choice):
            self.try_at(choice, now)
        elif not self.tried:
            no_room(self, plan, choice)
        elif not again(self, plan):
            self.fail(trail.told(self._error or self.plane.refusal(plan, choice), self.tried, self.moves))

    def choose(self, chain: Sequence[str], now: float) -> Choice[Replica] | NoCandidate:
        """Where among these models the next attempt would be."""
        plane = self.plane
        return select(chain, plane.warm, self.home, self.tried, now, plane.random, self.at_home)

    def try_at(self, choice: Choice[Replica], now: float) -> None:
        """Begins an attempt."""
        replica, self.reason, probe = choice
        if self._moved is not None and self.tried:
            self._count_move(replica, self._moved)
        self.attempts += 1
        remote = replica.remote
        self.attempt = attempt = Attempt(self, replica, now) if remote is None else RemoteAttempt(self, replica, now, remote)
        if probe:
            attempt.probe = True
            replica.report(Event.PROBE, now)
        attempt.begin()

    def _count_move(self, replica: Replica, why: str) -> None:
        before = self.tried[-1].model
        if replica.model == before:
            self.plane.recorder.count(metrics.FAILOVERS, before, why)
        self._moved = None

    def message(self, replica: Replica) -> tuple[bytes, bytes]:
        """The head and body that a replica is sent. Raises: BadRequest: the body is not JSON in a part that nobody looked at yet."""
        path, body = self.asked(replica)
        if self.ask is not None and self.ask.model != replica.model:
            body = requests.with_model(body, replica.model)
        head = b"POST %b HTTP/1.1\r\n%b%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        return head % (path, replica.host_line, self.head.forward, self.request_id, len(body)), body

    # what an attempt reports

    def content(self, attempt: Attempt, connection: Connection) -> None:
        """A stream's first events with content."""
        self._seen_at = self.plane.clock()
        if self.resumption is not None:
            moved, self.resumption = self.resumption, None
            self.begun = moved.go_on(attempt, connection)
            self.begun.open()
            return
        self._answered(attempt)
        self.ttft_s = self._seen_at - self.began
        self.plane.tally.first_token(*self._tags(), self.ttft_s)
        stream = MeteredStream if self.hides_usage else EventStream
        self.begun = stream(self, connection, attempt.held, attempt.rest)
        self.begun.open()

    def whole(self, attempt: Attempt, connection: Connection, body: bytes) -> None:
        """A complete answer that is not a stream."""
        if self.resumption is not None:
            self.resumption.give_up()
            return
        self._answered(attempt)
        if self.opened:
            if preamble.end(self, body):
                self.finish(attempt.status)
            return
        lines = (connection.down or headers.down_lines(connection.fields)) + trace.lines(self)
        if self.write(answers.whole(attempt.status, lines, body, self.sink.keep_alive)):
            self.count_usage(attempt.usage)
            self.finish(attempt.status)

    def large(self, attempt: Attempt, connection: Connection) -> None:
        """The beginning of an answer that is too large to hold and not a stream."""
        if self.resumption is not None:
            self.resumption.give_up()
            return
        if self.opened:
            self.fail(UpstreamFailed("The engine's answer is no stream, and too large to be passed on in one."))
            return
        self._answered(attempt)
        self.begun = Passage(self, connection, attempt.status)
        self.begun.open()

    def failed(self, attempt: Attempt, error: RouterError, why: str, event: Event | None) -> None:
        """Leaves the attempt and tries the next place."""
        plan = self.plan
        if plan is None or attempt not in (self.attempt, self.rival):
            return
        self.moves += f",{why}" if self.moves else why
        if self.resumption is None:
            event = doubt.judged(event, why, attempt.replica, probe=attempt.probe)
        if self.rival is not None:
            hedge.lost_one(self, attempt, event)
            return
        self.tried += (attempt.replica,)
        if self.resumption is not None:
            self.leave(self.resumption.verdict(event))
            self.resumption.next()
            return
        self.leave(event)
        self._error, self._moved = error, why
        if self.plane.tally.of(plan.wanted).retry():
            self.try_next(plan)
        else:
            self.fail(trail.told(error, self.tried, self.moves))

    def _answered(self, attempt: Attempt) -> None:
        """Content is here: the replica works, the session remembers it."""
        if self.rival is not None:
            hedge.settle(self, attempt)
        replica, plan = attempt.replica, self.plan
        if plan is None:
            return
        self.model = replica.model
        if self.tried and attempt.status < 400:
            for other in doubt.proven(self.tried, self.moves):
                other.report(Event.FAILURE, self.plane.clock())
        if attempt.probe:
            attempt.tell(Event.SUCCESS)
        if replica.model != plan.chain[0]:
            self.plane.recorder.count(metrics.FALLBACKS, plan.chain[0], replica.model)
        if self.session is not None and self.session_id is not None and attempt.status < 400:
            self.plane.served(self.session_id, self.session, plan, replica)

    # while an answer is under way

    def at(self) -> Replica | None:
        return self.attempt.replica if self.attempt is not None else None

    def counted(self) -> events.Usage | None:
        return self.usage or (self.attempt.usage if self.attempt is not None else None)

    def generated(self) -> int | None:
        return self.begun.generated() if self.begun is not None else None

    def write(self, data: bytes) -> bool:
        """False: the caller has left; the request is over."""
        try:
            self.sink.write(data)
        except RuntimeError:  # uvloop: the transport is closed, connection_lost has not been called yet
            self.caller_left()
            return False
        return True

    def count_usage(self, usage: events.Usage | None) -> None:
        if usage is not None and self.attempt is not None:
            self.usage = usage
            counts = self.attempt.replica.counts
            counts.input_tokens += usage.prompt_tokens
            counts.output_tokens += usage.completion_tokens

    def pause(self) -> None:
        """The caller reads more slowly than the engine writes."""
        self.paused_at = self.plane.clock()
        if self.begun is not None and self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        self.paused_at = None
        self._seen_at = self.plane.clock()
        if self.connection is not None:
            self.connection.resume()

    def silent_s(self, now: float) -> float:
        """Since the engine last said something, as far as the sweeps have seen."""
        connection = self.connection
        reads = connection.reads if connection is not None else 0
        if reads != self._seen_reads:
            self._seen_reads, self._seen_at = reads, now
        return now - self._seen_at

    # ends

    def fail(self, error: RouterError) -> None:
        """Our own answer, or our own end of one that has begun."""
        if self.begun is not None:
            self.begun.fail(str(error), None)
        elif self.opened:
            if preamble.end(self, encode(error)):
                self.finish(to_http(error).status, None)
        elif self.write(answers.own(error, trace.lines(self), keep_alive=self.sink.keep_alive)):
            self.finish(to_http(error).status, None)

    def caller_left(self) -> None:
        """Closes the engine's connection at once, whatever was going on."""
        if not self.done:
            if self.attempt is not None:
                self.attempt.drop()
            self.finish(CALLER_LEFT, None)

    def finish(self, status: int, event: Event | None = Event.SUCCESS) -> None:
        """The one end of every request. `event` is for the breaker; None: it says nothing about the replica."""
        if self.done:
            return
        self.done = True
        self.plane.active.discard(self)
        tags, took_s = self._tags(), self.plane.clock() - self.began
        if self.plane.access is not None:
            self.plane.access.note(self, tags, status, took_s)
        if self.plane.usage is not None:
            self.plane.usage.tell(self, tags, status, took_s)
        if self.wait is not None:
            self.wait.left()
        elif status == 200 and (attempt := self.attempt) is not None and attempt.replica.limit < NO_LIMIT:
            attempt.replica.grow()
        self.leave(event)
        self.plane.tally.answered(tags, status, took_s)
        self.begun = self.resumption = self.wait = None
        self.sink.finished()
        if self.plane.room.size:
            self.plane.room.release()

    def leave(self, event: Event | None) -> None:
        """Leaves the attempt under way; `event` is for the breaker."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.leave(event)
        rival, self.rival = self.rival, None
        if rival is not None:
            rival.drop()

    def _tags(self) -> tuple[str, str]:
        plan, attempt = self.plan, self.attempt
        if plan is None:
            return UNKNOWN, NO_ROUTE
        return (attempt.replica.model if attempt else self.model or plan.wanted), plan.route
