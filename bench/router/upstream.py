"""The stub upstream: answers like vLLM, at once and from memory, so that what is measured is the proxy before it.

    python -m bench.router.upstream PORT [PORT ...]

A request says itself how it wants to be answered: `stream`, `max_tokens` (events) and `metadata.gap_ms` between them. Events are
written one by one, as an engine does. GET /bench answers `{"answers", "events", "open"}`: what all ports together have done so far.
It is the agent of traces too: what it is told at /v0. is taken and forgotten. One process and one thread for all ports.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final

import httptools
import msgspec
import uvloop

from bench.router import wire

_ANSWER: Final = wire.answer()
_JSON: Final = b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_SSE: Final = b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_FIRST: Final = wire.chunk(wire.event("", role=True, tokens=0))
_EVENT: Final = wire.chunk(wire.event("the plan"))
_LAST: Final = wire.chunk(wire.event(" ends.", finish="stop")) + wire.chunk(wire.DONE) + b"0\r\n\r\n"
_MODELS: Final = b'{"object":"list","data":[{"id":"bench","object":"model","created":0,"owned_by":"vllm"}]}'


_TOLD: Final = b"/v0."  # where Datadog's agent takes traces and their numbers
_GOT: Final = {b"/info": b'{"version":"7.60.0","endpoints":["/v0.4/traces","/v0.5/traces"]}'}


class _Metadata(msgspec.Struct):
    gap_ms: str = "5"


class _Wanted(msgspec.Struct):
    stream: bool = False
    max_tokens: int = 50
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class Counts(msgspec.Struct):
    """Since the start. `answers`: whole ones, streams included; `events`: with content; `open`: streams now."""

    answers: int = 0
    events: int = 0
    open: int = 0


_decode = msgspec.json.Decoder(_Wanted).decode


class Engine(asyncio.Protocol):
    def __init__(self, counts: Counts, later: Callable[..., object]) -> None:
        self._counts = counts
        self._later = later
        self._parser = httptools.HttpRequestParser(self)
        self._left = 0
        self._gap_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's own, of no common base

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self._close_stream()

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._url, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        if method == b"GET":
            self._send(_GOT.get(self._url) or (msgspec.json.encode(self._counts) if self._url == b"/bench" else _MODELS))
            return
        if self._url.startswith(_TOLD):
            self._send(b"{}")
            return
        wanted = _decode(self._body)
        if wanted.stream:
            self._open_stream(wanted)
        else:
            self._counts.answers += 1
            self._send(_ANSWER)

    def _send(self, body: bytes) -> None:
        self._transport.write(_JSON % len(body) + body)

    # a stream

    def _open_stream(self, wanted: _Wanted) -> None:
        self._left = wanted.max_tokens
        self._gap_s = int(wanted.metadata.gap_ms) / 1000
        self._counts.open += 1
        self._transport.write(_SSE + _FIRST)
        self._later(self._gap_s, self._next)

    def _next(self) -> None:
        if not self._left or self._transport.is_closing():
            return
        self._counts.events += 1
        if self._left == 1:
            self._counts.answers += 1
            self._close_stream()
            self._transport.write(_LAST)
        else:
            self._left -= 1
            self._transport.write(_EVENT)
            self._later(self._gap_s, self._next)

    def _close_stream(self) -> None:
        self._counts.open -= self._left > 0
        self._left = 0


async def serve(ports: list[int]) -> None:
    loop = asyncio.get_running_loop()
    counts = Counts()
    servers = [await loop.create_server(lambda: Engine(counts, loop.call_later), "127.0.0.1", port, backlog=4096) for port in ports]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve([int(port) for port in sys.argv[1:]]))
