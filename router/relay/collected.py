"""A relayed request whose answer is collected instead of sent on: for our own endpoints that ask a model.

The same selection, failover and counts as for a caller's connection; only the sink is another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

import httptools

from router.errors import UpstreamFailed
from router.plane import DataPlane
from router.relay import traced
from router.relay.relay import Relay
from router.wire.dialects import dialect
from router.wire.events import Usage
from router.wire.head import RequestHead
from router.wire.headers import Fields


@dataclass(frozen=True, slots=True)
class Answer:
    """`model` is the one that served, None where none did. `tried`: who failed before it, and of what. `usage`: as the engine counted."""

    status: int
    fields: Fields
    body: bytes
    model: str | None
    tried: tuple[tuple[str, str], ...]
    usage: Usage | None
    took_s: float


Asking: TypeAlias = Coroutine[Any, Any, Answer]


async def ask(
    plane: DataPlane,
    path: bytes,
    body: bytes,
    session: bytes | None,
    authorization: bytes | None,
    *,
    wish: bytes | None = None,
    deadline: bytes = b"",
) -> Answer:
    """Relays a request that does not stream. Cancelling it closes the engine's connection. `authorization`: whose name it is made in.

    `wish`: what is asked of the choice, as in x-route-strategy. `deadline`: lines with the caller's x-deadline-s.

    Raises:
        UpstreamFailed: the engine broke in the middle of an answer too large to hold.
    """
    lines, make = (b"", Relay) if plane.traces is None else (plane.traces.inside(), traced.make)
    lines_up = b"content-type: application/json\r\n%b%b" % (deadline, lines)
    head = RequestHead(
        lines_up, len(body), session, None, False, False, authorization, wish, None, has_trace=bool(lines), has_deadline=bool(deadline)
    )
    sink = _Collected()
    relay = make(plane, sink, path, dialect(path), head, body)
    relay.begin()
    try:
        await sink.done
    finally:
        relay.caller_left()
    tried = zip((replica.model for replica in relay.tried), relay.moves.split(","), strict=False)
    return sink.answer(relay.model, tuple(tried), relay.usage, plane.clock() - relay.began)


class _Collected:
    """A sink, and a reader of what it is given."""

    def __init__(self) -> None:
        self.keep_alive = True
        self.chunks = True
        self.peer = ""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._parser: Any = httptools.HttpResponseParser(self)

    def write(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def finished(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def cut(self) -> None:
        if not self.done.done():
            self.done.set_exception(UpstreamFailed("The engine's connection broke in the middle of its answer."))

    def answer(self, model: str | None, tried: tuple[tuple[str, str], ...], usage: Usage | None, took_s: float) -> Answer:
        return Answer(self._parser.get_status_code(), tuple(self._fields), b"".join(self._body), model, tried, usage, took_s)

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
