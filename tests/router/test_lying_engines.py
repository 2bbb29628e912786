"""What an engine says that it counted may be any number, and no number harms a caller or the router's own sums."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from router.health.ledger import numbers
from router.wire import events, typed_events
from tests.router.client import chat, post
from tests.router.conftest import Running, Start
from tests.router.upstream import DONE, ROLE, SSE_HEAD, Script, answer, chunked, delta, plays

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
