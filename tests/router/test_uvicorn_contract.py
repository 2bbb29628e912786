"""What the protocol relies on in uvicorn without uvicorn saying so. A failure here means: read its new source before raising the pin."""

from __future__ import annotations

import asyncio
import inspect
import socket
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.upstream import says_hello, silent

USED = (
    "config",
    "parser",
    "transport",
    "flow",
    "cycle",
    "pipeline",
    "headers",
    "server_state",
    "timeout_keep_alive",
    "timeout_keep_alive_task",
)


@pytest.fixture
async def line() -> HttpToolsProtocol:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        pass

    return HttpToolsProtocol(uvicorn.Config(app, log_config=None), ServerState(), {})


@pytest.mark.parametrize("name", USED)
async def test_the_protocol_has_the_attribute(line: HttpToolsProtocol, name: str) -> None:
    assert hasattr(line, name)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("_start_asgi_task", ["cycle", "app"]),
        ("_unset_keepalive_if_required", []),
        ("_should_upgrade", []),
        ("_unsupported_upgrade_warning", []),
        ("handle_websocket_upgrade", []),
        ("on_message_begin", []),
        ("on_header", ["name", "value"]),
        ("on_headers_complete", []),
        ("on_body", ["body"]),
        ("on_message_complete", []),
        ("on_response_complete", []),
        ("shutdown", []),
    ],
)
def test_the_protocol_has_the_method(name: str, arguments: list[str]) -> None:
    assert list(inspect.signature(getattr(HttpToolsProtocol, name)).parameters)[1:] == arguments


@pytest.mark.parametrize(("name", "arguments"), [("startup", ["sockets"]), ("shutdown", ["sockets"])])
def test_the_server_has_the_method(name: str, arguments: list[str]) -> None:
    assert list(inspect.signature(getattr(uvicorn.Server, name)).parameters)[1:] == arguments


async def test_the_server_closes_every_one_of_its_listeners(start: Start) -> None:
    """The public socket's listener is added to them."""
    router: Running = await start()
    assert router.server.lifespan.state == {}
    public = socket.create_server(("127.0.0.1", 0))
    port = public.getsockname()[1]
    router.server.servers.append(await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=public))
    router.server.should_exit = True
    await until(lambda: refuses(port))


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


async def test_a_head_makes_the_url_headers_and_scope_afresh(line: HttpToolsProtocol) -> None:
    line.on_message_begin()
    line.on_url(b"/a")
    assert line.url == b"/a"
    line.on_header(b"EXPECT", b"100-continue")
    assert line.expect_100_continue
    assert line.scope["headers"] is line.headers
    assert line.headers == [(b"expect", b"100-continue")]
    line.on_message_begin()
    assert (line.url, line.headers, line.expect_100_continue) == (b"", [], False)


def test_a_cycle_tells_what_the_protocol_asks_it() -> None:
    source = inspect.getsource(RequestResponseCycle.__init__)
    for name in ("response_complete", "keep_alive", "disconnected", "message_event", "more_body"):
        assert f"self.{name} " in source


async def test_an_asgi_request_after_a_relayed_one_takes_its_turn(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    get = b"GET /v1/models HTTP/1.1\r\nhost: r\r\n\r\n"
    async with await router.connect() as caller:
        await caller.send(get + chat() + get + get + chat())
        assert [(await caller.reply()).status for _ in range(5)] == [200] * 5
    assert router.server.server_state.total_requests == 5


async def test_connections_are_counted_and_let_go(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(chat())
        await caller.reply()
        assert len(router.server.server_state.connections) == 1
        assert len(router.wired.protocol.lines_open) == 1
    await until(lambda: not router.server.server_state.connections and not router.wired.protocol.lines_open)


async def test_the_servers_shutdown_lets_a_relay_finish_and_closes_idle_connections(start: Start) -> None:
    async def waits(play: Any) -> None:
        await until(lambda: router.server.should_exit and not idle_lines())
        await says_hello(play)

    def idle_lines() -> list[Any]:
        return [line for line in router.wired.protocol.lines_open if line.cycle is None]

    router: Running = await start(engines=[("a", waits)])
    async with await router.connect() as busy, await router.connect() as idle:
        await busy.send(chat())
        await until(lambda: router.heard() == 1 and idle_lines())
        router.server.should_exit = True
        reply = await busy.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await idle.closed()
        assert await busy.closed()


async def test_what_outlasts_the_drain_is_told_so(start: Start) -> None:
    router: Running = await start(engines=[("a", silent)])
    async with await router.connect() as caller:
        await caller.send(chat())
        await until(lambda: router.heard() == 1)
        router.server.should_exit = True
        reply = await caller.reply()
        assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "router_stopping", "1")
