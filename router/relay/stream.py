"""The rest of an answer that is a stream of events, from its first content on.

Law: whole events only, as they came; the caller's stream ends in one of two ways: as the engine's did, if that ended well, or with an
error event of its dialect. Never a truncated answer that looks like a success. Where it breaks, the relay is asked first whether another
replica can go on. What was sent is kept by reference for that (see transcript), and for the end and the usage, looked for once.
"""

from __future__ import annotations

from abc import abstractmethod

from router.errors import StreamTruncated, encode
from router.relay import resume, trace
from router.relay.course import Placed
from router.relay.transcript import Transcript
from router.replicas.breaker import Event
from router.tally import UNKNOWN
from router.wire import answers, events, headers
from router.wire.upstream import Connection


class Streamed(Placed):
    __slots__ = ()

    @abstractmethod
    def resume_elsewhere(self, stream: EventStream, why: str, reason: str, event: Event | None) -> bool:
        """A stream has broken. False: it cannot go on elsewhere."""


class EventStream:
    """A receiver of its connection."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_dialect",
        "_error_mark",
        "_gone",
        "_heard",
        "_keep",
        "_parts",
        "_relay",
        "_rest",
        "_said",
        "_write",
    )

    def __init__(self, relay: Streamed, connection: Connection, first: bytes, rest: bytes) -> None:
        self._relay = relay
        self._connection = connection
        self._parts = [first]  # stays the same list: `_keep` is its own method, so that keeping a chunk costs no Python frame
        self._keep = self._parts.append
        self._heard = 0  # so many of them have been read
        self._gone = 0  # events in those that are kept no longer
        self._rest = rest
        self._said: Transcript | None = None
        self._dialect = relay.dialect
        self._error_mark = self._dialect.error_mark
        self._chunks = relay.sink.chunks
        self._write = relay.sink.write
        connection.receiver = self

    def open(self) -> None:
        """Sends head and first events in one write."""
        relay, first = self._relay, self._parts[0]
        if not self._chunks:
            relay.sink.keep_alive = False  # the body ends with the connection
        lines = headers.down_lines(self._connection.fields) + trace.lines(relay)
        head = answers.head(200, lines, length=None, chunked=self._chunks, keep_alive=relay.sink.keep_alive)
        self._go(b"" if relay.opened else head, first)

    def _go(self, head: bytes, first: bytes) -> None:
        error_at = self._dialect.own_error(first)
        if error_at >= 0:
            first = self._parts[0] = first[:error_at]
        if self._relay.write(head + self._framed(self._shown(first))):
            if error_at >= 0:
                self.broken("the engine reported an error.", "error_event")
            elif self._connection.complete:
                self._end(b"")
            elif self._relay.paused_at is not None:
                self._connection.pause()

    def received(self, connection: Connection) -> None:
        parts = connection.parts
        if len(parts) == 1 and not self._rest and not connection.complete:
            data = parts[0]
            if data[-2:] == b"\n\n" and data.rfind(self._error_mark) < 0:
                parts.clear()
                self._keep(data)
                try:
                    self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunks else data)
                except RuntimeError:
                    self._relay.caller_left()
                return
        self._received(connection)

    def _received(self, connection: Connection) -> None:
        """Whatever is not simply one more read of whole events without an error."""
        parts = connection.parts
        data = b"".join(parts)
        parts.clear()
        if self._rest or data[-2:] != b"\n\n":
            data, self._rest = events.split(self._rest, data)
        if self._error_mark in data and (at := self._dialect.own_error(data)) >= 0:
            self._failed(data[:at])
        elif connection.complete:
            self._end(data)
        elif data:
            self._sent(data)
        elif len(self._rest) > events.MAX_EVENT_BYTES:
            self.broken("one event was larger than the router holds.", "oversized")

    def compact(self, most_bytes: int) -> None:
        """Reads what was sent, if it is much, but for the last events, in which the end is looked for. For the sweep."""
        if sum(map(len, self._parts)) <= most_bytes:
            return
        if self._said is None:
            self._said = resume.transcript(self._relay.path, self._relay.body)
        self._said.read(b"".join(self._parts[self._heard : -2]))
        self._heard = max(0, self._heard + 2 - len(self._parts))
        self._gone += _count(self._parts[:-2])
        del self._parts[:-2]

    def said(self) -> Transcript:
        """All that the caller was sent until now."""
        said = self._said = self._said or resume.transcript(self._relay.path, self._relay.body)
        said.read(b"".join(self._parts[self._heard :]))
        self._heard = len(self._parts)
        return said

    def generated(self) -> int:
        return self._gone + _count(self._parts)

    def _shown(self, data: bytes) -> bytes:
        """What the caller gets to see of whole events."""
        return events.without_usage(data) if self._relay.hides_usage else data

    def broke(self, _connection: Connection, why: str) -> None:
        """The engine is gone. After [DONE] nothing was missing."""
        if not self._rest and self._parts and self._dialect.done(self._parts[-1]):
            self.close(b"")
        else:
            self.broken(f"{why}.", "connection")

    def broken(self, why: str, reason: str, event: Event | None = Event.FAILURE) -> None:
        """No more comes from this engine. `event` is for the breaker; None: the engine is not to blame."""
        self._connection.keep = False
        if not self._relay.resume_elsewhere(self, why, reason, event):
            self.fail(why, event)

    def fail(self, why: str, event: Event | None) -> None:
        """Ends the caller's stream with an error event."""
        relay = self._relay
        relay.plane.tally.of(relay.model or UNKNOWN).truncations += 1
        error = StreamTruncated(f"The answer is incomplete, its stream broke: {why} Start the request again.")
        if relay.write(self._framed(self._dialect.failure(encode(error))) + self._ending()):
            relay.finish(502, event)

    def _failed(self, before: bytes) -> None:
        """The engine's own error: what came before it is content."""
        if self._sent(before):
            self.broken("the engine reported an error.", "error_event")

    def _end(self, data: bytes) -> None:
        """The engine's message is complete: did the stream end?"""
        if self._rest and self._dialect.done(self._rest):  # only the last empty line is missing
            data, self._rest = data + self._rest.rstrip() + b"\n\n", b""
        tail = b"".join(self._parts[-2:]) + data
        if self._rest or not self._dialect.finished(tail):
            if self._sent(data):
                self.broken("it ended without a finish reason.", "truncated")
            return
        self._relay.count_usage(self._dialect.usage(tail))
        self.close(data)

    def _sent(self, data: bytes) -> bool:
        """False: the caller has left."""
        if not data:
            return True
        self._keep(data)
        return self._relay.write(self._framed(self._shown(data)))

    def close(self, data: bytes) -> None:
        """Ends the caller's stream well, with these last events."""
        ending = (self._framed(self._shown(data)) if data else b"") + self._ending()
        if not ending or self._relay.write(ending):
            self._relay.finish(200)

    def _framed(self, data: bytes) -> bytes:
        return answers.chunk(data) if self._chunks and data else data

    def _ending(self) -> bytes:
        return answers.LAST_CHUNK if self._chunks else b""


def _count(parts: list[bytes]) -> int:
    return sum(part.count(b"data:") for part in parts)
