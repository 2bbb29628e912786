"""The way to a provider: certificates that must be right, connections that are used again, and proxies that the environment names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fleet.errors import SpecError
from router.providers.pool import RemotePool
from router.providers.proxies import Proxy as Found
from router.providers.proxies import proxy_for
from router.providers.remote import Address
from tests import servers
from tests.router.abroad import KEY, KEY_ENV, Certificates, Proxy, Secure, certificates, row, spec
from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.upstream import CHAT, DONE, SSE_HEAD, Play, Script, chunked, delta, says_hello

Far = Callable[..., Awaitable[Secure]]


@pytest.fixture(scope="module")
def made() -> Iterator[Certificates]:
    with servers.state_folder() as folder:
        yield certificates(folder)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def far(made: Certificates) -> AsyncIterator[Far]:
    """`await far(script)`: an HTTPS server of somebody else."""
    async with AsyncExitStack() as stack:

        async def run(script: Script, host: str = "127.0.0.1") -> Secure:
            server = Secure(script, tls=made.context(), host=host)
            await server.start()
            stack.push_async_callback(server.stop)
            return server

        yield run


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """On the way to every https address."""
    between = Proxy()
    await between.start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass%20word@127.0.0.1:{between.port}")
    yield between
    await between.stop()


def https(server: Secure, made: Certificates, *, host: str = "localhost", **more: Any) -> Any:
    given = {"base_url": f"https://{host}:{server.port}/v1", "ca_file": str(made.authority)}
    return row("far", server.port, **given | more)


async def test_an_answer_comes_over_a_verified_connection_that_is_used_again(start: Start, far: Far, made: Certificates) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(https(server, made), chain=("far",)))
    for _ in range(3):
        reply = await router.call(chat("best"))
        assert (reply.status, reply.body) == (200, CHAT)
    assert (server.connections, len(server.heard)) == (1, 3)
    assert server.heard[0].header("host") == f"localhost:{server.port}"


async def test_a_stream_comes_over_tls_in_pieces(start: Start, far: Far, made: Certificates) -> None:
    go_on = asyncio.Event()

    async def slow(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([delta("one")], end=False))
        await go_on.wait()
        await play.send(chunked([delta("two", "stop"), DONE]))

    server = await far(slow)
    router: Running = await start(spec=spec(https(server, made), chain=("far",)))
    async with await router.connect() as caller:
        await caller.send(chat("best", stream=True))
        assert b"one" in (await caller.until(1)).body
        go_on.set()
        assert (await caller.reply()).body.endswith(DONE)


async def test_large_prompts_and_answers_pass_through_tls(start: Start, far: Far, made: Certificates) -> None:
    async def echo(play: Play) -> None:
        size = len(play.heard.body)
        await play.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (size + 2))
        await play.send(b'"' + b"x" * size + b'"')

    server = await far(echo)
    router: Running = await start(spec=spec(https(server, made), chain=("far",)))
    reply = await router.call(chat("best", messages=[{"role": "user", "content": "y" * 900_000}]))
    assert (reply.status, reply.complete) == (200, True)
    assert len(reply.body) > 900_000


async def test_a_caller_who_leaves_ends_the_providers_work(start: Start, far: Far, made: Certificates) -> None:
    async def stalls(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([delta("one")], end=False))
        await play.until_left()

    server = await far(stalls)
    router: Running = await start(spec=spec(https(server, made), chain=("far",)))
    async with await router.connect() as caller:
        await caller.send(chat("best", stream=True))
        await caller.until(1)
    await until(lambda: server.open == 0)
    assert await router.metric('warmfleet_router_provider_requests_total{provider="far",outcome="left"}') == 1


@pytest.mark.parametrize(
    ("more", "why"),
    [({"ca_file": ""}, "certificate verify failed"), ({"host": "127.0.0.2"}, "IP address mismatch")],
    ids=["an unknown authority", "another name"],
)
async def test_a_certificate_that_is_wrong_is_a_failure_before_anything_is_said(
    start: Start, far: Far, made: Certificates, more: dict[str, str], why: str
) -> None:
    server = await far(says_hello, more.get("host", "127.0.0.1"))
    router: Running = await start(spec=spec(https(server, made, **more), chain=("far",)))
    reply = await router.call(chat("best"))
    assert (reply.status, reply.code, reply.route["moved"]) == (502, "upstream_failed", "connect")
    assert why in reply.json["error"]["message"]
    assert not server.heard


async def test_a_provider_whose_certificates_are_missing_is_left_out(
    start: Start, far: Far, made: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(https(server, made, ca_file=str(made.authority) + ".none"), chain=("far",)))
    assert (await router.call(chat("best"))).status == 503
    assert "provider far is left out" in caplog.text


# proxies


async def test_a_proxy_is_asked_for_a_tunnel_and_sees_nothing_else(start: Start, far: Far, made: Certificates, proxy: Proxy) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(https(server, made, host="provider.test"), chain=("far",)))
    for _ in range(2):
        reply = await router.call(chat("best"))
        assert (reply.status, reply.body) == (200, CHAT)
    assert len(proxy.heads) == 1
    head = proxy.heads[0]
    assert head.startswith(b"CONNECT provider.test:%d HTTP/1.1\r\n" % server.port)
    assert b"proxy-authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in head  # me:pass word
    assert KEY.encode() not in head
    assert (server.connections, len(server.heard)) == (1, 2)


async def test_a_proxy_that_refuses_is_a_connection_that_failed(start: Start, far: Far, made: Certificates, proxy: Proxy) -> None:
    proxy.refuses = 407
    server = await far(says_hello)
    router: Running = await start(spec=spec(https(server, made, host="provider.test"), chain=("far",)))
    reply = await router.call(chat("best"))
    assert (reply.status, reply.route["moved"]) == (502, "connect")
    assert "the proxy refuses the tunnel with HTTP 407" in reply.json["error"]["message"]


async def test_a_wrong_certificate_behind_a_proxy_is_refused_too(start: Start, far: Far, made: Certificates, proxy: Proxy) -> None:
    server = await far(says_hello)
    router: Running = await start(spec=spec(https(server, made, host="provider.test", ca_file=""), chain=("far",)))
    reply = await router.call(chat("best"))
    assert (reply.status, "certificate verify failed" in reply.json["error"]["message"]) == (502, True)
    assert not server.heard


async def test_no_proxy_means_directly(start: Start, far: Far, made: Certificates, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com, localhost")
    server = await far(says_hello)
    router: Running = await start(spec=spec(https(server, made), chain=("far",)))
    assert (await router.call(chat("best"))).status == 200
    assert not proxy.heads


async def test_a_proxy_that_cannot_be_used_leaves_the_provider_out_instead_of_going_past_it(
    start: Start, far: Far, made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@127.0.0.1:1080")
    server = await far(says_hello)
    router: Running = await start(spec=spec(https(server, made), chain=("far",)))
    assert (await router.call(chat("best"))).status == 503
    missing = (await router.get("/providers")).json["providers"][0]["missing"]
    assert "HTTPS_PROXY" in missing
    assert "secret" not in missing
    assert not server.heard


@pytest.fixture
async def no() -> AsyncIterator[Proxy]:
    """A proxy that is asked, and refuses."""
    between = Proxy(refuses=407)
    await between.start()
    yield between
    await between.stop()


def through(proxy: Proxy, host: str, clock: Callable[[], float] = lambda: 0.0, **more: bool) -> RemotePool:
    return RemotePool(Address(host, 443, tls=True), None, Found("127.0.0.1", proxy.port), clock, **more)


@pytest.mark.parametrize("host", ["2852039166", "0xA9FEA9FE", "169.254.43518"])
async def test_a_proxy_is_not_asked_for_a_name_that_leads_to_a_machine_s_own_secrets_here(no: Proxy, host: str) -> None:
    with pytest.raises(PermissionError, match="link-local"):
        await through(no, host).dial(30.0)
    assert not no.heads
    with pytest.raises(ConnectionRefusedError, match="407"):
        await through(no, host, may_be_link_local=True).dial(30.0)
    assert len(no.heads) == 1


LED = [
    (["169.254.169.254"], PermissionError),
    (["93.184.215.14", "169.254.169.254"], PermissionError),
    (["::ffff:169.254.169.254"], PermissionError),
    (["93.184.215.14"], ConnectionRefusedError),
    (["127.0.0.1"], ConnectionRefusedError),
]


@pytest.mark.parametrize(("found", "error"), LED)
async def test_one_wrong_address_of_several_is_enough_before_a_proxy(
    no: Proxy, monkeypatch: pytest.MonkeyPatch, found: list[str], error: type[OSError]
) -> None:
    async def resolver(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(2, 1, 6, "", (address, 443)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolver)
    with pytest.raises(error):
        await through(no, "p.example").dial(30.0)
    assert len(no.heads) == (error is ConnectionRefusedError)


async def test_a_resolver_that_says_nothing_keeps_nobody_from_a_proxy_and_is_asked_once_a_minute(
    no: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, clock = 0, iter((0.0, 0.0, 1.0, 59.0, 61.0, 61.0))

    async def resolver(*_: object, **__: object) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(3600)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolver)
    pool = through(no, "p.example", lambda: next(clock))
    for _ in range(4):
        with pytest.raises(ConnectionRefusedError, match="407"):
            await pool.dial(8.0)
    assert (asked, len(no.heads)) == (2, 4)


@pytest.mark.parametrize(
    ("environment", "host", "expected"),
    [
        ({}, "api.example.com", None),
        ({"HTTPS_PROXY": "http://p.example:3128"}, "api.example.com", ("p.example", 3128)),
        ({"https_proxy": "p.example:3128", "HTTPS_PROXY": "http://other:1"}, "api.example.com", ("p.example", 3128)),
        ({"ALL_PROXY": "http://p.example"}, "api.example.com", ("p.example", 80)),
        ({"HTTP_PROXY": "http://p.example:3128"}, "api.example.com", None),
        ({"HTTPS_PROXY": "http://p.example:3128", "NO_PROXY": ".example.com"}, "api.example.com", None),
        ({"HTTPS_PROXY": "http://p.example:3128", "NO_PROXY": "ample.com"}, "api.example.com", ("p.example", 3128)),
        ({"HTTPS_PROXY": "http://p.example:3128", "no_proxy": "*"}, "api.example.com", None),
    ],
)
def test_the_proxy_of_a_host_is_the_one_that_the_environment_names(
    environment: dict[str, str], host: str, expected: tuple[str, int] | None
) -> None:
    found = proxy_for(host, environment)
    assert (found and (found.host, found.port)) == expected


@pytest.mark.parametrize("value", ["https://p.example:3128", "socks5://p.example:1080", "http://:3128", "http://p.example:no"])
def test_a_proxy_of_another_kind_is_an_error_that_does_not_show_it(value: str) -> None:
    with pytest.raises(SpecError, match="HTTPS_PROXY: is no http:// proxy"):
        proxy_for("api.example.com", {"HTTPS_PROXY": value})


def test_a_tunnel_to_an_ipv6_address_names_it_in_brackets() -> None:
    assert Found("p", 1).connect("::1", 443) == b"CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\n\r\n"
