"""The caller's side: uvicorn's HTTP protocol, which hands the relay paths to a relay and everything else to the ASGI app.

When a head is complete, POST to a relay path gets an `Exchange` where uvicorn would put its request-response cycle; for any other
request the base class's callbacks are replayed, so an ASGI scope is made only for ASGI requests.
uvicorn is pinned: tests/router/test_uvicorn_contract.py has a test for each undocumented attribute used here.
What uvicorn leaves open is closed here: slow heads and bodies, queued requests of a lost connection, an upgrade that would lose a body.
"""

from __future__ import annotations

from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from router import clocks
from router.errors import BadRequest, BodyTooLarge, HeadTooLarge, RouterError, TooSlow, to_http
from router.plane import DataPlane
from router.relay.exchange import Exchange
from router.wire import answers, headers
from router.wire.dialects import RELAY_PATHS, Dialect, relayed
from router.wire.dialects import dialect as dialect_of
from router.wire.shape import Shape, Shapes

_MOST_PIPELINED: Final = 16
_MOST_QUEUED_BYTES: Final = 1024**2
_LINGER_S: Final = 2.0
_MOST_HEAD_BYTES: Final = 64 * 1024
_LAST_CHANCE_S: Final = 5.0
_ONE_HOST: Final = "A request says its Host once (RFC 9112, 3.2); send one Host header."
_FROM_THE_NEXT_SWEEP: Final = -1.0  # instead of a look at the clock after every answer


class Protocols:
    """Makes the protocol of each connection to one data plane, for uvicorn, and has what they share.

    `lines_open`: those that are there, for the sweep. `leaving_at`: since when the router is being stopped: every answer is then the last
    one of its connection.
    """

    def __init__(self, plane: DataPlane) -> None:
        self.plane = plane
        self.lines_open: set[RouterProtocol] = set()
        self.shapes = Shapes()
        self.leaving_at: float | None = None

    def __call__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> RouterProtocol:
        return RouterProtocol(self, config, server_state, app_state, _loop)


