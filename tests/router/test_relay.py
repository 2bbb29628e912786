"""Answers that go well: what the caller sees is what the engine said, whatever the pieces it came in."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.router.client import Caller, chat, post
from tests.router.conftest import Running, Start, until
from tests.router.upstream import CHAT, DONE, ROLE, SSE_HEAD, Play, answer, chunked, delta, plays, recording, says_hello

STREAMS = ("chat-stream", "chat-stream-usage", "completions-stream")


async def test_a_json_answer_passes_unchanged(start: Start) -> None:
    router: Running = await start(engines=[("alloc-one", says_hello)])
    reply = await router.call(chat())
    assert (reply.status, reply.body) == (200, CHAT)
    assert reply.route == {
        "selector": "0",
        "route": "best",
        "model": "large",
        "replica": "alloc-on",
        "attempts": "1",
        "reason": "least",
    }
    assert reply.headers["x-request-id"].startswith("req-")
    assert "x-session-id" not in reply.headers
    assert router.in_flight() == 0


@pytest.mark.parametrize("name", STREAMS)
async def test_a_recorded_stream_passes_unchanged(start: Start, name: str) -> None:
    head, body = recording(name)
    router: Running = await start(engines=[("a", plays(head + chunked([body])))])
    reply = await router.call(chat(stream=True))
    assert (reply.status, reply.body, reply.complete) == (200, body, True)
    assert router.in_flight() == 0


@pytest.mark.parametrize("name", ("completions", "too-long", "bad-json"))
async def test_a_recorded_answer_passes_unchanged(start: Start, name: str) -> None:
    head, body = recording(name)
    router: Running = await start(engines=[("a", plays(head + body))])
    reply = await router.call(chat())
    assert (reply.status, reply.body) == (int(head.split()[1]), body)
    assert len(router.engines["large/a"].heard) == 1


async def test_a_stream_may_come_in_any_pieces(start: Start) -> None:
    head, body = recording("chat-stream-usage")
    pieces: list[bytes] = []

    async def script(play: Play) -> None:
        for piece in pieces:
            await play.send(piece)

    router: Running = await start(engines=[("a", script)])

    async def try_pieces(chunk_cuts: set[int], wire_cuts: set[int]) -> None:
        framed = chunked(_cut(body, chunk_cuts))
        pieces[:] = _cut(head + framed, wire_cuts)
        reply = await router.call(chat(stream=True))
        assert reply.body == body
        assert all(chunk.endswith(b"\n\n") for chunk in reply.chunks), "only whole events are relayed"

    for example in _examples(len(body)):
        await try_pieces(*example)
    assert router.in_flight() == 0


def _examples(size: int) -> list[tuple[set[int], set[int]]]:
    """Cuts as hypothesis would choose them; drawn first, because its runner does not await."""
    found: list[tuple[set[int], set[int]]] = [(set(range(1, size)), set())]

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sets(st.integers(1, size - 1), max_size=12), st.sets(st.integers(1, size + 200), max_size=12))
    def draw(chunk_cuts: set[int], wire_cuts: set[int]) -> None:
        found.append((chunk_cuts, wire_cuts))

    draw()
    return found


def _cut(data: bytes, at: set[int]) -> list[bytes]:
    edges = [0, *sorted(i for i in at if i < len(data)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


async def test_the_engine_gets_the_callers_bytes_and_none_of_its_secrets(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    body = b'{ "model" : "large",\n "messages": [], "temperature": 0.10, "x": "\\u00e9" }'
    headers = {
        "authorization": "Bearer secret",
        "x-custom": "kept",
        "connection": "keep-alive, x-named",
        "x-named": "hop",
        "te": "trailers",
        "accept-encoding": "gzip",
        "x-request-id": "mine-1",
    }
    reply = await router.call(post("/v1/chat/completions?a=1", body, headers))
    heard = router.engines["large/a"].heard[0]
    assert heard.body == body
    assert heard.head.startswith(b"POST /v1/chat/completions?a=1 HTTP/1.1")
    assert heard.header("x-custom") == "kept"
    assert [heard.header(h) for h in ("authorization", "x-named", "te", "accept-encoding", "connection")] == [None] * 5
    assert heard.header("x-request-id") == reply.headers["x-request-id"] == "mine-1"
    assert heard.header("host") == f"127.0.0.1:{router.engines['large/a'].port}"


async def test_only_the_model_is_rewritten_when_another_one_serves(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello, "small")])
    body = {"model": "large", "messages": [{"role": "user", "content": "é"}], "temperature": 0.5, "model2": "large"}
    reply = await router.call(post("/v1/chat/completions", body))
    assert router.engines["small/a"].heard[0].json == body | {"model": "small"}
    assert (reply.route["model"], reply.route["reason"]) == ("small", "fallback")
    assert await router.metric('warmfleet_router_fallbacks_total{model="large",to="small"}') == 1


@pytest.mark.parametrize(
    ("name", "served"),
    [("auto", "large"), ("quick", "small"), ("fallback", "small"), ("small", "small"), ("lone", "lone"), ("best", "large")],
)
async def test_a_name_means_a_model_a_route_or_the_routes_choice(start: Start, name: str, served: str) -> None:
    router: Running = await start(engines=[(m, says_hello, m) for m in ("large", "small", "lone")])
    assert (await router.call(chat(name))).route["model"] == served


async def test_connections_to_the_engine_are_kept(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        for _ in range(5):
            await caller.send(chat())
            assert (await caller.reply()).status == 200
    assert router.engines["large/a"].connections == 1


async def test_pipelined_requests_are_answered_in_order(start: Start) -> None:
    async def echo(play: Play) -> None:
        await play.send(answer(json.dumps({"said": play.heard.json["n"]}).encode()))

    router: Running = await start(engines=[("a", echo)])
    async with await router.connect() as caller:
        await caller.send(b"".join(chat(n=n) for n in range(40)) + b"GET /v1/models HTTP/1.1\r\nhost: r\r\n\r\n" + chat(n=40))
        replies = [await caller.reply() for _ in range(42)]
    assert [r.json["said"] for r in replies[:40]] == list(range(40))
    assert replies[40].json["object"] == "list"
    assert replies[41].json["said"] == 40
    assert router.in_flight() == 0


async def test_a_large_answer_passes_in_pieces(start: Start) -> None:
    big = json.dumps({"data": "x" * 600_000, "usage": {"prompt_tokens": 11, "total_tokens": 11}}).encode()
    router: Running = await start(engines=[("a", plays(answer(big)))])
    reply = await router.call(post("/v1/embeddings", {"model": "large", "input": "x"}))
    assert reply.body == big
    assert len(reply.chunks) > 1
    assert await router.metric('warmfleet_router_input_tokens_total{model="large"}') == 11


async def test_an_answer_that_ends_with_the_connection_is_whole(start: Start) -> None:
    async def script(play: Play) -> None:
        await play.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + CHAT)
        play.writer.close()

    router: Running = await start(engines=[("a", script)])
    assert (await router.call(chat())).body == CHAT


async def test_a_caller_of_http_1_0_gets_no_chunks(start: Start) -> None:
    parts = [ROLE, delta("Hello", "stop"), DONE]
    router: Running = await start(engines=[("a", plays(SSE_HEAD + chunked(parts)))])
    async with await router.connect() as caller:
        await caller.send(chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
        reply = await caller.reply()
    assert "transfer-encoding" not in reply.headers
    assert reply.body == b"".join(parts)


async def test_a_caller_that_waits_for_100_continue_is_told(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    head, _, body = chat(headers={"expect": "100-continue"}).partition(b"\r\n\r\n")
    async with await router.connect() as caller:
        await caller.send(head + b"\r\n\r\n")
        await until(lambda: caller._reader._buffer)
        assert bytes(caller._reader._buffer).startswith(b"HTTP/1.1 100 ")
        await caller.send(body)
        assert (await caller.reply()).status == 200


async def test_tokens_and_requests_are_counted(start: Start) -> None:
    head, body = recording("chat-stream")
    router: Running = await start(engines=[("a", plays(head + chunked([body])))])
    assert await router.metric('warmfleet_router_arrivals_total{model="large"}') == 0
    assert await router.metric('warmfleet_router_in_flight{model="lone"}') == 0
    await router.call(chat(stream=True))
    assert await router.metric('warmfleet_router_arrivals_total{model="large"}') == 1
    assert await router.metric('warmfleet_router_input_tokens_total{model="large"}') == 31
    assert await router.metric('warmfleet_router_output_tokens_total{model="large"}') == 5
    assert await router.metric('warmfleet_router_requests_total{model="large",route="best",status="200"}') == 1
    assert await router.metric('warmfleet_router_ttft_count{model="large",route="best"}') == 1
    assert await router.metric('warmfleet_router_endpoints{model="large"}') == 1


async def test_a_slow_reader_slows_the_engine_and_not_the_memory(start: Start) -> None:
    sent = 0

    async def flood(play: Play) -> None:
        nonlocal sent
        await play.send(SSE_HEAD + chunked([delta("x" * 60_000)], end=False))
        for _ in range(2000):
            await play.send(chunked([delta("x" * 60_000)], end=False))
            sent += 60_000
        await play.send(chunked([delta("", "stop"), DONE]))

    router: Running = await start(engines=[("a", flood)])
    async with await router.connect() as caller:
        caller.writer.transport.pause_reading()
        await caller.send(chat(stream=True))
        relay = await _the_relay(router)
        await until(lambda: relay.paused_at is not None)
        before = -1
        while sent != before:  # until the engine stands still
            before = sent
            await _rest(caller)
        assert sent < 60_000_000
        caller.writer.transport.resume_reading()
        reply = await caller.until(30)
        assert len(reply.chunks) >= 30
    await until(lambda: router.in_flight() == 0)


async def _the_relay(router: Running) -> object:
    await until(lambda: router.wired.plane.active)
    return next(iter(router.wired.plane.active))


async def _rest(caller: Caller) -> None:
    for _ in range(40):
        await asyncio.sleep(0.005)
