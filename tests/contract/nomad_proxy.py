"""A proxy before a real Nomad that goes wrong in the ways that networks, ACLs, rate limits and stale servers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

Answer = web.Response | None
"""None: the connection is dropped without one."""

Fault = Callable[["NomadProxy", web.Request, bytes], Awaitable[Answer]]


@dataclass
class NomadProxy:
    """`fault` answers in Nomad's place; it may `forward` first. `orders`: bodies of the scalings that reached Nomad."""

    nomad: str
    http: aiohttp.ClientSession
    fault: Fault | None = None
    orders: list[bytes] = field(default_factory=list)
    address: str = ""
    _frozen: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        async with self.http.request(request.method, self.nomad + request.path_qs, data=body) as response:
            text = await response.read()
            if is_order(request) and response.status == 200:
                self.orders.append(body)
            return web.Response(status=response.status, body=text, content_type="application/json")

    async def remembered(self, request: web.Request, body: bytes) -> web.Response:
        """A read as it was answered the first time, whatever has happened since."""
        if request.path_qs not in self._frozen:
            fresh = await self.forward(request, body)
            self._frozen[request.path_qs] = (fresh.status, bytes(fresh.body or b""))  # type: ignore[arg-type]
        status, text = self._frozen[request.path_qs]
        return web.Response(status=status, body=text, content_type="application/json")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = await self.fault(self, request, body) if self.fault else await self.forward(request, body)
        if answer is not None:
            return answer
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@asynccontextmanager
async def nomad_proxy(nomad: str) -> AsyncIterator[NomadProxy]:
    async with aiohttp.ClientSession() as http:
        proxy = NomadProxy(nomad, http)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()


def is_order(request: web.Request) -> bool:
    return request.method == "POST" and request.path.endswith("/scale")


def refusing(status: int, text: str, *, orders_only: bool = False) -> Fault:
    async def fault(proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
        if orders_only and not is_order(request):
            return await proxy.forward(request, body)
        return web.Response(status=status, text=text)

    return fault


async def dropping(proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
    return None


async def silent(proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
    """Longer than any client of these tests waits."""
    await asyncio.sleep(5)
    return None


async def not_json(proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
    return web.Response(text="<html>a friendly page of a load balancer</html>", content_type="text/html")


async def losing_the_answer(proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
    """The order goes through; who gave it does not hear so."""
    answer = await proxy.forward(request, body)
    return None if is_order(request) else answer


async def stale(proxy: NomadProxy, request: web.Request, body: bytes) -> Answer:
    """A server that is behind: every read is the first one's answer."""
    return await proxy.remembered(request, body) if request.method == "GET" else await proxy.forward(request, body)
