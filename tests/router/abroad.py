"""Providers for tests: real HTTP and HTTPS servers on loopback, rows that describe them, and what stands between."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fleet.local import tools
from fleet.model import Provider, Route, Slo, Spec
from router.replicas.replica import Replica
from tests.router.conftest import SPEC, Far, Running, Start
from tests.router.upstream import Script, Upstream, answer, plays, says_hello

KEY = "gsk-test-0123456789abcdefghij"
KEY_ENV = "FAR_KEY"
CLOCKS = Slo(first_token_s=10.0, idle_s=10.0)


def row(name: str, port: int, **more: Any) -> Provider:
    """A provider in clear text on loopback, with a key."""
    given: dict[str, Any] = {
        "model": f"vendor/{name}-1",
        "base_url": f"http://127.0.0.1:{port}/openai/v1",
        "key_env": KEY_ENV,
        "slo": CLOCKS,
    }
    return Provider(name=name, **given | more)


def spec(*rows: Provider, chain: tuple[str, ...], **more: Any) -> Spec:
    """The usual fleet with these providers; the route of the model "large" has this chain."""
    return replace(SPEC, providers=rows, routes=(Route(selector=0, name="best", chain=chain), *SPEC.routes[1:]), **more)


@dataclass
class Secure(Upstream):
    """An upstream that speaks TLS."""

    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]


@dataclass(frozen=True)
class Certificates:
    """Of a server that is localhost, 127.0.0.1 and provider.test."""

    authority: Path
    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def certificates(folder: Path) -> Certificates:
    """Made by Consul, which every test machine has."""
    consul = str(tools.require().consul)
    for words in (
        ["ca", "create"],
        ["cert", "create", "-server", "-additional-dnsname", "provider.test", "-additional-ipaddress", "127.0.0.1"],
    ):
        subprocess.run([consul, "tls", *words], cwd=folder, check=True, capture_output=True)
    made = "dc1-server-consul-0"
    return Certificates(folder / "consul-agent-ca.pem", folder / f"{made}.pem", folder / f"{made}-key.pem")


@dataclass
class Proxy:
    """An HTTP proxy that takes CONNECT, and remembers the heads of what it was asked. `refuses`: the status it answers with instead."""

    refuses: int = 0
    heads: list[bytes] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._tunnel(reader, writer)
        self._tasks.discard(task)
        writer.transport.abort()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.refuses:
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % self.refuses)
            await writer.drain()
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1" if host == "provider.test" else host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()


# asking them


def replica(router: Running, name: str = "far") -> Replica:
    return router.wired.plane.providers[name]


async def outcome(router: Running, what: str, name: str = "far") -> float | None:
    return await router.metric(f'warmfleet_router_provider_requests_total{{provider="{name}",outcome="{what}"}}')


async def two(start: Start, far: Far, bad: Script, good: Script = says_hello, **more: Any) -> tuple[Running, Upstream, Upstream]:
    """A route that begins with a provider and goes on with another one."""
    first, second = await far(bad), await far(good)
    rows = row("far", first.port, **more), row("next", second.port)
    return await start(spec=spec(*rows, chain=("far", "next"))), first, second


def status(code: int, extra: str = "") -> Script:
    return plays(answer(b'{"error":{"message":"no"}}', code, extra=extra))
