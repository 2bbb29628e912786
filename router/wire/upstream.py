"""A keep-alive connection to a replica, and the pool of idle ones.

Law: a connection carries one request at a time. It goes back to the pool only after a whole, well-formed answer, and retires after
4 idle seconds, before the 5 s after which vLLM's server would close it under a request. Bytes that nobody asked for end it.
What the bytes mean is the receiver's matter; so are clocks after the dial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

import httptools

from router.wire import headers
from router.wire.answer_shape import AnswerShapes
from router.wire.messages_answered import Translation

IDLE_S = 4.0
_COPY_LIMIT_BYTES = 65536


class Receiver(Protocol):
    """Whoever sent the request."""

    def received(self, connection: Connection, /) -> None:
        """Something came: look at `head`, `parts` and `complete`; take what is in `parts`."""

    def broke(self, connection: Connection, why: str, /) -> None:
        """The connection is of no more use. `connection.stale` says that it had been idle and died before any byte."""


class Connection:
    """`fields` and `status` hold once `head` is true; `parts` are body bytes without framing; `reads` grows with every read.

    `down`: the lines of `fields` that a caller may see, where they are known already: then it is a whole answer of JSON.
    `translation`: of the answer to this request; None: it is passed on as it comes.
    """

    __slots__ = (
        "_feed",
        "_parser",
        "complete",
        "down",
        "fields",
        "head",
        "idle_since",
        "keep",
        "lost",
        "on_body",
        "parts",
        "pool",
        "reads",
        "receiver",
        "reused",
        "status",
        "translation",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.receiver: Receiver | None = None
        self.parts: list[bytes] = []
        self.on_body = self.parts.append  # the parser's callback is the list's own method: no Python frame per chunk
        self.fields: list[tuple[bytes, bytes]] = []
        self.head = self.complete = self.lost = self.reused = False
        self.keep = True
        self.reads = self.status = 0
        self.down = b""
        self.translation: Translation | None = None
        self.idle_since = 0.0
        self._parser: Any = httptools.HttpResponseParser(self)
        self._feed: Callable[[bytes], None] = self._parser.feed_data

    @property
    def stale(self) -> bool:
        return self.reused and self.reads == 0

    def send(self, receiver: Receiver, head: bytes, body: bytes) -> None:
        """Starts a request. Raises: nothing; a dead transport reports itself through `broke`."""
        self.receiver = receiver
        if len(body) < _COPY_LIMIT_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    def release(self) -> None:
        """The receiver is done with it: back to the pool after a whole answer, closed otherwise."""
        self.receiver = None
        self.parts.clear()
        if self.complete and self.keep and not self.lost and not self.transport.is_closing():
            self.complete = self.head = False
            self.fields.clear()
            self.reads = 0
            self.down = b""
            self.translation = None
            self.pool.give_back(self)
        else:
            self.drop()

    def drop(self) -> None:
        """Closes at once, so that the engine stops working for it."""
        self.receiver = None
        self.keep = False
        if not self.lost:
            self.transport.abort()

    def pause(self) -> None:
        if not self.lost and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()

    # asyncio.Protocol, which is no base class here because it is not compiled

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        receiver = self.receiver
        if receiver is None:
            self.drop()
            return
        self.reads += 1
        if self.reads == 1 and self.translation is None and self._recognised(data):
            receiver.received(self)
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self.keep = False
            receiver.broke(self, f"malformed HTTP: {error}")
            return
        except httptools.HttpParserUpgrade:
            self.keep = False
            receiver.broke(self, "an upgrade that nobody asked for")
            return
        if self.complete and self.reads == 1:
            self.pool.answers.learn(data, self.fields)
        if self.head:
            if self.translation is not None and self.status == 200:
                self._translate(self.translation)
            receiver.received(self)

    def _translate(self, translation: Translation) -> None:
        streams = headers.value_of(self.fields, b"content-type").startswith(b"text/event-stream")
        translation.read(self.parts, streams=streams, complete=self.complete)

    def _recognised(self, data: bytes) -> bool:
        """A whole answer of the same shape as one before needs no parser. False: this is something else."""
        read = self.pool.answers.read(data)
        if read is None:
            return False
        self.fields, self.down, body = read
        self.parts.append(body)
        self.status = 200
        self.head = self.complete = True
        return True

    def pause_writing(self) -> None:
        """A long body waits in the transport, where its bound is router.max_body."""

    def resume_writing(self) -> None: ...

    def eof_received(self) -> None:
        receiver = self.receiver
        if receiver is not None and self.head and not self.complete and self.ends_with_connection():
            self.complete = True
            self.keep = False
            if self.translation is not None and self.status == 200:
                self._translate(self.translation)
            receiver.received(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        receiver = self.receiver
        if receiver is not None:
            receiver.broke(self, f"connection lost{f' ({error})' if error else ''}")
        else:
            self.pool.forget(self)
        self._parser = self._feed = self.on_body = None  # type: ignore[assignment]  # the parser holds this object: leave no cycle

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.complete:
            raise ValueError("a second answer to one request")
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self.head = True
        else:  # an interim answer, such as 100 Continue
            self.fields.clear()

    def on_message_complete(self) -> None:
        if self.head:
            self.complete = True
            self.keep = self.keep and self._parser.should_keep_alive()

    def ends_with_connection(self) -> bool:
        """Nothing but its end says where the body ends, so one that is cut off looks whole."""
        return not headers.value_of(self.fields, b"content-length") and not headers.value_of(self.fields, b"transfer-encoding")


class Pool:
    """Idle connections to one address, newest first. `clock`: monotonic seconds. `answers`: their shapes, which pools may share."""

    __slots__ = ("_clock", "_closed", "_host", "_idle", "_idle_s", "_port", "answers")

    def __init__(
        self, host: str, port: int, clock: Callable[[], float], idle_s: float = IDLE_S, answers: AnswerShapes | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._idle: list[Connection] = []
        self._idle_s = idle_s
        self._closed = False
        self.answers = AnswerShapes() if answers is None else answers

    def __len__(self) -> int:
        return len(self._idle)

    def take(self) -> Connection | None:
        """An idle connection that should still be good, or None: dial one."""
        oldest = self._clock() - self._idle_s
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and not connection.transport.is_closing():
                return connection
            connection.drop()
        return None

    async def dial(self, timeout_s: float) -> Connection:
        """Raises: OSError, of which TimeoutError is one."""
        loop = asyncio.get_running_loop()
        make: Any = partial(Connection, self)  # any: as above
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(make, self._host, self._port)
        except (UnicodeError, OverflowError) as error:  # what Consul was told as an address is none
            raise OSError(f"{self._host!r}, port {self._port}, is no address") from error
        return cast(Connection, connection)

    def give_back(self, connection: Connection) -> None:
        if self._closed:
            connection.drop()
            return
        connection.idle_since = self._clock()
        connection.reused = True
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def retire(self) -> None:
        """Closes what has been idle for too long."""
        oldest = self._clock() - self._idle_s
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.pop(0).drop()

    def close(self) -> None:
        """Closes idle connections now and busy ones when their answer is complete."""
        self._closed = True
        while self._idle:
            self._idle.pop().drop()
