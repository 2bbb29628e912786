"""What is wrong with a request is the caller's to hear, in OpenAI's shape, and never reaches an engine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.router.client import chat, post
from tests.router.conftest import Running, Start, until, with_limits
from tests.router.upstream import says_hello

CHAT_PATH = "/v1/chat/completions"

BODIES: list[tuple[str, bytes, tuple[int, str, str | None]]] = [
    ("empty", b"", (400, "invalid_request", None)),
    ("not JSON", b"hello", (400, "invalid_request", None)),
    ("cut JSON", b'{"model": "large"', (400, "invalid_request", None)),
    ("trailing bytes", b'{"model": "large"} x', (400, "invalid_request", None)),
    ("a list", b"[]", (400, "invalid_request", None)),
    ("a string", b'"large"', (400, "invalid_request", None)),
    ("null", b"null", (400, "invalid_request", None)),
    ("no model", b"{}", (400, "invalid_request", "model")),
    ("model of the wrong type", b'{"model": 1}', (400, "invalid_request", "model")),
    ("model is null", b'{"model": null}', (400, "invalid_request", "model")),
    ("stream of the wrong type", b'{"model": "large", "stream": "yes"}', (400, "invalid_request", "stream")),
    ("invalid UTF-8 in the model", b'{"model": "\xff"}', (400, "invalid_request", None)),
    ("nested too deeply", b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"model":"large"}', (400, "invalid_request", None)),
    ("unknown model", b'{"model": "gpt-9"}', (404, "model_not_found", "model")),
    ("empty model", b'{"model": ""}', (404, "model_not_found", "model")),
    ("too large", b'{"model": "large", "x": "' + b"x" * 1024**2 + b'"}', (413, "request_too_large", None)),
]


@pytest.mark.parametrize(("name", "body", "refusal"), BODIES, ids=[row[0] for row in BODIES])
async def test_a_bad_body_is_refused(start: Start, name: str, body: bytes, refusal: tuple[int, str, str | None]) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    reply = await router.call(post(CHAT_PATH, body))
    assert (reply.status, reply.code, reply.json["error"]["param"]) == refusal
    assert reply.complete
    assert router.heard() == 0
    assert not router.wired.plane.active
    assert (await router.call(chat())).status == 200


SESSIONS = [("too long", "x" * 129), ("a space", "a b"), ("a quote", 'a"b'), ("not ASCII", "é"), ("empty", "")]


@pytest.mark.parametrize(("name", "session"), SESSIONS)
async def test_a_malformed_session_id_is_refused(start: Start, name: str, session: str) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    reply = await router.call(chat(headers={"x-session-id": session}))
    assert (reply.status, reply.code, reply.json["error"]["param"]) == (400, "invalid_session", "session_id")


async def test_a_body_that_grows_too_large_is_refused_while_it_comes(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n")
        sending = asyncio.create_task(_endless(caller.writer))
        reply = await caller.reply()
        assert (reply.status, reply.code, reply.headers["connection"]) == (413, "request_too_large", "close")
        sending.cancel()


async def _endless(writer: asyncio.StreamWriter) -> None:
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(400):
        writer.write(piece)
        await writer.drain()


async def test_a_caller_that_sends_much_too_much_still_reads_why(start: Start) -> None:
    """Closing at once would reset the connection before the answer is read."""
    router: Running = await start()
    async with await router.connect() as caller:
        await caller.send(f"POST {CHAT_PATH} HTTP/1.1\r\nhost: r\r\ncontent-length: 30000000\r\n\r\n".encode() + b" " * 30_000_000)
        assert (await caller.reply()).status == 413


async def test_a_chunked_body_is_read(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    body = b'{"model": "large"}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await router.call(head + b"5\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\n\r\n")).status == 200
    heard = router.engines["large/a"].heard[0]
    assert (heard.body, heard.header("transfer-encoding")) == (body, None)


async def test_an_upgrade_is_refused_on_relay_paths(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    reply = await router.call(chat(headers={"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "x"}))
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert router.heard() == 0


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: r\r\ncontent-length: x\r\n\r\n",
        b"\x16\x03\x01\x02",
    ],
)
async def test_bytes_that_are_no_request_are_refused_and_the_connection_closed(start: Start, data: bytes) -> None:
    router: Running = await start()
    async with await router.connect() as caller:
        await caller.send(data)
        reply = await caller.reply()
        assert (reply.status, reply.code) == (400, "invalid_request")
        assert await caller.closed()


async def test_nonsense_after_a_request_does_not_spoil_its_answer(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(chat() + b"\x00nonsense\r\n\r\n")
        assert (await caller.reply()).status == 200
        assert await caller.closed()
    assert router.heard() == 1


API: list[tuple[str, bytes, int, str]] = [
    ("unknown path", b"GET /nothing HTTP/1.1\r\nhost: r\r\n\r\n", 404, "not_found"),
    ("wrong method", b"DELETE /health HTTP/1.1\r\nhost: r\r\n\r\n", 405, "method_not_allowed"),
    ("unknown model", b"GET /v1/models/gpt-9 HTTP/1.1\r\nhost: r\r\n\r\n", 404, "model_not_found"),
    ("not JSON", post("/initiate_call", b"{"), 400, "invalid_request"),
    ("not an object", post("/initiate_call", b"[]"), 400, "invalid_request"),
    ("selector out of range", post("/initiate_call", {"selector": 16}), 400, "invalid_request"),
    ("selector of the wrong type", post("/initiate_call", {"selector": "x"}), 400, "invalid_request"),
    ("selector without a route", post("/initiate_call", {"selector": 5}), 400, "invalid_session"),
    ("malformed id", post("/initiate_call", {"session_id": "a b"}), 400, "invalid_session"),
    ("id of another selector", post("/initiate_call", {"session_id": "wf-" + "0" * 31 + "3", "selector": 0}), 400, "invalid_session"),
    ("model not there", post("/initiate_call", {"model": "gpt-9"}), 404, "model_not_found"),
    ("no message", post("/chat_completions", {"session_id": "x"}), 400, "invalid_request"),
    ("unknown session", post("/chat_completions", {"session_id": "x", "message": "hi"}), 404, "session_not_found"),
    ("too large", post("/chat_completions", {"session_id": "x", "message": "x" * 1024**2}), 413, "request_too_large"),
]


@pytest.mark.parametrize(("name", "data", "status", "code"), API, ids=[row[0] for row in API])
async def test_the_rest_of_the_api_says_what_is_wrong_in_the_same_shape(
    start: Start, name: str, data: bytes, status: int, code: str
) -> None:
    router: Running = await start()
    reply = await router.call(data)
    assert (reply.status, reply.code) == (status, code)


async def test_too_many_pipelined_requests_wait_in_the_kernel(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    held: list[Any] = []

    async def hold(play: Any) -> None:
        held.append(play)
        await until(lambda: released)
        await says_hello(play)

    released: list[bool] = []
    router.engines["large/a"].script = hold
    async with await router.connect() as caller:
        caller.writer.write(chat(x="y" * 30_000) * 200)
        await until(lambda: held)
        line = next(iter(router.wired.protocol.lines_open))
        await until(lambda: line.flow.read_paused)
        assert len(line.pipeline) < 40
        released.append(True)
        for _ in range(200):
            assert (await caller.reply()).status == 200


async def test_a_head_that_does_not_end_is_refused(start: Start) -> None:
    router: Running = await start()
    async with await router.connect() as caller:
        await caller.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\n")
        line = await _line(router)
        await until(lambda: line._reading_since is not None)
        line.sweep(router.wired.plane.clock() + 16)
        assert (await caller.reply()).status == 408
        assert await caller.closed()


async def test_a_body_that_does_not_end_is_refused(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(chat()[:-3])
        line = await _line(router)
        await until(lambda: line.cycle is not None)
        line.sweep(router.wired.plane.clock() + 16)
        assert not line.transport.is_closing()
        line.sweep(router.wired.plane.clock() + 121)
        assert (await caller.reply()).code == "request_timeout"
        assert await caller.closed()


async def test_an_idle_connection_is_closed(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(chat())
        await caller.reply()
        line = await _line(router)
        line.sweep(router.wired.plane.clock())  # idle from here on
        line.sweep(router.wired.plane.clock() + 70)
        assert not line.transport.is_closing()
        line.sweep(router.wired.plane.clock() + 80)
        assert await caller.closed()


async def _line(router: Running) -> Any:
    await until(lambda: router.wired.protocol.lines_open)
    return next(iter(router.wired.protocol.lines_open))


async def test_a_whole_request_has_its_time(start: Start) -> None:
    async def never(play: Any) -> None:
        await play.until_left()

    router: Running = await start(engines=[("a", never), ("b", never)], spec=with_limits(total_s=0.4))
    reply = await router.call(chat())
    assert (reply.status, reply.code) == (504, "upstream_timeout")
    assert router.in_flight() == 0
    assert json.loads(reply.body)["error"]["type"] == "upstream_error"
