"""A server that takes every connection and every byte, and never answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class SilentServer:
    """`heard`: the first line of each request, in order."""

    port: int = 0
    heard: list[str] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _open: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def hears(self, number: int) -> None:
        async with asyncio.timeout(90):
            while len(self.heard) < number:  # noqa: ASYNC110 - a list is polled
                await asyncio.sleep(0.02)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def hang_up(self) -> None:
        """Ends all connections, and takes no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        try:
            self.heard.append((await reader.readline()).decode().strip())
            await reader.read()
        except ConnectionError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def silent_server() -> AsyncIterator[SilentServer]:
    made = SilentServer()
    await made.start()
    try:
        yield made
    finally:
        made.hang_up()
