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
_PATIENCE_S = 10.0
_LOOK_S = 0.02

Giving = Callable[[], Coroutine[Any, Any, None]]


def config(wired: Wired, host: str, port: str) -> uvicorn.Config:
    """Server settings; empty `host` and `port` leave the description's own."""
    limits = wired.spec.router
    return uvicorn.Config(
        wired.app,
        host=host or limits.host or "127.0.0.1",
        port=int(port or limits.port),
        http=wired.protocol,  # type: ignore[arg-type]  # it makes them, and uvicorn asks no more
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
    """Listens on its own socket at once, and on the public one when it has seen Consul: the predecessor knows more until then.

    `giving` gives the public socket to a successor, as long as this router wants to be one's predecessor.
    """

    def __init__(self, wired: Wired, host: str, port: str, public: socket.socket | None = None, giving: Giving | None = None) -> None:
        super().__init__(config(wired, host, port))
        self._wired = wired
        self._public = public
        self._giving = giving
        self._beside: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._public is not None:
            self._beside.append(asyncio.create_task(self._open(self._public)))
        if self._giving is not None:
            self._beside.append(asyncio.create_task(self._giving()))

    async def _open(self, public: socket.socket) -> None:
        """Callers who come meanwhile wait in the socket's queue, or are served by the predecessor."""
        plane = self._wired.plane
        patience_until = plane.clock() + _PATIENCE_S
        while plane.feed.seen_at is None and plane.clock() < patience_until:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(_LOOK_S)
        self.servers.append(await asyncio.get_running_loop().create_server(self._line, sock=public))

    def _line(self) -> asyncio.Protocol:
        """As uvicorn makes one for the sockets that it was given."""
        made = self.config.http_protocol_class
        return made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        self._wired.plane.is_leaving = True
        self._wired.protocol.leaving_at = self._wired.plane.clock()
        open_ones = [sock for sock in (*(sockets or []), self._public) if sock is not None]
        await super().shutdown(open_ones)
