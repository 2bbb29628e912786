"""A caller that sees the bytes: a raw HTTP/1.1 client."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

import httptools


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code, whose presence also proves the error's shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return str(error["code"])

    @property
    def route(self) -> dict[str, str]:
        return dict(part.split("=", 1) for part in self.headers["x-route"].split("; "))


class Caller:
    """One connection. Replies come in order; `eof` is true when the router has closed, `was_reset` when it has not done so in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._replies: list[Reply] = []
        self._now = Reply()
        self._parser = httptools.HttpResponseParser(self)
        self.eof = self.was_reset = False
        self._bodiless = False

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> Reply:
        """The next complete reply, or what there is of it when the router closes."""
        while not self._replies and not self.eof:
            await self._read()
        return self._replies.pop(0) if self._replies else self._now

    def head_only(self) -> None:
        """The reply has no body, whatever its head says: it answers HEAD."""
        self._bodiless = True

    async def until(self, count: int) -> Reply:
        """The current reply, with at least this many chunks of body."""
        while len(self._now.chunks) < count and not self._replies and not self.eof:
            await self._read()
        return self._replies[0] if self._replies else self._now

    async def closed(self) -> bool:
        while not self.eof:
            await self._read()
        return True

    async def _read(self) -> None:
        async with asyncio.timeout(60):
            try:
                data = await self._reader.read(65536)
            except ConnectionError:
                data, self.was_reset = b"", True
        if data:
            self._parser.feed_data(data)
        else:
            self.eof = True

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._now = Reply()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        self._now.status = self._parser.get_status_code()
        if self._bodiless:
            self.on_message_complete()

    def on_body(self, data: bytes) -> None:
        self._now.body += data
        self._now.chunks.append(data)

    def on_message_complete(self) -> None:
        if self._now.status >= 200:
            self._now.complete = True
            self._replies.append(self._now)


def post(path: str, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
    return (
        f"POST {path} HTTP/1.1\r\nhost: router\r\ncontent-type: application/json\r\n{lines}content-length: {len(raw)}\r\n\r\n".encode()
        + raw
    )


def chat(model: str = "large", *, stream: bool = False, headers: dict[str, str] | None = None, **more: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    return post("/v1/chat/completions", body | ({"stream": True} if stream else {}), headers)
