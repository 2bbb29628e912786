"""What an engine says that it counted may be any number, and no number harms a caller or the router's own sums."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.health.ledger import numbers
from router.relay import resume
from router.relay.messages_transcript import MessagesTranscript
from router.relay.transcript import Transcript
from router.wire import events, typed_events
from tests.router.client import chat, post
from tests.router.conftest import Running, Start
from tests.router.upstream import DONE, ROLE, SSE_HEAD, Script, answer, chunked, delta, plays, plays_and_cuts

LIES: list[Any] = [10**30, 10**9 + 1, -5, -(10**30), 1.5, "9", None, True, [9], {"a": 9}]


def _counts(lie: Any) -> dict[str, Any]:
    return {"prompt_tokens": lie, "completion_tokens": 3, "input_tokens": lie, "output_tokens": 3}


def _json(lie: Any) -> Script:
    choices = [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]
    return plays(answer(json.dumps({"choices": choices, "usage": _counts(lie)}).encode()))


def _large(lie: Any) -> Script:
    return plays(answer(json.dumps({"data": "x" * 600_000, "usage": _counts(lie)}).encode()))


def _stream(lie: Any) -> Script:
    counted = b"data: " + json.dumps({"choices": [], "usage": _counts(lie)}).encode() + b"\n\n"
    return plays(SSE_HEAD + chunked([ROLE, delta("one", "stop"), counted, DONE]))


def _typed(lie: Any) -> Script:
    said = [
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "one"}},
        {"type": "message_delta", "usage": _counts(lie)},
        {"type": "message_stop"},
    ]
    return plays(SSE_HEAD + chunked([b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n" for event in said]))


KINDS: dict[str, tuple[Any, bytes]] = {
    "an answer": (_json, chat()),
    "a large answer": (_large, chat()),
    "a stream": (_stream, chat(stream=True)),
    "a stream of messages": (_typed, post("/v1/messages", {"model": "large", "messages": [], "stream": True})),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_a_count_that_cannot_be_is_passed_on_and_not_counted(start: Start, kind: str, lie: Any) -> None:
    script, request = KINDS[kind]
    router: Running = await start(engines=[("a", script(lie))])
    reply = await router.call(request)
    assert (reply.status, reply.complete) == (200, True)
    sent = numbers(router.wired.plane.recorder)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=type(sent)) == sent, "what another process is told"
    assert await router.metric('warmfleet_router_input_tokens_total{model="large"}') == 0


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_count_that_cannot_be_is_none(lie: Any) -> None:
    document = json.dumps({"usage": _counts(lie)}).encode()
    assert events.json_usage(document) is None
    assert typed_events.json_usage(document) is None


def test_a_count_that_cannot_be_leaves_a_broken_stream_its_limit() -> None:
    chat, messages = Transcript(), MessagesTranscript()
    chat.read(delta("one") + b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1000000001}}\n\n')
    messages.read(
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"one"}}\n\n'
        b'data: {"type":"message_delta","delta":{},"usage":{"input_tokens":1,"output_tokens":1000000001}}\n\n'
    )
    assert (chat.tokens, messages.tokens) == (1, 1)


NAMES = ["choices", "delta", "finish_reason", "usage", "prompt_tokens", "completion_tokens", "role", "content", "error", "id", "model"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
)


@settings(max_examples=40)  # each is many answers, and slow to make up
@given(st.lists(VALUES | st.dictionaries(st.sampled_from(NAMES), st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES)))))
def test_whatever_the_engine_that_goes_on_says_it_is_told_in_the_first_ones_voice(said: list[Any]) -> None:
    voice = resume.Voice(Transcript())
    told = voice.retold(b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in said))
    assert told.count(b"data: ") <= len(said)


@pytest.mark.parametrize("delta", ['"x"', "[1]", "3", "true"])
def test_a_choice_of_another_shape_is_passed_on(delta: str) -> None:
    chunk = b'data: {"choices":[{"delta":%b}]}\n\n' % delta.encode()
    assert json.loads(resume.Voice(Transcript()).retold(chunk)[6:]) == {"choices": [{"delta": json.loads(delta)}]}


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("number", [b"9" * 5000, b"9" * 19, b"-1", b"1e3", b'"9"'], ids=lambda number: number[:8].decode())
async def test_a_limit_of_any_size_leaves_no_broken_stream_without_an_end(start: Start, limit: str, number: bytes) -> None:
    cut = plays_and_cuts(SSE_HEAD + chunked([ROLE, delta("one")], end=False))
    router: Running = await start(engines=[("a", cut), ("b", cut)])
    body = b'{"model":"large","messages":[],"stream":true,"%b":%b}' % (limit.encode(), number)
    reply = await router.call(post("/v1/chat/completions", body))
    assert reply.complete
    assert b'"error"' in reply.body
    assert router.in_flight() == 0
