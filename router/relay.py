"""One request: from a whole body to an answer, over as many replicas as its failures need.

    begin ─► (look up session) ─► attempt ─► (dial) ─► sent ─► content ─► EventStream / Passage / whole answer ─► finish
                                     ▲                   │ failure before content: another replica, then the next model
                                     └───────────────────┘
Law: nothing reaches the caller before the first content, so everything before it can be tried elsewhere; each replica once.
Every end goes through `finish`, once; in-flight counts and probes are given back there or when an attempt is left.
No task per request: only a dial or a look-up is one.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fleet import metrics
from router import answers, events, headers, requests, selector
from router.breaker import Event
from router.catalogue import NO_ROUTE, Plan
from router.clocks import Clock, overdue
from router.errors import Busy, RouterError, Stopping, UpstreamFailed, UpstreamSilent, to_http
from router.headers import RequestHead
from router.passage import Passage
from router.plane import DataPlane
from router.replica import Replica
from router.select import NoCandidate, select
from router.sessions import Session
from router.sink import Sink
from router.stream import EventStream
from router.tally import UNKNOWN
from router.upstream import Connection
from router.verdict import Verdict, verdict

MOST_ATTEMPTS = 6
_HOLD_BODY_BYTES = 256 * 1024
_HOLD_EVENTS_BYTES = 64 * 1024
_CALLER_LEFT: Final = 499
_PROBE_EVENT: Final = {Event.SUCCESS: Event.PROBE_OK, Event.FAILURE: Event.PROBE_FAILED, None: Event.PROBE_LEFT}


class Relay:
    # Class-level defaults: a request sets only what it needs, which halves the cost of making one.
    ask: requests.Ask | None = None
    plan: Plan | None = None
    model: str | None = None  # the one that answers
    session_id: str | None = None
    session: Session | None = None
    home: Replica | None = None
    replica: Replica | None = None
    connection: Connection | None = None
    begun: EventStream | Passage | None = None
    tried: tuple[Replica, ...] = ()
    done = False
    attempts = 0
    paused_at: float | None = None
    _task: asyncio.Task[None] | None = None
    _probe = False
    _reason = "-"
    _moved: str | None = None
    _error: RouterError | None = None
    _status = 0
    _streams = False
    _held: bytes = b""
    _rest: bytes = b""
    _attempt_at = _seen_at = 0.0
    _seen_reads = 0

    def __init__(self, plane: DataPlane, sink: Sink, path: bytes, head: RequestHead, body: bytes) -> None:
        self.plane = plane
        self.sink = sink
        self.body = body
        self._path = path
        self._head = head
        self.request_id = head.request_id or b"req-%032x" % plane.random_bits(128)

    # resolve

    def begin(self) -> None:
        plane = self.plane
        self.began = plane.clock()
        plane.active.add(self)
        try:
            self.ask = ask = requests.decode(self.body)
            plane.catalogue.check(ask.model)
            if self._head.session is not None:
                self.session_id = selector.parse(self._head.session)
        except RouterError as error:
            self.fail(error)
            return
        if self.session_id is None:
            self._resolve(ask.model, None)
        elif session := plane.known(self.session_id):
            self._resolve(ask.model, session)
        else:
            self._task = asyncio.get_running_loop().create_task(self._look_up(ask.model, self.session_id))

    async def _look_up(self, model: str, session_id: str) -> None:
        session = await self.plane.look_up(session_id)
        if not self.done:
            self._resolve(model, session or Session(self.plane.catalogue.selector_for(model)))

    def _resolve(self, model: str, session: Session | None) -> None:
        self.session = session
        self.plan = plan = self.plane.catalogue.plan(model, session)
        if session is not None and session.home:
            self.home = self.plane.homes.get(session.home)
        self.plane.tally.of(plan.wanted).arrivals += 1
        self._attempt(plan)

    # attempt

    def _attempt(self, plan: Plan) -> None:
        plane = self.plane
        now = plane.clock()
        choice = select(plan.chain, plane.warm, home=self.home, tried=self.tried, now=now, random=plane.random)
        if isinstance(choice, NoCandidate) or self.attempts >= MOST_ATTEMPTS:
            self.fail(self._error or plane.refusal(plan, choice if isinstance(choice, NoCandidate) else NoCandidate("tried")))
            return
        replica, self._reason, self._probe = choice
        if choice.probe:
            replica.report(Event.PROBE, now)
        if self._moved is not None:
            self._count_move(replica, self._moved)
        self.replica = replica
        self.attempts += 1
        self._attempt_at = now
        replica.in_flight += 1
        replica.counts.in_flight += 1
        self._connect(replica)

    def _count_move(self, replica: Replica, why: str) -> None:
        before = self.tried[-1].model
        if replica.model == before:
            self.plane.recorder.count(metrics.FAILOVERS, before, why)
        self._moved = None

    def _connect(self, replica: Replica) -> None:
        connection = replica.pool.take()
        if connection is None:
            self._task = asyncio.get_running_loop().create_task(self._dial(replica))
        else:
            self._send(connection, replica)

    async def _dial(self, replica: Replica) -> None:
        try:
            connection = await replica.pool.dial(self.plane.limits.connect_s)
        except OSError as error:
            if self.replica is replica:
                self._move_on(UpstreamFailed(f"No replica of {replica.model!r} takes connections: {error or 'timeout'}."), "connect")
            return
        if self.replica is replica:
            self._send(connection, replica)
        else:  # the caller has left meanwhile
            replica.pool.give_back(connection)

    def _send(self, connection: Connection, replica: Replica) -> None:
        self.connection = connection
        body = self.body
        if self.ask is not None and self.ask.model != replica.model:
            try:
                body = requests.with_model(body, replica.model)
            except RouterError as error:
                self.fail(error)
                return
        head = b"POST %b HTTP/1.1\r\n%b%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n"
        connection.send(self, head % (self._path, replica.host_line, self._head.forward, self.request_id, len(body)), body)

    # before content: the receiver of the connection

    def received(self, connection: Connection) -> None:
        if not self._status and not self._accepts(connection):
            return
        if self._streams:
            self._hold_events(connection)
        elif connection.complete:
            self._whole(connection)
        elif sum(map(len, connection.parts)) > _HOLD_BODY_BYTES:
            self._answered()
            self.begun = Passage(self, connection, self._status)
            self.begun.open()

    def _accepts(self, connection: Connection) -> bool:
        status = connection.status
        found = verdict(status)
        if found is Verdict.PASS:
            self._status = status
            self._streams = status == 200 and headers.value_of(connection.fields, b"content-type").startswith(b"text/event-stream")
            return True
        if found is Verdict.BUSY:
            retry_after_s = headers.retry_after_s(connection.fields)
            error = Busy(f"Every replica that was tried is at its limit (HTTP {status}); try again shortly.", retry_after_s=retry_after_s)
            self._move_on(error, "busy", Event.SUCCESS)
        else:
            self._move_on(UpstreamFailed(f"The engine failed with HTTP {status}."), "status")
        return False

    def _hold_events(self, connection: Connection) -> None:
        whole, self._rest = events.split(self._rest, b"".join(connection.parts))
        connection.parts.clear()
        self._held += whole
        found = events.content(whole)
        if found is events.Content.FAILED:
            self._move_on(UpstreamFailed("The engine reported an error before any content."), "error_event")
        elif found is events.Content.SOME or len(self._held) > _HOLD_EVENTS_BYTES:
            self._answered()
            self.plane.tally.first_token(*self._tags(), self.plane.clock() - self.began)
            self.begun = EventStream(self, connection, self._held, self._rest)
            self.begun.open()
        elif connection.complete or len(self._rest) > events.MAX_EVENT_BYTES:
            self._move_on(UpstreamFailed("The engine's stream had no content."), "empty")

    def _whole(self, connection: Connection) -> None:
        parts = connection.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._answered()
        lines = headers.down_lines(connection.fields) + self.lines()
        head = answers.head(self._status, lines, length=len(body), chunked=False, keep_alive=self.sink.keep_alive)
        if self.write(head + body):
            self.count_usage(events.json_usage(body))
            self.finish(self._status)

    def broke(self, connection: Connection, why: str) -> None:
        """The connection is lost before any content."""
        replica = self.replica
        self.connection = None
        connection.drop()
        if replica is not None and connection.stale:
            self._connect(replica)
        else:
            self._move_on(UpstreamFailed(f"The engine's connection broke before any content: {why}."), "connection")

    def _move_on(self, error: RouterError, why: str, event: Event = Event.FAILURE) -> None:
        """Leaves this attempt and tries the next place."""
        if self.replica is None or self.plan is None:
            return
        self.tried += (self.replica,)
        self._leave(event)
        self._error, self._moved = error, why
        self._status, self._streams, self._held, self._rest = 0, False, b"", b""
        self._attempt(self.plan)

    def _answered(self) -> None:
        """Content is here: the replica works, the session remembers it."""
        replica, plan = self.replica, self.plan
        if replica is None or plan is None:
            return
        self.model = replica.model
        now = self.plane.clock()
        self._seen_at = now
        if self._probe:
            self._tell(replica, Event.SUCCESS, now)
        if replica.model != plan.chain[0]:
            self.plane.recorder.count(metrics.FALLBACKS, plan.chain[0], replica.model)
        if self.session is not None and self.session_id is not None and self._status < 400:
            self.plane.served(self.session_id, self.session, plan, replica)

    # while an answer is under way

    def lines(self) -> bytes:
        """Our own header lines of an answer."""
        plan, replica = self.plan, self.replica
        trace = (
            plan.trace if plan else b"selector=-; route=-",
            replica.trace if replica else b"model=-; replica=-",
            self.attempts,
            self._reason.encode(),
        )
        lines = b"x-request-id: %b\r\nx-route: %b; %b; attempts=%d; reason=%b\r\n" % (self.request_id, *trace)
        if self.session is not None and self.session_id is not None:
            lines += b"x-session-id: %b\r\n" % self.session_id.encode()
        return lines

    def write(self, data: bytes) -> bool:
        """False: the caller has left; the request is over."""
        try:
            self.sink.write(data)
        except RuntimeError:  # uvloop: the transport is closed, connection_lost has not been called yet
            self.caller_left()
            return False
        return True

    def count_usage(self, usage: events.Usage | None) -> None:
        if usage is not None and self.replica is not None:
            self.replica.counts.input_tokens += usage.prompt_tokens
            self.replica.counts.output_tokens += usage.completion_tokens

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

    def sweep(self, now: float) -> None:
        reads = self.connection.reads if self.connection is not None else 0
        if reads != self._seen_reads:
            self._seen_reads, self._seen_at = reads, now
        replica = self.replica
        slo = replica.slo if replica is not None else self.plane.catalogue.slo("")
        clock = overdue(
            age_s=now - self.began,
            attempt_s=now - self._attempt_at if replica is not None else 0.0,
            silent_s=now - self._seen_at,
            paused_s=0.0 if self.paused_at is None else now - self.paused_at,
            streams=bool(self.ask and self.ask.stream),
            begun=self.begun is not None,
            first_token_s=slo.first_token_s,
            idle_s=slo.idle_s,
            total_s=self.plane.limits.total_s,
        )
        if clock is not None:
            self._ran_out(clock)

    def _ran_out(self, clock: Clock) -> None:
        error = UpstreamSilent(f"The engine took too long: the {clock.value} clock ran out.")
        if clock is Clock.CALLER:
            self.sink.cut()
            self.caller_left()
        elif self.begun is not None:
            self.begun.broken(str(error), Event.FAILURE if clock is Clock.IDLE else None)
        elif clock is Clock.FIRST_TOKEN:
            self._move_on(error, "first_token")
        else:
            self.fail(error)

    # ends

    def fail(self, error: RouterError) -> None:
        """Our own answer; nothing has been sent yet."""
        if self.write(answers.own(error, self.lines(), keep_alive=self.sink.keep_alive)):
            self.finish(to_http(error).status, None)

    def stop(self) -> None:
        """The router is being stopped and this request has had its time."""
        error = Stopping("This router is being stopped; try again, another one serves.")
        if self.begun is not None:
            self.begun.broken(str(error), None)
        else:
            self.fail(error)

    def caller_left(self) -> None:
        """Closes the engine's connection at once, whatever was going on."""
        if not self.done:
            self._drop_connection()
            self.finish(_CALLER_LEFT, None)

    def finish(self, status: int, event: Event | None = Event.SUCCESS) -> None:
        """The one end of every request. `event` is for the breaker; None: it says nothing about the replica."""
        if self.done:
            return
        self.done = True
        self.plane.active.discard(self)
        tags = self._tags()
        self._leave(event)
        self.plane.tally.answered(*tags, status)
        self.plane.tally.took(*tags, self.plane.clock() - self.began)
        self.begun = None
        self.sink.finished()

    def _tags(self) -> tuple[str, str]:
        plan, replica = self.plan, self.replica
        if plan is None:
            return UNKNOWN, NO_ROUTE
        return (replica.model if replica else plan.wanted), plan.route

    def _leave(self, event: Event | None) -> None:
        """Gives back everything that the attempt holds."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()
        replica, self.replica = self.replica, None
        if replica is not None:
            replica.in_flight -= 1
            replica.counts.in_flight -= 1
            self._tell(replica, event, self.plane.clock())

    def _tell(self, replica: Replica, event: Event | None, now: float) -> None:
        """A probe speaks once; what follows it is an ordinary request."""
        if self._probe:
            self._probe = False
            replica.report(_PROBE_EVENT[event], now)
        elif event is not None:
            replica.report(event, now)

    def _drop_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.drop()
