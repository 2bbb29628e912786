"""One try of a request at one replica: from the choice to the first content.

    dial ─► sent ─► accepted ─► content ─► the relay's `content`, `whole` or `large`
      └───────┴─────────┴──► the relay's `failed`

Law: it holds everything that comes before the first content, so a try that fails costs the caller nothing. What it has taken (in-flight
counts, the connection, the breaker's probe) is given back by `leave`, once. A reused connection that dies before any byte is dialled
anew and is nobody's failure. What becomes of the request is the relay's matter.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Final

import msgspec

from router.errors import Busy, NotWarm, RouterError, SimulatedFailure, UpstreamFailed
from router.relay.engine_refusal import in_shape, is_no_such_path
from router.relay.stream import Streamed
from router.replicas.breaker import CLEAN, Event
from router.replicas.replica import Replica
from router.replicas.verdict import Verdict, is_loading, verdict
from router.wire import events, headers
from router.wire.dialects import is_messages
from router.wire.instead import instead_of
from router.wire.messages_answered import Translation
from router.wire.upstream import Connection

_HOLD_BODY_BYTES: Final = 256 * 1024
_HOLD_EVENTS_BYTES: Final = 64 * 1024
_HOLD_BUSY_BYTES: Final = 1024
_LONGEST_REST_S: Final = 120
_LOADING_S: Final = 5.0  # after which an engine is asked again, unless its queue could be read before (router.following.load)
_NO_SUCH_PATH: Final = b'{"message":"Not Found"}'
_PROBE_EVENT: Final = {Event.SUCCESS: Event.PROBE_OK, Event.FAILURE: Event.PROBE_FAILED, None: Event.PROBE_LEFT}


class Trying(Streamed):
    """What an attempt asks and reports."""

    __slots__ = ("attempt",)

    attempt: Attempt | None

    @abstractmethod
    def asked(self, replica: Replica) -> tuple[bytes, bytes]:
        """Path and body for a replica: the caller's, the chat that asks who speaks no messages, or what goes on with a broken stream.

        Raises: BadRequest: no chat can ask for it.
        """

    @abstractmethod
    def translation(self, replica: Replica) -> Translation | None:
        """Of the answer to that; None: it is passed on as it comes."""

    @abstractmethod
    def message(self, replica: Replica) -> tuple[bytes, bytes]:
        """The head and body that a replica is sent. Raises: BadRequest: the body is not JSON in a part that nobody looked at yet."""

    @abstractmethod
    def content(self, attempt: Attempt, connection: Connection) -> None:
        """A stream's first events with content."""

    @abstractmethod
    def whole(self, attempt: Attempt, connection: Connection, body: bytes) -> None:
        """A complete answer that is not a stream."""

    @abstractmethod
    def large(self, attempt: Attempt, connection: Connection) -> None:
        """The beginning of an answer that is too large to hold and not a stream."""

    @abstractmethod
    def failed(self, attempt: Attempt, error: RouterError, why: str, event: Event | None) -> None:
        """Leaves the attempt and tries the next place."""


