"""uvicorn's server, which runs the router's protocol, with the order of leaving that loses nobody.

stop asked for   the public socket is no longer given away, and its name is free for the successor
                 nothing new is accepted; the queue goes on in the successor's copy of the socket
                 every answer is the last one of its connection; connections at rest get a last chance
router.drain     what still streams is moved or ended (the lifespan), then the process ends
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn

from router.app import Wired

_KEEP_ALIVE_S = 75

Giving = Callable[[], Coroutine[Any, Any, None]]


def config(wired: Wired, host: str, port: str) -> uvicorn.Config:
    """Server settings; empty `host` and `port` leave the description's own."""
    limits = wired.spec.router
    return uvicorn.Config(
        wired.app,
        host=host or limits.host or "127.0.0.1",
        port=int(port or limits.port),
        http=wired.protocol,
        loop="uvloop",
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(limits.drain_s)),
    )


class Server(uvicorn.Server):
    """`giving` gives the public socket to a successor, as long as this router wants to be one's predecessor."""

    def __init__(self, wired: Wired, host: str, port: str, giving: Giving | None = None) -> None:
        super().__init__(config(wired, host, port))
        self._wired = wired
        self._giving = giving
        self._given: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._giving is not None:
            self._given = asyncio.create_task(self._giving())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._given is not None:
            self._given.cancel()
            await asyncio.gather(self._given, return_exceptions=True)
        self._wired.plane.is_leaving = True
        self._wired.protocol.leaving_at = self._wired.plane.clock()
        await super().shutdown(sockets)
