"""Compressed bodies on the paths that are not relayed: read as those of the relayed ones are, within the same bound."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from fleet.key import digest
from fleet.model import Tenant
from tests.router.bomb import bomb
from tests.router.client import post
from tests.router.conftest import LIMITS, SPEC, Running, Start
from tests.router.upstream import Play, says_hello

PACKED = {"content-encoding": "gzip"}
BOMB_BYTES = 500_000_000
BOMB = bomb(BOMB_BYTES)
ASKS: list[tuple[str, dict[str, Any], str]] = [
    ("/initiate_call", {"session_id": "s-packed", "selector": 0}, "session_id"),
    ("/chat_completions", {"session_id": "s-packed", "message": "hi " * 400}, "response"),
    ("/chat/completions", {"model": "large", "messages": [{"role": "user", "content": "hi " * 400}]}, "choices"),
    ("/api/generate", {"prompt": "hi " * 400}, "response"),
    ("/routing/explain", {"model": "best", "messages": [{"role": "user", "content": "hi"}]}, ""),
]


def packed(path: str, body: object, coding: str = "gzip") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return post(path, gzip.compress(raw), {"content-encoding": coding})


async def _nobody(play: Play) -> None:
    raise AssertionError


async def test_every_path_that_takes_a_body_takes_a_compressed_one(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    for path, body, said in ASKS:
        for coding in ("gzip", "x-gzip", "GZIP"):
            reply = await router.call(packed(path, body, coding))
            assert (reply.status, said in reply.body.decode()) == (200, True), (path, reply.body)


async def test_an_engine_gets_what_was_said_and_nothing_of_the_coding(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    await router.call(packed("/api/generate", {"prompt": "Grüße, und noch viel mehr"}))
    (heard,) = router.engines["large/a"].heard
    assert heard.json["messages"] == [{"role": "user", "content": "Grüße, und noch viel mehr"}]
    assert heard.header("content-encoding") is None


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (BOMB, "gzip", 413, "request_too_large"),
        (gzip.compress(b"x" * (LIMITS.max_body_bytes + 1)), "gzip", 413, "request_too_large"),
        (b'{"prompt": "plain"}', "gzip", 400, "invalid_request"),
        (gzip.compress(b"{}")[:-4], "gzip", 400, "invalid_request"),
        (b"", "gzip", 400, "invalid_request"),
        (b"x", "br", 415, "unsupported_content_encoding"),
        (gzip.compress(gzip.compress(b"{}")), "gzip, gzip", 415, "unsupported_content_encoding"),
    ],
    ids=["bomb", "one byte too much", "no gzip", "cut off", "nothing", "brotli", "twice"],
)
async def test_what_is_refused_reaches_no_engine(start: Start, body: bytes, coding: str, status: int, code: str) -> None:
    assert len(body) < LIMITS.max_body_bytes
    router: Running = await start(engines=[("a", _nobody)])
    for path, _, _ in ASKS:
        reply = await router.call(post(path, body, {"content-encoding": coding}))
        assert (reply.status, reply.code, reply.headers.get("accept-encoding")) == (status, code, "gzip" if status == 415 else None), path
    assert router.heard() == 0


async def test_a_bomb_costs_no_more_memory_than_the_largest_body(start: Start) -> None:
    router: Running = await start(engines=[("a", _nobody)])
    await router.call(packed("/api/generate", {"prompt": 1}))  # what is made once is made
    request = post("/api/generate", BOMB, PACKED)
    tracemalloc.start()
    try:
        assert (await router.call(request)).status == 413
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMITS.max_body_bytes < BOMB_BYTES / 50
    finally:
        tracemalloc.stop()


async def test_two_codings_in_two_lines_are_two(start: Start) -> None:
    router: Running = await start(engines=[("a", _nobody)])
    reply = await router.call(post("/api/generate", gzip.compress(b"{}"), {"content-encoding": "gzip", "Content-Encoding": "gzip"}))
    assert reply.status == 415


async def test_what_is_sent_is_limited_before_it_is_inflated(start: Start) -> None:
    router: Running = await start(engines=[("a", _nobody)])
    reply = await router.call(post("/api/generate", b"x" * (LIMITS.max_body_bytes + 1), PACKED))
    assert (reply.status, reply.code) == (413, "request_too_large")


async def test_nothing_is_inflated_for_whom_no_tenant_knows(start: Start) -> None:
    tenant = Tenant(name="t", key_sha256=(digest("wf-tenant"),))
    router: Running = await start(engines=[("a", says_hello)], spec=replace(SPEC, tenants=(tenant,)))
    assert (await router.call(post("/api/generate", BOMB, PACKED))).status == 401
    keyed = post("/api/generate", gzip.compress(b'{"prompt": "hi"}'), PACKED | {"authorization": "Bearer wf-tenant"})
    assert (await router.call(keyed)).status == 200


async def test_a_plain_body_is_left_as_it_is(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    for headers in ({}, {"content-encoding": "identity"}):
        assert (await router.call(post("/api/generate", {"prompt": "hi"}, headers))).status == 200
