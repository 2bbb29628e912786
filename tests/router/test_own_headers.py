"""Headers of our own that a caller gets wrong: told with the header's name, behind known heads and unknown ones, and never sent on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.wire import headers
from tests.router.client import chat, post
from tests.router.conftest import SPEC, Running, Start, with_limits
from tests.router.upstream import says_hello

ENGINES = [("a", says_hello)]
RELAYED = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses", "/tokenize"]
PAGES = [
    ("/chat/completions", {"prompt": "hi"}),
    ("/api/generate", {"prompt": "hi"}),
    ("/chat_completions", {"session_id": "mine", "message": "hi"}),
]
WRONG = [
    ("x-deadline-s", "soon", "x-deadline-s"),
    ("x-deadline-s", "-1", "x-deadline-s"),
    ("X-Deadline-S", "nan", "x-deadline-s"),
    ("x-deadline-s", "1e9", "x-deadline-s"),
    ("x-deadline-s", "", "x-deadline-s"),
    ("x-session-id", "", "session_id"),
    ("x-session-id", "two words", "session_id"),
    ("x-session-id", "x" * 129, "session_id"),
    ("x-route-strategy", "fastest", "strategy"),
    ("x-route-strategy", "max_cost=-1", "max_cost"),
]


@pytest.mark.parametrize(("name", "value", "param"), WRONG)
async def test_a_wrong_header_of_ours_is_refused_and_the_connection_goes_on(start: Start, name: str, value: str, param: str) -> None:
    router: Running = await start(engines=ENGINES)
    async with await router.connect() as caller:
        await caller.send(chat(headers={name: value}))
        reply = await caller.reply()
        assert (reply.status, reply.json["error"]["param"]) == (400, param)
        assert reply.json["error"]["type"] == "invalid_request_error"
        await caller.send(chat())
        assert (await caller.reply()).status == 200
    assert router.heard() == 1


@pytest.mark.parametrize("path", RELAYED)
async def test_every_relayed_path_reads_how_long_its_caller_waits(start: Start, path: str) -> None:
    router: Running = await start(engines=ENGINES)
    reply = await router.call(post(path, {"model": "large"}, {"x-deadline-s": "inf"}))
    assert (reply.status, reply.json["error"]["param"]) == (400, "x-deadline-s")
    assert router.heard() == 0


async def test_a_wrong_wait_is_seen_behind_a_head_that_is_known(start: Start) -> None:
    router: Running = await start(engines=ENGINES)
    said = []
    async with await router.connect() as caller:
        for value in ("1", "2", "3", "-3", "4", "nan", "5"):
            await caller.send(chat(headers={"x-deadline-s": value}))
            said.append((await caller.reply()).status)
        found = router.wired.protocol.shapes.of(chat(headers={"x-deadline-s": "6"}))
    assert said == [200, 200, 200, 400, 200, 400, 200]
    assert found is not None, "the head is recognised, whatever it says of the wait"
    assert found[1][0].has_deadline


TWICE = [
    (("x-deadline-s", "5"), ("X-Deadline-S", "6"), "x-deadline-s"),
    (("x-session-id", "one"), ("X-Session-Id", "two"), "session_id"),
    (("x-route-strategy", "cost"), ("X-Route-Strategy", "quality"), "strategy"),
    (("x-route-strategy", "cost"), ("X-Route-Strategy", "cost"), "strategy"),
]


@pytest.mark.parametrize(("first", "second", "param"), TWICE)
async def test_what_is_said_twice_is_refused_behind_any_head(
    start: Start, first: tuple[str, str], second: tuple[str, str], param: str
) -> None:
    router: Running = await start(engines=ENGINES)
    said = set()
    async with await router.connect() as caller:
        for _ in range(4):
            await caller.send(chat(headers=dict((first, second))))
            reply = await caller.reply()
            assert (reply.status, reply.json["error"]["param"]) == (400, param)
            said.add(reply.body)
    assert len(said) == 1, "the same each time, however the head was read"
    assert router.heard() == 0


@pytest.mark.parametrize(("first", "second", "param"), TWICE)
async def test_a_page_refuses_what_is_said_twice(start: Start, first: tuple[str, str], second: tuple[str, str], param: str) -> None:
    router: Running = await start(engines=ENGINES)
    paths = ["/chat/completions"] + ["/routing/explain"] * (param == "strategy")
    for path in paths:
        reply = await router.call(post(path, {"model": "auto", "messages": []}, dict((first, second))))
        assert (reply.status, reply.json["error"]["param"]) == (400, param), path
    assert router.heard() == 0


@pytest.mark.parametrize(("path", "body"), PAGES)
async def test_whatever_asks_a_model_refuses_what_is_wrong(start: Start, path: str, body: dict[str, str]) -> None:
    router: Running = await start(engines=ENGINES)
    await router.call(post("/initiate_call", {"session_id": "mine"}))
    for name, value, param in WRONG:
        if not (name == "x-session-id" and "session_id" in body):  # whose body must say it, and is what counts
            reply = await router.call(post(path, body, {name: value}))
            assert (reply.status, reply.json["error"]["param"]) == (400, param), (name, value)
    assert router.heard() == 0


async def test_what_a_header_says_goes_before_what_a_body_says(start: Start) -> None:
    router: Running = await start(engines=ENGINES)
    said = {"prompt": "hi", "model": "auto", "session_id": "from-the-body", "strategy": "latency"}
    reply = await router.call(post("/chat/completions", said, {"x-session-id": "from-the-head", "x-route-strategy": "quality"}))
    assert (reply.status, reply.headers["x-session-id"]) == (200, "from-the-head")
    assert reply.route["chosen"].startswith("quality")
    plain = await router.call(post("/chat/completions", said))
    assert (plain.headers["x-session-id"], plain.route["chosen"].partition(":")[0]) == ("from-the-body", "latency")


@pytest.mark.parametrize(("path", "body"), PAGES)
async def test_whatever_asks_a_model_waits_no_longer_than_its_caller(start: Start, path: str, body: dict[str, str]) -> None:
    patient = tuple(replace(route, hold_s=600.0) for route in SPEC.routes)  # for longer than this test waits
    router: Running = await start(spec=replace(with_limits(max_held=8), routes=patient))
    await router.call(post("/initiate_call", {"session_id": "mine"}))
    reply = await router.call(post(path, body, {"x-deadline-s": "0.8"}))
    assert (reply.status, reply.json["error"]["code"]) == (503, "model_not_warm")


def test_a_head_without_a_wait_is_not_looked_at_for_one() -> None:
    assert not headers.read_request([(b"host", b"r"), (b"x-stainless-read-timeout", b"soon")]).has_deadline
