"""Compressed request bodies: what the engine gets of them, and what a caller is told who sends another thing."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import RouterError, to_http
from router.wire.inflate import inflated
from tests.router.bomb import bomb
from tests.router.client import post
from tests.router.conftest import LIMITS, Running, Start
from tests.router.upstream import DONE, ROLE, SSE_HEAD, Play, chunked, delta, plays, says_hello

CHAT = {"model": "large", "messages": [{"role": "user", "content": "hi " * 400}]}
PLAIN = json.dumps(CHAT).encode()
MOST = 100_000
BOMB = bomb(50_000_000)


@given(st.binary(max_size=2000))
def test_what_was_compressed_comes_back(body: bytes) -> None:
    for coding in (b"gzip", b"GZIP", b"x-gzip", b" gzip "):
        assert inflated(gzip.compress(body), coding, MOST) == body
    assert inflated(body, b"identity", MOST) == body


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: PACKED[: len(rest)] + rest))
def test_bytes_of_any_kind_are_inflated_or_refused(body: bytes) -> None:
    try:
        assert len(inflated(body, b"gzip", MOST)) <= MOST
    except RouterError as error:
        assert to_http(error).status in (400, 413)


PACKED = gzip.compress(PLAIN)
REFUSED = [
    ("too large once it is inflated", BOMB, b"gzip", 413),
    ("one byte too large", gzip.compress(b"x" * (MOST + 1)), b"gzip", 413),
    ("no gzip", PLAIN, b"gzip", 400),
    ("nothing", b"", b"gzip", 400),
    ("cut off", PACKED[:-9], b"gzip", 400),
    ("with a wrong checksum", PACKED[:-8] + b"12345678", b"gzip", 400),
    ("followed by something", PACKED + b"x", b"gzip", 400),
    ("followed by another", PACKED + PACKED, b"gzip", 400),
    ("deflate", zlib.compress(PLAIN), b"deflate", 415),
    ("brotli", b"x", b"br", 415),
    ("twice", gzip.compress(PACKED), b"gzip, gzip", 415),
]


@pytest.mark.parametrize(("name", "body", "coding", "status"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_refused(name: str, body: bytes, coding: bytes, status: int) -> None:
    with pytest.raises(RouterError) as refused:
        inflated(body, coding, MOST)
    assert to_http(refused.value).status == status


def test_a_body_of_just_the_limit_is_taken() -> None:
    assert len(inflated(gzip.compress(b"x" * MOST), b"gzip", MOST)) == MOST


async def test_an_engine_gets_the_body_as_it_was(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    reply = await router.call(post("/v1/chat/completions", PACKED, {"Content-Encoding": "gzip"}))
    assert reply.status == 200
    heard = router.engines["large/a"].heard[0]
    assert heard.body == PLAIN
    assert heard.header("content-encoding") is None


async def test_a_stream_is_asked_for_in_a_compressed_body_too(start: Start) -> None:
    stream = SSE_HEAD + chunked([ROLE, delta("one"), delta("two", "stop"), DONE])
    router: Running = await start(engines=[("a", plays(stream))])
    reply = await router.call(
        post("/v1/chat/completions", gzip.compress(json.dumps(CHAT | {"stream": True}).encode()), {"content-encoding": "gzip"})
    )
    assert (reply.status, reply.body.endswith(DONE)) == (200, True)


async def _nobody(play: Play) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (BOMB, "gzip", 413, "request_too_large"),
        (PLAIN, "gzip", 400, "invalid_request"),
        (PLAIN, "br", 415, "unsupported_content_encoding"),
    ],
)
async def test_a_refusal_says_why_and_reaches_no_engine(start: Start, body: bytes, coding: str, status: int, code: str) -> None:
    assert len(body) < LIMITS.max_body_bytes
    router: Running = await start(engines=[("a", _nobody)])
    reply = await router.call(post("/v1/chat/completions", body, {"content-encoding": coding}))
    assert (reply.status, reply.code, reply.headers.get("accept-encoding")) == (status, code, "gzip" if status == 415 else None)
    assert await router.metric(f'warmfleet_router_requests_total{{model="-",route="-",status="{status}"}}') == 1
    assert router.heard() == 0


async def test_two_codings_in_two_lines_are_two(start: Start) -> None:
    router: Running = await start(engines=[("a", _nobody)])
    reply = await router.call(post("/v1/chat/completions", PACKED, {"content-encoding": "gzip", "Content-Encoding": "gzip"}))
    assert reply.status == 415


async def test_a_refused_body_leaves_the_requests_behind_it_unanswered_and_closes(start: Start) -> None:
    router: Running = await start(engines=[("a", _nobody)])
    async with await router.connect() as caller:
        await caller.send(post("/v1/chat/completions", PLAIN, {"content-encoding": "gzip"}))
        assert (await caller.reply()).headers["connection"] == "close"
        assert await caller.closed()