class Attempt:
    """A receiver of its connection. `held` and `rest` are the events that came, whole ones and the beginning of the next."""

    __slots__ = ("_relay", "_task", "at", "connection", "held", "over", "probe", "replica", "rest", "status", "streams", "usage")

    def __init__(self, relay: Trying, replica: Replica, now: float) -> None:
        self._relay = relay
        self.replica = replica
        self.at = now
        self.connection: Connection | None = None
        self.usage: events.Usage | None = None
        self.probe = self.streams = self.over = False
        self.status = 0
        self.held = self.rest = b""
        self._task: asyncio.Task[None] | None = None
        replica.in_flight += 1
        replica.counts.in_flight += 1

    def begin(self) -> None:
        connection = self.replica.pool.take()
        if connection is None:
            self._task = asyncio.get_running_loop().create_task(self._dial())
        else:
            self._send(connection)

    async def _dial(self) -> None:
        pool = self.replica.pool
        try:
            connection = await pool.dial(self._connect_s)
        except OSError as error:
            self.replica.refused = True
            if not self.over:
                why = "simulated" if isinstance(error, SimulatedFailure) else "connect"
                self._failed(UpstreamFailed(self._unreachable(error)), why)
            return
        self.replica.refused = False
        if self.over:  # the caller has left meanwhile
            pool.give_back(connection)
        else:
            self._send(connection)

    @property
    def _connect_s(self) -> float:
        return self._relay.plane.limits.connect_s

    def _unreachable(self, error: OSError) -> str:
        """What the caller is told of a dial that failed."""
        return f"No replica of {self.replica.model!r} takes connections: {error or 'timeout'}."

    def _send(self, connection: Connection) -> None:
        self.connection = connection
        try:
            connection.translation = self._relay.translation(self.replica)
            head, body = self._relay.message(self.replica)
        except RouterError as error:
            self._relay.fail(error)
            return
        connection.send(self, head, body)

    def _may_ask_otherwise(self, connection: Connection) -> bool:
        """It was asked for what the caller asks, and there is something else that means the same."""
        return connection.translation is None and instead_of(self._relay.path) is not None

    def _ask_otherwise(self, connection: Connection) -> None:
        """It lacks the path: from now on it is asked something else, and for this request at once."""
        self.replica.lacks = frozenset((*self.replica.lacks, self._relay.path.partition(b"?")[0]))
        self.status = 0
        self.connection = None
        connection.release()
        self.begin()

    # the receiver of the connection

    def received(self, connection: Connection) -> None:
        if not self.status and not self._accepts(connection):
            return
        if self.streams:
            self._hold_events(connection)
        elif connection.complete:
            self._whole(connection)
        elif sum(map(len, connection.parts)) > _HOLD_BODY_BYTES:
            self._relay.large(self, connection)

    def _whole(self, connection: Connection) -> None:
        parts = connection.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        if self._cannot_count(connection, body):
            self.status, body = 404, _NO_SUCH_PATH
        if self.status == 200:
            try:
                self.usage = self._relay.dialect.json_usage(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if headers.is_plain_json(connection.fields):
                    self._failed(UpstreamFailed(f"The engine's answer is not valid JSON: {error}."), "malformed")
                    return
        elif self._may_ask_otherwise(connection) and is_no_such_path(self.status, body):
            self._ask_otherwise(connection)
            return
        elif self.status >= 400 and (shaped := in_shape(body, self.status, self.replica.model, self._relay.path)) is not None:
            body = shaped
            connection.fields[:] = [
                *(one for one in connection.fields if one[0] != b"content-type"),
                (b"content-type", b"application/json"),
            ]
        self._relay.whole(self, connection, body)

    def _cannot_count(self, connection: Connection, body: bytes) -> bool:
        """What was asked for a number of tokens does not say it: another /tokenize is as good as none, and nobody's failure."""
        if connection.translation is None or is_messages(self._relay.path):
            return False
        return not body if self.status == 200 else is_no_such_path(self.status, body)

    def _accepts(self, connection: Connection) -> bool:
        status = connection.status
        if status == 200:
            self.status = status
            self.streams = not connection.down and headers.value_of(connection.fields, b"content-type").startswith(b"text/event-stream")
            return True
        found = verdict(status)
        if found is Verdict.PASS:
            self.status = status
            return True
        if found is Verdict.BUSY:
            self._busy(connection, status)
        else:
            self._failed(UpstreamFailed(f"The engine failed with HTTP {status}."), "status")
        return False

    def _busy(self, connection: Connection, status: int) -> None:
        """It has no room, or has not loaded yet; which of the two a 503 says in a short body, which is waited for."""
        if status == 503 and not connection.complete and _is_short(connection):
            return
        if is_loading(status, b"".join(connection.parts)):
            self.replica.loads(self._relay.plane.clock() + _LOADING_S)
            self.replica.counts.spare()
            error = NotWarm(f"The engine of {self.replica.model!r} is still loading; try again shortly.", retry_after_s=5)
            self._relay.failed(self, error, "connect", None)
            return
        retry_after_s = headers.retry_after_s(connection.fields)
        self.replica.full()
        if retry_after_s:
            self.replica.rest(self._relay.plane.clock() + min(retry_after_s, _LONGEST_REST_S))
        busy = Busy(f"Every replica that was tried is at its limit (HTTP {status}); try again shortly.", retry_after_s=retry_after_s)
        self._failed(busy, "busy", Event.SUCCESS)

    def _hold_events(self, connection: Connection) -> None:
        whole, self.rest = events.split(self.rest, b"".join(connection.parts))
        connection.parts.clear()
        self.held += whole
        found = self._relay.dialect.content(whole)
        if found is events.Content.FAILED:
            self._failed(UpstreamFailed("The engine reported an error, or nonsense, before any content."), "error_event")
        elif found is events.Content.SOME or len(self.held) > _HOLD_EVENTS_BYTES:
            self._relay.content(self, connection)
        elif connection.complete or len(self.rest) > events.MAX_EVENT_BYTES:
            self._failed(UpstreamFailed("The engine's stream had no content."), "empty")

    def broke(self, connection: Connection, why: str) -> None:
        """The connection is lost before any content."""
        self.connection = None
        stale = connection.stale
        connection.drop()
        if stale:
            self.begin()
        else:
            self._failed(UpstreamFailed(f"The engine's connection broke before any content: {why}."), "connection")

    def _failed(self, error: RouterError, why: str, event: Event = Event.FAILURE) -> None:
        self._relay.failed(self, error, why, event)

    # ends

    def tell(self, event: Event | None) -> None:
        """Tells the breaker. A probe speaks once; what follows it is an ordinary request. None: nothing can be said of the replica."""
        if self.probe:
            self.probe = False
            self.replica.report(_PROBE_EVENT[event], self._relay.plane.clock())
        elif event is not None and (event is not Event.SUCCESS or self.replica.breaker is not CLEAN):
            self.replica.report(event, self._relay.plane.clock())

    def leave(self, event: Event | None) -> None:
        """Gives back everything that it holds; an answer that is not complete is cut off."""
        if self.over:
            return
        self.over = True
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()
        replica = self.replica
        replica.in_flight -= 1
        replica.counts.in_flight -= 1
        self.tell(event)

    def drop(self) -> None:
        """Leaves at once: the caller has gone, or another attempt was faster."""
        if self.connection is not None:
            self.connection.keep = False
        self.leave(None)


def _is_short(connection: Connection) -> bool:
    """It says how long its body is, and that is not long."""
    size = headers.value_of(connection.fields, b"content-length")
    return size.isdigit() and int(size) <= _HOLD_BUSY_BYTES
