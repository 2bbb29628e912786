"""A stream of Anthropic's messages that breaks after content goes on at another replica, and its caller sees one message."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest

from router.relay.messages_transcript import MessagesTranscript
from tests.router.client import post
from tests.router.conftest import Running, Start, with_slo
from tests.router.upstream import DONE, ROLE, SSE_HEAD, Play, Script, answer, chunked, delta, resets

ASK: dict[str, Any] = {"model": "large", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "stream": True}
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
THOUGHT = b'data: {"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
CHAT_BREAKS = [ROLE, delta("One, ")]
CHAT_ENDS = [ROLE, delta("two."), delta("", "stop"), USAGE, DONE]


def event(kind: str, **more: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **more}).encode())


START = event("message_start", message={"id": "m", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 5}})
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
BLOCK_ENDS = event("content_block_stop", index=0)
ENDS = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 5, "output_tokens": 1})
STOP = event("message_stop")


def said(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


NATIVE_BREAKS = [START, event("ping"), BLOCK, said("One, ")]


def in_turn(*streams: list[bytes], natively: bool = False) -> Script:
    """Engines share it: each stream but the last one breaks off. Who does not speak messages is asked by a chat."""
    left = list(streams)

    async def script(play: Play) -> None:
        if b"/v1/messages HTTP" in play.heard.head and not natively:
            await play.send(answer(b'{"detail":"Not Found"}', 404))
            return
        events = left.pop(0)
        await play.send(SSE_HEAD + chunked(events, end=not left))
        if left:
            await resets(play)

    return script


async def begun(start: Start, script: Script) -> Running:
    running: Running = await start(engines=[("a", script), ("b", script)], spec=with_slo(first_token_s=10.0, idle_s=10.0))
    return running


def read(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]


def chats(router: Running) -> list[dict[str, Any]]:
    heard = [one for engine in router.engines.values() for one in engine.heard]
    return [one.json for one in heard if b"/chat/completions HTTP" in one.head]


async def resumes(router: Running) -> float | None:
    return await router.metric('warmfleet_router_resumes_total{model="large",reason="connection"}')


async def test_a_translated_stream_that_breaks_goes_on_as_one_message(start: Start) -> None:
    router = await begun(start, in_turn(CHAT_BREAKS, CHAT_ENDS))
    client = anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{router.port}", api_key="x", max_retries=0)
    asked: Any = {name: value for name, value in ASK.items() if name != "stream"}
    async with client, client.messages.stream(**asked) as stream:
        assert [text async for text in stream.text_stream] == ["One, ", "two."]
        whole = await stream.get_final_message()
    assert (whole.stop_reason, whole.usage.output_tokens) == ("end_turn", 3)
    assert await resumes(router) == 1
    assert await router.metric('warmfleet_router_truncations_total{model="large"}') == 0
    assert await router.metric('warmfleet_router_output_tokens_total{model="large"}') == 3
    assert router.in_flight() == 0


@pytest.mark.parametrize("natively", [False, True])
async def test_its_events_are_those_of_one_message(start: Start, natively: bool) -> None:
    first = NATIVE_BREAKS if natively else CHAT_BREAKS
    router = await begun(start, in_turn(first, CHAT_ENDS, natively=natively))
    events = read((await router.call(post("/v1/messages", ASK))).body)
    assert [(one["type"], one.get("index")) for one in events if one["type"] != "ping"] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert events[-2]["usage"] == {"input_tokens": 6, "output_tokens": 3}
    assert await resumes(router) == 1


async def test_the_next_replica_is_asked_by_a_chat_for_what_is_left(start: Start) -> None:
    router = await begun(start, in_turn(NATIVE_BREAKS, CHAT_ENDS, natively=True))
    await router.call(post("/v1/messages", ASK | {"system": "be short", "temperature": 0}))
    assert chats(router) == [
        {
            "model": "large",
            "messages": [
                {"role": "system", "content": "be short"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "One, "},
            ],
            "max_tokens": 8,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "continue_final_message": True,
            "add_generation_prompt": False,
        }
    ]


async def test_what_goes_on_may_break_and_go_on_again(start: Start) -> None:
    router = await begun(start, in_turn(CHAT_BREAKS, [ROLE, delta("one and a half, ")], CHAT_ENDS))
    events = read((await router.call(post("/v1/messages", ASK))).body)
    assert "".join(one["delta"]["text"] for one in events if one["type"] == "content_block_delta") == "One, one and a half, two."
    assert events[-2]["usage"] == {"input_tokens": 5, "output_tokens": 4}
    assert {"role": "assistant", "content": "One, one and a half, "} in [asked["messages"][-1] for asked in chats(router)]
    assert await resumes(router) == 2


@pytest.mark.parametrize(
    ("more", "stream", "reason"),
    [
        ({"max_tokens": 1}, NATIVE_BREAKS, "max_tokens"),
        ({}, [*NATIVE_BREAKS, BLOCK_ENDS, ENDS], "end_turn"),
    ],
    ids=["at its limit", "only its end is lost"],
)
async def test_a_text_that_is_whole_ends_well(start: Start, more: dict[str, Any], stream: list[bytes], reason: str) -> None:
    router = await begun(start, in_turn(stream, [], natively=True))
    events = read((await router.call(post("/v1/messages", ASK | more))).body)
    assert [one["type"] for one in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert events[-2]["delta"]["stop_reason"] == reason
    assert not chats(router)


@pytest.mark.parametrize(
    ("more", "stream"),
    [
        ({"tools": [{"name": "add", "input_schema": {"type": "object"}}]}, CHAT_BREAKS),
        ({}, [ROLE, THOUGHT, delta("One, ")]),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Zero, "}]}, CHAT_BREAKS),
    ],
    ids=["tools", "a thought", "a beginning of the caller's own"],
)
async def test_what_cannot_go_on_ends_with_an_error(start: Start, more: dict[str, Any], stream: list[bytes]) -> None:
    router = await begun(start, in_turn(stream, CHAT_ENDS))
    kinds = [one["type"] for one in read((await router.call(post("/v1/messages", ASK | more))).body)]
    assert kinds[-1] == "error"
    assert "message_stop" not in kinds
    assert await router.metric('warmfleet_router_truncations_total{model="large"}') == 1


GOES_ON: list[tuple[str, list[bytes], bool]] = [
    ("a text", NATIVE_BREAKS, True),
    ("no text yet", [START, BLOCK], False),
    ("a text elsewhere", [START, event("content_block_start", index=1, content_block={"type": "text", "text": "One, "})], False),
    ("a block that is over", [*NATIVE_BREAKS, BLOCK_ENDS], False),
    ("a message that is over", [*NATIVE_BREAKS, BLOCK_ENDS, ENDS], False),
    ("a second block", [*NATIVE_BREAKS, BLOCK_ENDS, event("content_block_start", index=1, content_block={"type": "text"})], False),
    ("a tool", [START, event("content_block_start", index=0, content_block={"type": "tool_use"})], False),
    ("a citation", [*NATIVE_BREAKS, event("content_block_delta", index=0, delta={"type": "citations_delta"})], False),
    ("what nobody knows", [*NATIVE_BREAKS, event("other")], False),
    ("no JSON", [*NATIVE_BREAKS, b"data: {\n\n"], False),
    ("another shape", [*NATIVE_BREAKS, b'data: {"type":3}\n\n'], False),
]


@pytest.mark.parametrize(("what", "events", "goes_on"), GOES_ON, ids=[row[0] for row in GOES_ON])
def test_one_open_block_of_text_can_go_on(what: str, events: list[bytes], goes_on: bool) -> None:
    transcript = MessagesTranscript()
    transcript.read(b"".join(events))
    assert transcript.goes_on is goes_on, what
    assert transcript.text == ("One, " if transcript.plain and NATIVE_BREAKS[-1] in events else "")
