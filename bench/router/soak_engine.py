"""A replica of the soak: an engine on loopback that recites what it is asked for, and breaks as its fault says.

Law of the text: a request names a number and a count of words, and the text follows from them alone. So a caller can tell a whole
answer from one with a gap, a repetition or somebody else's words, and any replica can go on where another one broke off.
JSON answers are spared the faults of streams: a router has nothing but its total clock against an engine that thinks for long.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Final

from bench.router import wire

GAP_S: Final = 0.02
_ASKED: Final = re.compile(r"Recite (\d+) words of (\d+)\.")


class Fault(Enum):
    """How a replica breaks that Consul calls passing."""

    NONE = "none"
    REFUSE = "nothing listens"
    RESET = "resets the connection instead of answering"
    GARBAGE = "answers with bytes that are no HTTP"
    ERROR = "answers 500"
    BUSY = "answers 503"
    SILENT = "opens the stream and says nothing"
    ERROR_EVENT = "reports an error as the first event"
    EMPTY = "ends the stream before any content"
    HANG_UP = "closes after its answer without saying so"
    CUT = "resets in the middle of the answer"
    STALL = "falls silent in the middle of the stream"


BEFORE_CONTENT: Final = (
    Fault.REFUSE, Fault.RESET, Fault.GARBAGE, Fault.ERROR, Fault.BUSY, Fault.SILENT, Fault.ERROR_EVENT, Fault.EMPTY, Fault.HANG_UP,
)  # fmt: skip
AFTER_CONTENT: Final = (Fault.CUT, Fault.STALL)
_OF_STREAMS: Final = (Fault.SILENT, Fault.ERROR_EVENT, Fault.EMPTY, Fault.STALL)


def request(words: int, number: int, *, stream: bool) -> dict[str, Any]:
    """The body of a chat."""
    messages = [{"role": "user", "content": f"Recite {words} words of {number}."}]
    return {"model": wire.MODEL, "messages": messages, "stream": stream, "max_tokens": words}


def text(words: int, number: int) -> str:
    """The whole answer."""
    return "".join(f"{number}.{n} " for n in range(words))


def words_for(body: dict[str, Any]) -> list[str]:
    """What is left to say: everything, or what follows the assistant's last message. An unknown beginning is said to be one."""
    messages = body["messages"]
    asked = _ASKED.search(messages[0]["content"])
    whole = text(int(asked[1]), int(asked[2])) if asked else "What? "
    said = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
    rest = whole[len(said) :] if whole.startswith(said) else "NO-SUCH-BEGINNING "
    return [word + " " for word in rest.split(" ")[:-1]]


class Engine:
    """`alloc_id` names it in Consul. `faulty` is asked before each request whether the fault strikes."""

    def __init__(self, alloc_id: str, fault: Fault, faulty: Callable[[], bool]) -> None:
        self.alloc_id = alloc_id
        self.fault = fault
        self.busy = 0
        self.port = 0
        self._faulty = faulty
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        if self.fault is Fault.REFUSE:
            self._server.close()

    async def stop(self) -> None:
        """At once: what is open is reset."""
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drain(self, patience_s: float) -> None:
        """As Nomad stops a replica that has left Consul: what is under way is finished."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self.busy:  # noqa: ASYNC110 - a poll with a deadline
                    await asyncio.sleep(0.05)
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. False: the connection is over."""
        body = await _read(reader)
        if body is None:
            writer.write(_METRICS)
            return True
        self.busy += 1
        try:
            return await self._answer(body, writer, reader)
        finally:
            self.busy -= 1

    async def _answer(self, body: dict[str, Any], writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> bool:
        fault = self.fault if self._faulty() else Fault.NONE
        if not body.get("stream") and fault in _OF_STREAMS:
            fault = Fault.NONE
        if fault in _INSTEAD:
            writer.write(_INSTEAD[fault])
            await writer.drain()
            return fault in (Fault.ERROR, Fault.BUSY, Fault.ERROR_EVENT, Fault.EMPTY)
        if fault is Fault.RESET:
            return False
        if body.get("stream"):
            await self._stream(words_for(body), fault, writer, reader)
        else:
            await _whole(words_for(body), fault, writer)
        return fault is Fault.NONE

    async def _stream(self, words: list[str], fault: Fault, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        writer.write(_SSE + wire.chunk(wire.event("", role=True, tokens=0)))
        if fault is Fault.SILENT:
            await _until_left(reader)
            return
        for at, word in enumerate(words):
            await asyncio.sleep(GAP_S)
            if at == len(words) // 2 and fault in AFTER_CONTENT:
                if fault is Fault.STALL:
                    await _until_left(reader)
                return
            writer.write(wire.chunk(wire.event(word, tokens=at + 1)))
            await writer.drain()
        writer.write(wire.chunk(wire.event("", finish="stop", tokens=len(words))) + wire.chunk(wire.DONE) + b"0\r\n\r\n")
        await writer.drain()


async def _whole(words: list[str], fault: Fault, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(GAP_S)
    body = json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "model": wire.MODEL,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "".join(words)}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)},
        }
    ).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    writer.write(answer[: -len(body) // 2] if fault is Fault.CUT else answer)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The body of a chat; None: the router reads the metrics."""
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"GET "):
        return None
    length = re.search(rb"(?i)content-length: (\d+)", head)
    body: dict[str, Any] = json.loads(await reader.readexactly(int(length[1]) if length else 0))
    return body


async def _until_left(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def _answered(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


_SSE: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
_METRICS: Final = _answered("200 OK", b"vllm:num_requests_waiting 0\n")
_ENGINE_DEAD: Final = b'data: {"error":{"message":"EngineDeadError","type":"InternalServerError","param":null,"code":500}}\n\n'
_INSTEAD: Final = {
    Fault.GARBAGE: b"\x00\x01SSH-2.0-OpenSSH_9.2 what is this\r\n\r\n",
    Fault.ERROR: _answered("500 Internal Server Error", b'{"error":{"message":"EngineDeadError","type":"InternalServerError","code":500}}'),
    Fault.BUSY: _answered("503 Service Unavailable", b'{"error":{"message":"The engine is currently busy","type":"Busy","code":503}}'),
    Fault.ERROR_EVENT: _SSE + wire.chunk(_ENGINE_DEAD) + wire.chunk(wire.DONE) + b"0\r\n\r\n",
    Fault.EMPTY: _SSE + wire.chunk(wire.event("", role=True, tokens=0)) + b"0\r\n\r\n",
}  # fmt: skip
