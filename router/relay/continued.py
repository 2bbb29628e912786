"""The part of a stream that another replica goes on with: an EventStream without a head, in the voice of the first part.

Law: what the caller sees could have come from one engine. What the engine says is rewritten before anything else is done with it, so that
this part can break and go on again like the first one. Only this part pays for the rewriting.
"""

from __future__ import annotations

from router.relay.resume import voice
from router.relay.stream import EventStream, Streamed
from router.relay.transcript import Transcript
from router.wire import events
from router.wire.upstream import Connection


class ContinuedStream(EventStream):
    __slots__ = ("_partial", "_retold")

    def __init__(self, relay: Streamed, connection: Connection, said: Transcript, held: bytes, rest: bytes) -> None:
        self._retold = voice(relay.path, said)
        self._partial = b"" if connection.complete else rest
        super().__init__(relay, connection, self._retold(held), rest if connection.complete else b"")
        self._said = said
        self._gone = said.tokens

    def open(self) -> None:
        """Sends the first events of the new engine."""
        self._go(b"", self._parts[0])

    def received(self, connection: Connection) -> None:
        whole, self._partial = events.split(self._partial, b"".join(connection.parts))
        data = self._retold(whole)
        if connection.complete:
            data, self._partial = data + self._partial, b""
        connection.parts[:] = [data] if data else []
        if len(self._partial) > events.MAX_EVENT_BYTES:
            self.broken("one event was larger than the router holds.", "oversized")
        elif self._relay.hides_usage:
            self._received(connection)
        else:
            super().received(connection)

    def broke(self, connection: Connection, why: str) -> None:
        self._rest = self._partial
        super().broke(connection, why)