class RouterProtocol(HttpToolsProtocol):
    """One caller's connection."""

    def __init__(self, shared: Protocols, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.plane = shared.plane
        self._shared = shared
        self.url = b""
        self._exchange: Exchange | None = None  # the one whose message is being read
        self._running: Exchange | None = None  # the one that is being answered
        self._idle_since: float | None = None
        self._reading = False
        self._reading_since: float | None = None
        self._closing_at: float | None = None
        self._shape: Shape | None = None  # of the head before
        self._is_at_rest = False  # between two messages, with nothing under way
        self._fresh: bytes | None = None  # a read that begins with a head that has no known shape
        self._in_head = False
        self._head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.write = transport.write
        self._idle_since = self.plane.clock()
        self._is_at_rest = True
        self._shared.lines_open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._is_at_rest:
            self._is_at_rest = False
            if self._recognised(data):
                return
            self._fresh = data
        if len(data) > _MOST_HEAD_BYTES:
            self._in_pieces(data)
            return
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if self._closing_at is not None:
            return
        self._idle_since = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError as error:
            if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
                raise error.__context__ from None  # a bug of ours: the loop reports it and closes the connection
            self._refuse(BadRequest("This is not a valid HTTP request; nothing of it was used."))
        if self._reading and self._reading_since is None:
            self._reading_since = self.plane.clock()  # only now: most messages come in one piece, and need no clock
        if self._in_head:
            self._fresh = None  # a head that comes in pieces is not learned from
            self._head_bytes += len(data)
            if self._head_bytes > 2 * _MOST_HEAD_BYTES:  # twice, because a body may have ended in the piece in which this head began
                self._refuse(HeadTooLarge(2 * _MOST_HEAD_BYTES))

    def _recognised(self, data: bytes) -> bool:
        """A whole request of a shape that is known needs no parser. False: this is something else."""
        if self._shared.leaving_at is not None:
            return False
        shape = self._shape
        read = shape.read(data) if shape is not None else None
        if shape is None or read is None:
            found = self._shared.shapes.of(data)
            if found is None:
                return False
            shape, read = found
            self._shape = shape
        if len(read[1]) > self.plane.limits.max_body_bytes:
            return False
        self._idle_since = None
        head, body = read
        exchange = Exchange(self, shape.url, RELAY_PATHS.get(shape.url) or dialect_of(shape.url), head, True, True)
        self._running = self._exchange = exchange
        self.cycle = exchange  # type: ignore[assignment]
        exchange.complete = True
        exchange.relay(body)
        return True

    def _in_pieces(self, data: bytes) -> None:
        """So that no head is read whole that is larger than the limit."""
        for at in range(0, len(data), _MOST_HEAD_BYTES):
            if not self.transport.is_closing():
                self.data_received(data[at : at + _MOST_HEAD_BYTES])

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.lines_open.discard(self)
        cycle: Any = self.cycle
        exchange: Exchange | None = cycle if isinstance(cycle, Exchange) else None
        queued = [each for each, _ in self.pipeline]
        self.pipeline.clear()
        super().connection_lost(exc)
        if exc is not None:
            self._unset_keepalive_if_required()
        for each in queued:  # uvicorn tells only the newest one
            each.disconnected = True
            each.message_event.set()
        if self._running is not None:
            self._running.caller_left()
        if exchange is not None:
            self.cycle = None  # type: ignore[assignment]
        self._running = self._exchange = None

    # parser callbacks

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._exchange = None
        self._in_head = self._reading = True
        self._is_at_rest = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        dialect = RELAY_PATHS.get(self.url)
        if dialect is None and (target := relayed(self.url)) is not None:
            self.url, dialect = target, dialect_of(target)
        if dialect is not None and self.parser.get_method() == b"POST":
            self._accept(dialect)
        else:
            self._replay()

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            super().on_body(body)
        elif not exchange.refused:
            exchange.add(body)
            if exchange.size > self.plane.limits.max_body_bytes:
                self.refuse_exchange(exchange, BodyTooLarge(self.plane.limits.max_body_bytes))
            elif exchange is not self._running and exchange.size > _MOST_QUEUED_BYTES:
                self.flow.pause_reading()

    def on_message_complete(self) -> None:
        self._reading = False
        self._reading_since = None
        exchange = self._exchange
        if exchange is None:
            super().on_message_complete()
        elif not exchange.refused:
            exchange.complete = True
            if exchange is self._running:
                exchange.begin()

    # a request for the relay

    def _accept(self, dialect: Dialect) -> None:
        parser = self.parser
        head, has_host = headers.read_request(self.headers), headers.names_its_host(self.headers)
        if self._fresh is not None:
            self._shared.shapes.learn(self._fresh, self.url, self.headers)
            self._fresh = None
        self.headers = []  # they have been read; a stream may be long
        keep_alive = parser.should_keep_alive() and self._shared.leaving_at is None
        old = (not keep_alive or head.has_connection) and parser.get_http_version() == "1.0"
        exchange = self._exchange = Exchange(self, self.url, dialect, head, keep_alive and not old, not old)
        if parser.should_upgrade():
            exchange.error = BadRequest("This path does not speak another protocol; leave out the Upgrade header.")
        elif not has_host and parser.get_http_version() != "1.0":
            exchange.error = BadRequest(_ONE_HOST)
        elif head.length > self.plane.limits.max_body_bytes:
            exchange.error = BodyTooLarge(self.plane.limits.max_body_bytes)
        before = self.cycle
        self.cycle = exchange  # type: ignore[assignment]
        if before is None or before.response_complete:
            self._start(exchange)
        else:
            self.pipeline.appendleft((exchange, None))  # type: ignore[arg-type]
            if len(self.pipeline) >= _MOST_PIPELINED:
                self.flow.pause_reading()  # only then: a paused socket cannot show that its caller has left

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        if exchange.error is not None:
            self.refuse_exchange(exchange, exchange.error)
        elif exchange.complete:
            exchange.begin()
        elif exchange.head.expects_continue:
            self.write(answers.CONTINUE)

    def refuse_exchange(self, exchange: Exchange, error: RouterError) -> None:
        """Answers what no relay gets, and closes: where the body has not been read, what else comes is not a request."""
        exchange.error = error
        exchange.refused = exchange is self._running
        exchange.keep_alive = False
        exchange.clear()
        if exchange.refused:
            self.plane.tally.refused(to_http(error).status)
            self.write(answers.own(error, keep_alive=False))
            exchange.finished()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, Exchange):
            self._start(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def next_exchange(self, exchange: Exchange) -> None:
        """An exchange has been answered."""
        self.server_state.total_requests += 1
        if self._running is exchange:
            self._running = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            self._linger(exchange)
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self.loop.call_soon(self._start_asgi_task, cycle, app)  # not a call: a long pipeline would be a deep recursion
        else:
            self._idle_since = _FROM_THE_NEXT_SWEEP
            self._is_at_rest = not self._reading

    def _linger(self, exchange: Exchange) -> None:
        """Closes. With a body still coming it waits a little: closing then would reset the connection under the answer."""
        if exchange.complete or self.parser is None:
            self.transport.close()
        else:
            self._closing_at = self.plane.clock() + _LINGER_S
            self.flow.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()

    # everything else

    def _replay(self) -> None:
        """What the base class would have done, had it seen this head from the start."""
        fields, url, self._fresh = self.headers, self.url, None
        super().on_message_begin()
        self.url = url
        for name, value in fields:
            super().on_header(name, value)
        super().on_headers_complete()
        if self._shared.leaving_at is not None and self.cycle is not None:
            self.cycle.keep_alive = False

    def _upgrade(self) -> None:
        if self._exchange is not None:
            return  # already refused
        if self._should_upgrade():
            self.handle_websocket_upgrade()
        else:
            self._unsupported_upgrade_warning()

    def _refuse(self, error: RouterError) -> None:
        """Bytes that are no request. An answer under way is finished first; then the connection closes."""
        if self._answering():
            self.cycle.keep_alive = False
            self._closing_at = self.plane.clock() + self.plane.limits.total_s
            return
        self.plane.tally.refused(to_http(error).status)
        self.write(answers.own(error, keep_alive=False))
        self.transport.close()

    # flow control, clocks, shutdown

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._running is not None:
            self._running.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._running is not None:
            self._running.resume()

    def sweep(self, now: float) -> None:
        """Closes what is idle, slow or lingering for too long."""
        if self._closing_at is not None:
            if now > self._closing_at:
                self.transport.close()
        elif self._reading_since is not None and not self._answering():
            limit_s = clocks.HEAD_S if self._exchange is None else clocks.BODY_S
            if now - self._reading_since > limit_s:
                self._refuse(TooSlow(f"The request did not arrive within {limit_s:.0f} s; send it faster."))
        elif self._idle_since == _FROM_THE_NEXT_SWEEP:
            self._idle_since = now
        elif self._idle_since is not None and now > self._idle_until(self._idle_since) and not self._answering():
            self.transport.close()

    def _idle_until(self, since: float) -> float:
        """A connection at rest is not closed at once when the router stops: its next request may be on the way, and would be lost."""
        if self._shared.leaving_at is None:
            return since + self.timeout_keep_alive
        return max(since, self._shared.leaving_at) + min(_LAST_CHANCE_S, self.plane.limits.drain_s / 2)

    def _answering(self) -> bool:
        """A whole request is at work, so that the connection must stay."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        return bool(cycle.complete if isinstance(cycle, Exchange) else not cycle.more_body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._shared.leaving_at is not None:
            self._idle_since = self.plane.clock()

    def shutdown(self) -> None:
        """The router is being stopped: the newest answer says that it is the last one, unless its head has gone out already."""
        if self._shared.leaving_at is None:
            self._shared.leaving_at = self.plane.clock()
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self._unset_keepalive_if_required()
            self._idle_since = self.plane.clock()
        elif not (cycle.has_begun_to_answer if isinstance(cycle, Exchange) else cycle.response_started):
            cycle.keep_alive = False
