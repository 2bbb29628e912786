"""One request and its answer on a caller's connection, where uvicorn keeps its request-response cycle.

It collects the body, then is the sink of the relay. The attributes that uvicorn's protocol looks at are named as uvicorn names them:
`response_complete`, `keep_alive`, `disconnected`, `message_event`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from router.errors import RouterError
from router.plane import DataPlane
from router.relay.relay import Relay
from router.relay.traced import following
from router.wire.dialects import Dialect
from router.wire.head import RequestHead
from router.wire.inflate import inflated


class Line(Protocol):
    """The connection. `flow`, `transport` and `client` are uvicorn's."""

    plane: DataPlane
    write: Callable[[bytes], None]
    flow: Any
    transport: Any
    client: tuple[str, int] | None

    def refuse_exchange(self, exchange: Exchange, error: RouterError) -> None:
        """Answers what no relay gets, and closes."""

    def next_exchange(self, exchange: Exchange) -> None:
        """An exchange has been answered."""


class _NobodyWaits:
    """uvicorn sets its cycle's event when a connection is lost; a relay is told otherwise."""

    def set(self) -> None:
        pass


_RESET: Final = struct.pack("ii", 1, 0)
_NOBODY_WAITS: Final = _NobodyWaits()


class Exchange:
    __slots__ = (
        "_dialect",
        "_line",
        "_parts",
        "_path",
        "_relay",
        "chunks",
        "complete",
        "disconnected",
        "error",
        "head",
        "keep_alive",
        "refused",
        "response_complete",
        "size",
        "write",
    )

    message_event = _NOBODY_WAITS

    def __init__(  # noqa: PLR0917 - by place, because that costs least and one is made for every request
        self, line: Line, path: bytes, dialect: Dialect, head: RequestHead, keep_alive: bool, chunks: bool
    ) -> None:
        self._line = line
        self._path = path
        self._dialect = dialect
        self._parts: list[bytes] = []
        self.head = head
        self.keep_alive = keep_alive
        self.chunks = chunks
        self.write = line.write
        self.response_complete = self.disconnected = self.complete = self.refused = False
        self.error: RouterError | None = None
        self.size = 0
        self._relay: Relay | None = None

    # the request

    @property
    def begun(self) -> bool:
        return self._relay is not None

    @property
    def has_begun_to_answer(self) -> bool:
        return self._relay is not None and self._relay.begun is not None

    def add(self, body: bytes) -> None:
        self._parts.append(body)
        self.size += len(body)

    def clear(self) -> None:
        self._parts = []

    def begin(self) -> None:
        parts, self._parts = self._parts, []
        self.relay(parts[0] if len(parts) == 1 else b"".join(parts))

    def relay(self, body: bytes) -> None:
        """Begins with a whole body."""
        plane = self._line.plane
        if self.head.coding is not None:
            try:
                body = inflated(body, self.head.coding, plane.limits.max_body_bytes)
            except RouterError as error:
                self._line.refuse_exchange(self, error)
                return
        span = plane.traces.start(self._path, self.head) if plane.traces is not None else None
        if span is None:
            relay = self._relay = Relay(plane, self, self._path, self._dialect, self.head, body)
        else:
            relay = self._relay = following(span, plane, self, self._path, self._dialect, self.head, body)
        if self._line.flow.write_paused:
            relay.pause()
        relay.begin()

    # the answer

    @property
    def peer(self) -> str:
        client = self._line.client
        return client[0] if client else ""

    def finished(self) -> None:
        self._relay = None
        self.response_complete = True
        if not self.disconnected:
            self._line.next_exchange(self)

    def cut(self) -> None:
        self.keep_alive = False
        if not self.chunks:  # an answer that ends with the connection must not look whole, so the connection is reset
            self._line.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._line.transport.abort()

    def caller_left(self) -> None:
        self.disconnected = True
        if self._relay is not None:
            self._relay.caller_left()

    def pause(self) -> None:
        if self._relay is not None:
            self._relay.pause()

    def resume(self) -> None:
        if self._relay is not None:
            self._relay.resume()
