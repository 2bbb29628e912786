"""A scripted engine: a real HTTP/1.1 server on loopback that answers each request as a test says."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

RECORDINGS = Path(__file__).parents[1] / "recordings" / "vllm"


@dataclass
class Heard:
    """A request as the engine received it."""

    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return None

    @property
    def json(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.body)
        return document


Script = Callable[["Play"], Awaitable[None]]


@dataclass
class Play:
    """One request being answered. A script that returns leaves the connection open for the next request; `cut` closes it."""

    heard: Heard
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def cut(self) -> None:
        self.writer.transport.abort()

    def reset(self) -> None:
        """Without an orderly end, which `cut` is where all that came has been read."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_left(self) -> None:
        """The router has closed the connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


@dataclass
class Upstream:
    """`metrics`: what it says to GET /metrics, which the router asks for beside the requests: no script sees that, and a
    connection that has carried nothing else is not counted."""

    script: Script
    metrics: bytes = b""
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._count(1)
        counted, carried = True, False
        try:
            while not writer.is_closing():
                heard = await _read(reader)
                is_request = not heard.head.startswith(b"GET /metrics ")
                carried = carried or is_request
                self._count(carried - counted)
                counted = carried
                if is_request:
                    self.heard.append(heard)
                    await self.script(Play(heard, writer, reader))
                else:
                    writer.write(answer(self.metrics, 200 if self.metrics else 404, "text/plain"))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= counted
            self._tasks.discard(task)
            writer.transport.abort()

    def _count(self, by: int) -> None:
        self.connections += by
        self.open += by


async def _read(reader: asyncio.StreamReader) -> Heard:
    head = await reader.readuntil(b"\r\n\r\n")
    heard = Heard(head[:-4], b"")
    heard.body = await reader.readexactly(int(heard.header("content-length") or 0))
    return heard


# answers


def answer(body: bytes, status: int = 200, kind: str = "application/json", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body


def chunked(parts: Iterable[bytes], *, end: bool = True) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + (b"0\r\n\r\n" if end else b"")


SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def delta(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


ROLE = b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "model": "engine",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }
).encode()


def recording(name: str) -> tuple[bytes, bytes]:
    """(head with its empty line, body) of a recorded answer."""
    head, _, body = (RECORDINGS / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def plays(data: bytes) -> Script:
    """Answers every request with these bytes."""

    async def script(play: Play) -> None:
        await play.send(data)

    return script


def plays_and_cuts(data: bytes) -> Script:
    async def script(play: Play) -> None:
        await play.send(data)
        play.writer.close()

    return script


async def resets(play: Play) -> None:
    play.cut()


async def silent(play: Play) -> None:
    await play.until_left()


says_hello = plays(answer(CHAT))
