"""Bytes that are no UTF-8, where JSON has text: said of whose fault they are, and never a failure of ours."""

from __future__ import annotations

import pytest

from router.errors import BadRequest
from router.relay import transcript
from router.wire import events, requests, typed_events
from router.wire.events import Content
from tests.router.client import post
from tests.router.conftest import Running, Start
from tests.router.upstream import DONE, SSE_HEAD, answer, chunked, delta, plays, says_hello

BROKEN = b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n'
HELLO = SSE_HEAD + chunked([delta("Hello", "stop"), DONE])


def test_an_event_is_the_engines_failure() -> None:
    assert events.content(BROKEN) is Content.FAILED
    assert typed_events.MESSAGES.content(b'data: {"type":"\xff"}\n\n') is Content.FAILED


def test_a_stream_with_one_cannot_go_on_elsewhere() -> None:
    said = transcript.Transcript()
    said.read(BROKEN)
    assert not said.plain


def test_a_message_closes_no_turn() -> None:
    assert requests.opens_turn(b'{"messages":[{"role":"\xff","content":"x"}]}')


def test_a_body_that_cannot_be_written_anew_is_the_callers() -> None:
    with pytest.raises(BadRequest):
        requests.with_model(b'{"model":"a","\xff":1}', "b")


async def test_a_stream_that_begins_with_it_is_asked_for_elsewhere(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(SSE_HEAD + chunked([BROKEN, DONE]))), ("b", plays(HELLO), "small")])
    reply = await router.call(post("/v1/chat/completions", {"model": "large", "messages": [], "stream": True}))
    assert (reply.status, reply.route["model"], reply.route["attempts"]) == (200, "small", "2")


async def test_an_answer_with_it_passes_as_it_is(start: Start) -> None:
    body = b'{"choices":[{"message":{"content":"\xff"}}],"usage":{"prompt_tokens":1}}'
    router: Running = await start(engines=[("a", plays(answer(body)))])
    reply = await router.call(post("/v1/chat/completions", {"model": "large", "messages": []}))
    assert (reply.status, reply.body) == (200, body)


@pytest.mark.parametrize("body", [b'{"model":"\xff","messages":[]}', b'{"model":"large","messages":[{"role":"\xff"}]}'])
async def test_a_request_with_it_is_refused_or_passed_on(start: Start, body: bytes) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    for session in ({}, {"x-session-id": "broken-text"}):
        reply = await router.call(post("/v1/chat/completions", body, session))
        assert reply.status == (400 if b'"model":"\xff"' in body else 200)
