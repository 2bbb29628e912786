"""Connections to a provider: TLS with verification, through an HTTP proxy where the environment names one, kept for reuse.

Law: as for a replica's connections, but a handshake is dear, so that they may be idle for longer, and what the far side says of itself
(cookies, its account, its limits) is dropped with the head: only what describes the answer is left for the caller. No name leads to an
address where a machine is told its own secrets (fleet.reach), whatever the name's owner says: what is judged is what is dialled. A proxy
dials for itself, by a resolver of its own: there, what this machine's resolver says is judged, and a name that it does not know passes.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import httptools

from fleet.reach import is_metadata
from router.providers.proxies import Proxy
from router.providers.remote import Address
from router.wire.upstream import Connection, Pool

IDLE_S: Final = 30.0
_MOST_IDLE: Final = 64
_MOST_HEAD_BYTES: Final = 16 * 1024
_LOOK_SHARE: Final = 0.25  # of the time for a dial: who needs a proxy may have a resolver that answers nothing
_BLIND_S: Final = 60.0
_SECRETS: Final = "its name leads to link-local addresses, where a machine is told its own secrets"
_KEPT: Final = frozenset(
    (b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"retry-after", b"retry-after-ms", b"x-should-retry")
)


class RemoteConnection(Connection):
    __slots__ = ()

    def on_headers_complete(self) -> None:
        self.fields[:] = [field for field in self.fields if field[0] in _KEPT]
        super().on_headers_complete()


class RemotePool(Pool):
    """Idle connections to one provider. `context`: None: no TLS. `proxy`: None: none on the way.

    `may_be_link_local`: an address is not looked at.
    """

    __slots__ = ("_address", "_blind_until", "_context", "_may_be_link_local", "_proxy")

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | None,
        proxy: Proxy | None,
        clock: Callable[[], float],
        *,
        may_be_link_local: bool = False,
    ) -> None:
        super().__init__(address.host, address.port, clock, IDLE_S)
        self._address = address
        self._context = context
        self._proxy = proxy
        self._may_be_link_local = may_be_link_local
        self._blind_until = -math.inf  # until then a proxy is not asked about first: this machine does not know the name

    async def dial(self, timeout_s: float) -> Connection:
        """Raises: OSError, of which TimeoutError and ssl.SSLError are some."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._proxy is None:
                    return await self._directly()
                await self._look_ahead(timeout_s * _LOOK_SHARE)
                return await self._through(self._proxy)
        except UnicodeError as error:  # a host name that is none
            raise OSError(f"{self._address.host!r} is no host name") from error

    def give_back(self, connection: Connection) -> None:
        if len(self) >= _MOST_IDLE:
            connection.drop()
        else:
            super().give_back(connection)

    async def _directly(self) -> Connection:
        loop, to, failed = asyncio.get_running_loop(), self._address, OSError("it has no address")
        server_name = to.host if self._context is not None else None
        for host in await self._addresses():
            try:
                make: Any = partial(RemoteConnection, self)
                _, connection = await loop.create_connection(make, host, to.port, ssl=self._context, server_hostname=server_name)
            except OSError as error:
                failed = error
            else:
                return cast(Connection, connection)
        raise failed

    async def _addresses(self) -> list[str]:
        """Where a connection may go. Raises: OSError: nowhere."""
        hosts = await self._resolved()
        allowed = hosts if self._may_be_link_local else [host for host in hosts if not is_metadata(host)]
        if hosts and not allowed:
            raise PermissionError(_SECRETS)
        return allowed

    async def _resolved(self) -> list[str]:
        """What the host's name leads to here, each once. Raises: OSError: nothing."""
        found = await asyncio.get_running_loop().getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    async def _look_ahead(self, wait_s: float) -> None:
        """Whether a proxy may be asked for the host, as far as this machine knows its name: one wrong address of several is enough.

        Raises: PermissionError
        """
        if self._may_be_link_local or self._clock() < self._blind_until:
            return
        try:
            async with asyncio.timeout(wait_s):
                hosts = await self._resolved()
        except OSError:
            self._blind_until = self._clock() + _BLIND_S
            return
        if any(map(is_metadata, hosts)):
            raise PermissionError(_SECRETS)

    async def _through(self, proxy: Proxy) -> Connection:
        loop, to = asyncio.get_running_loop(), self._address
        tunnel = Tunnel(proxy.connect(to.host, to.port))
        transport, _ = await loop.create_connection(lambda: tunnel, proxy.host, proxy.port)
        try:
            await tunnel.ready
            connection: Any = RemoteConnection(self)
            if self._context is not None:
                upgraded = await loop.start_tls(transport, connection, self._context, server_hostname=to.host)
                if upgraded is None:
                    raise ConnectionResetError("the connection ended in the handshake")
                transport = upgraded
            else:
                transport.set_protocol(connection)
            connection.connection_made(transport)
        except BaseException:
            transport.abort()
            raise
        return cast(Connection, connection)


class Tunnel(asyncio.Protocol):
    """Asks a proxy to CONNECT. `ready` ends with its yes. Raises: ConnectionError: it says no, or nonsense."""

    def __init__(self, request: bytes) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.ready.done():
                self._fail("the proxy's answer is no HTTP")
        if not self.ready.done() and self._size > _MOST_HEAD_BYTES:
            self._fail("the proxy's answer has no end")

    def connection_lost(self, _error: Exception | None) -> None:
        self._fail("the proxy closed the connection")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.ready.done():
            return
        if 200 <= status < 300:
            self.ready.set_result(None)
        else:
            self._fail(f"the proxy refuses the tunnel with HTTP {status}")

    def _fail(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionRefusedError(why))


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Verifies certificates and names, by the system's authorities or by a file's. Raises: OSError: the file is not there, or none."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
