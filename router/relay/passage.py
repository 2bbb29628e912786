"""The rest of an answer that is too large to hold and not a stream of events, from its first byte on.

Law: it goes through in pieces, framed as the caller understands. If the engine breaks, cutting the caller's connection is the only
honest end: there is no room for an error in a body of unknown kind. A body that ends with its connection has no proof of its end: it is
cut where the connection was reset, and JSON also where it was closed before a last bracket.
"""

from __future__ import annotations

from router.relay import trace
from router.relay.course import Course
from router.replicas.breaker import Event
from router.wire import answers, headers
from router.wire.upstream import Connection

_TAIL_BYTES = 4096


class Passage:
    """A receiver of its connection."""

    __slots__ = ("_chunks", "_connection", "_relay", "_status", "_tail")

    def __init__(self, relay: Course, connection: Connection, status: int) -> None:
        self._relay = relay
        self._connection = connection
        self._status = status
        self._tail = b""
        self._chunks = False
        connection.receiver = self

    def open(self) -> None:
        """Sends the head and what has come."""
        relay, fields = self._relay, self._connection.fields
        length = headers.value_of(fields, b"content-length")
        self._chunks = not length and relay.sink.chunks
        if not length and not self._chunks:
            relay.sink.keep_alive = False
        lines = headers.down_lines(fields) + trace.lines(relay)
        size = int(length) if length else None
        if relay.write(answers.head(self._status, lines, length=size, chunked=self._chunks, keep_alive=relay.sink.keep_alive)):
            if relay.paused_at is not None:
                self._connection.pause()
            self.received(self._connection)

    def received(self, connection: Connection) -> None:
        data = b"".join(connection.parts)
        connection.parts.clear()
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        if data and not self._relay.write(answers.chunk(data) if self._chunks else data):
            return
        if connection.complete:
            if self._ends_early(connection):
                self.fail("the engine closed before the end of its JSON", Event.FAILURE)
            else:
                self._end()

    def _ends_early(self, connection: Connection) -> bool:
        is_unproven = connection.ends_with_connection() and headers.is_plain_json(connection.fields)
        return is_unproven and not self._tail.rstrip().endswith((b"}", b"]"))

    def broke(self, _connection: Connection, why: str) -> None:
        self.fail(why, Event.FAILURE)

    def broken(self, why: str, _reason: str, event: Event | None) -> None:
        self.fail(why, event)

    def fail(self, _why: str, event: Event | None) -> None:
        self._connection.keep = False
        self._relay.sink.cut()
        self._relay.finish(502, event)

    def generated(self) -> None:
        return None

    def _end(self) -> None:
        if self._chunks and not self._relay.write(answers.LAST_CHUNK):
            return
        self._relay.count_usage(self._relay.dialect.tail_usage(self._tail))
        self._relay.finish(self._status)
