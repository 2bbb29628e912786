"""The rest of an answer that is a stream of events, from its first content on.

Law: whole events only, as they came; the caller's stream ends in one of two ways: as the engine's did, if that ended well, or with an
error event and [DONE]. Never a truncated answer that looks like a success. The last events are kept by reference, to look for
their end and the usage once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router import answers, events, headers
from router.breaker import Event
from router.errors import StreamTruncated, encode
from router.upstream import Connection

if TYPE_CHECKING:
    from router.relay import Relay


class EventStream:
    """A receiver of its connection."""

    __slots__ = ("_before", "_chunks", "_connection", "_last", "_relay", "_rest", "_write")

    def __init__(self, relay: Relay, connection: Connection, first: bytes, rest: bytes) -> None:
        self._relay = relay
        self._connection = connection
        self._before = b""
        self._last = first
        self._rest = rest
        self._chunks = relay.sink.chunks
        self._write = relay.sink.write
        connection.receiver = self

    def open(self) -> None:
        """Sends head and first events in one write."""
        relay = self._relay
        if not self._chunks:
            relay.sink.keep_alive = False  # the body ends with the connection
        lines = headers.down_lines(self._connection.fields) + relay.lines()
        head = answers.head(200, lines, length=None, chunked=self._chunks, keep_alive=relay.sink.keep_alive)
        if relay.write(head + self._framed(self._last)):
            if self._connection.complete:
                self._end(b"")
            elif relay.paused_at is not None:
                self._connection.pause()

    def received(self, connection: Connection) -> None:
        parts = connection.parts
        data = b""
        if parts:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            if self._rest or data[-2:] != b"\n\n":
                data, self._rest = events.split(self._rest, data)
        if connection.complete:
            self._end(data)
        elif data:
            self._before = self._last
            self._last = data
            try:
                self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunks else data)
            except RuntimeError:
                self._relay.caller_left()
        elif len(self._rest) > events.MAX_EVENT_BYTES:
            self.broken("one event was larger than the router holds")

    def broke(self, _connection: Connection, why: str) -> None:
        """The engine is gone. After [DONE] nothing was missing."""
        if not self._rest and events.said_done(self._last):
            self._close(b"")
        else:
            self.broken(why)

    def broken(self, why: str, event: Event | None = Event.FAILURE) -> None:
        """Ends the caller's stream with an error event. `event` is for the breaker; None: the engine is not to blame."""
        relay = self._relay
        self._connection.keep = False
        if relay.replica is not None:
            relay.replica.counts.truncations += 1
        error = StreamTruncated(f"The answer is incomplete, its stream broke: {why} Start the request again.")
        if relay.write(self._framed(events.failure(encode(error))) + self._ending()):
            relay.finish(502, event)

    def _end(self, data: bytes) -> None:
        """The engine's message is complete: did the stream end?"""
        if self._rest.strip() == b"data: [DONE]":
            data, self._rest = data + events.DONE, b""
        tail = self._before + self._last + data
        if self._rest or not events.finished(tail):
            if not data or self._relay.write(self._framed(data)):
                self.broken("it ended without a finish reason.")
            return
        self._relay.count_usage(events.usage(tail))
        self._close(data)

    def _close(self, data: bytes) -> None:
        ending = (self._framed(data) if data else b"") + self._ending()
        if not ending or self._relay.write(ending):
            self._relay.finish(200)

    def _framed(self, data: bytes) -> bytes:
        return answers.chunk(data) if self._chunks else data

    def _ending(self) -> bytes:
        return answers.LAST_CHUNK if self._chunks else b""
