"""Anthropic's messages for a caller whose engine or provider speaks chat completions only."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import BadRequest
from router.wire.messages_answered import Events, message
from router.wire.messages_asked import as_chat
from tests.router.abroad import KEY, KEY_ENV, outcome, replica, row, spec
from tests.router.client import post
from tests.router.conftest import Far, Running, Start
from tests.router.upstream import DONE, ROLE, SSE_HEAD, Play, Script, answer, chunked, delta, says_hello

ASK: dict[str, Any] = {"model": "large", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
PNG: dict[str, Any] = {"type": "base64", "media_type": "image/png", "data": "AA=="}


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return (
        b"data: "
        + json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()
        + b"\n\n"
    )


def call(arguments: str, index: int = 0, **more: str) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": more["name"]} if "name" in more else {})
    return {"tool_calls": [{"index": index, "function": function} | ({"id": more["id"]} if "id" in more else {})]}


# the request

ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it is": (
        {"temperature": 0.50, "top_p": 1, "top_k": 3, "stop_sequences": ["x"], "metadata": {"user_id": "u"}},
        {"temperature": 0.50, "top_p": 1, "stop": ["x"]},
    ),
    "a stream": ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    "system": (
        {"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]},
        {"messages": [{"role": "system", "content": "a\nb"}, {"role": "user", "content": "hi"}]},
    ),
    "pictures": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": PNG}, {"type": "image", "source": {"type": "url", "url": "u"}}]}
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                        {"type": "image_url", "image_url": {"url": "u"}},
                    ],
                }
            ]
        },
    ),
    "a tool and its result": (
        {
            "tools": [{"name": "add", "description": "d", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "messages": [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "so"},
                        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "go on"},
                        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "2"}]},
                    ],
                },
            ],
        },
        {
            "tools": [{"type": "function", "function": {"name": "add", "description": "d", "parameters": {"type": "object"}}}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "messages": [
                {
                    "role": "assistant",
                    "content": "so",
                    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}],
                },
                {"role": "tool", "tool_call_id": "t1", "content": "2"},
                {"role": "user", "content": [{"type": "text", "text": "go on"}]},
            ],
        },
    ),
    "one tool": (
        {"tool_choice": {"type": "tool", "name": "add"}},
        {"tool_choice": {"type": "function", "function": {"name": "add"}}},
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_request_of_messages_asks_the_same_of_a_chat(what: str) -> None:
    more, expected = ASKED[what]
    assert json.loads(as_chat(json.dumps(ASK | more, separators=(",", ":")).encode())) == ASK | expected


REFUSED: list[tuple[dict[str, Any], str | None]] = [
    ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "x"}}]}]}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image", "source": PNG}]}]}]}, "messages"),
    ({"system": [{"type": "image", "source": PNG}]}, "system"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
    ({"tool_choice": {"type": "some"}}, "tool_choice"),
    ({"messages": "hi"}, None),
    ({"messages": [{"role": "user"}]}, None),
    ({"stop_sequences": "x"}, None),
]


@pytest.mark.parametrize(("more", "param"), REFUSED)
def test_what_no_chat_can_say_is_refused_with_the_field_named(more: dict[str, Any], param: str | None) -> None:
    with pytest.raises(BadRequest) as refused:
        as_chat(json.dumps(ASK | more).encode())
    assert refused.value.param == param


NAMES = ["model", "messages", "role", "content", "type", "text", "source", "tools", "input"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner)
)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_becomes_a_chat_or_is_refused(body: bytes) -> None:
    try:
        json.loads(as_chat(body))
    except BadRequest:
        return


# the answer

CHUNKS = [
    ROLE,
    event({"reasoning_content": "hm"}),
    event({"content": "Let "}),
    event({"content": "me."}),
    event(call("", id="t1", name="add")),
    event(call('{"a":')),
    event(call("1}")),
    event(call("{}", index=1, id="t2", name="sub")),
    event({}, "tool_calls"),
    USAGE,
    DONE,
]
SAID = [
    ("message_start", None),
    ("content_block_start", 0),
    ("content_block_delta", 0),
    ("content_block_stop", 0),
    ("content_block_start", 1),
    ("content_block_delta", 1),
    ("content_block_delta", 1),
    ("content_block_stop", 1),
    ("content_block_start", 2),
    ("content_block_delta", 2),
    ("content_block_delta", 2),
    ("content_block_delta", 2),
    ("content_block_stop", 2),
    ("content_block_start", 3),
    ("content_block_delta", 3),
    ("content_block_stop", 3),
    ("message_delta", None),
    ("message_stop", None),
]


def read(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]


@given(st.lists(st.integers(0, sum(map(len, CHUNKS)))))
def test_a_stream_becomes_the_same_messages_however_it_arrives(cuts: list[int]) -> None:
    whole, stream, at, made = b"".join(CHUNKS), Events(), 0, b""
    for cut in sorted(cuts):
        made += stream.read(whole[at:cut], complete=False)
        at = cut
    made += stream.read(whole[at:], complete=True)
    said = read(made)
    assert [(one["type"], one.get("index")) for one in said] == SAID
    assert said[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"input_tokens": 7, "output_tokens": 2},
    }


@pytest.mark.parametrize("last", [DONE, b'data: {"error":{"message":"x"}}\n\n', b"data: {\n\n"], ids=["done", "error", "nonsense"])
def test_nothing_is_told_behind_an_end(last: bytes) -> None:
    stream = Events()
    assert read(stream.read(ROLE + delta("Hel") + last, complete=False))[-1]["type"] in ("message_stop", "error")
    assert stream.read(delta("lo", "stop") + last + DONE, complete=True) == b""


@pytest.mark.parametrize("end", range(len(CHUNKS) - 3))
def test_a_stream_that_was_cut_says_no_end(end: int) -> None:
    made = Events().read(b"".join(CHUNKS[:end]), complete=True)
    assert b"message_delta" not in made
    assert b"message_stop" not in made


@given(
    st.binary() | st.lists(st.sampled_from([*CHUNKS, b'data: {"error":{"message":"x"}}\n\n', b"data: {\n\n", b"data: 3\n\n"])).map(b"".join)
)
def test_any_answer_is_read(data: bytes) -> None:
    read(Events().read(data, complete=True))
    assert message(data) == b"" or json.loads(message(data))["type"] == "message"


# through the router


def speaks_chat_only(whole: bytes, status: int = 404, refusal: bytes = b'{"detail":"Not Found"}') -> Script:
    async def script(play: Play) -> None:
        if b"/chat/completions HTTP" in play.heard.head:
            await play.send(whole)
        else:
            await play.send(answer(refusal, status))

    return script


HELLO = answer(
    json.dumps(
        {
            "id": "c1",
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2},
        }
    ).encode()
)
STREAM = SSE_HEAD + chunked([ROLE, delta("Hel"), delta("lo", "stop"), USAGE, DONE])


def sdk(router: Running) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{router.port}", api_key="x", max_retries=0)


NO_SUCH_PATH = [
    (404, b'{"detail":"Not Found"}'),
    (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'),
    (405, b'{"detail":"Method Not Allowed"}'),
    (404, b""),
    (404, b"<html>"),
]


@pytest.mark.parametrize("refusal", NO_SUCH_PATH)
async def test_an_engine_without_messages_is_asked_by_a_chat(start: Start, refusal: tuple[int, bytes]) -> None:
    router: Running = await start(engines=[("a", speaks_chat_only(HELLO, *refusal))])
    async with sdk(router) as client:
        for _ in range(2):
            said = await client.messages.create(**ASK)
            assert [block.text for block in said.content if block.type == "text"] == ["Hello"]
            assert (said.stop_reason, said.usage.input_tokens, said.usage.output_tokens) == ("max_tokens", 7, 2)
    heard = router.engines["large/a"].heard
    assert [one.head.split(b" ")[1] for one in heard] == [b"/v1/messages", b"/v1/chat/completions", b"/v1/chat/completions"]
    assert heard[1].json == ASK
    assert router.wired.plane.homes["a"].breaker.failures == 0
    assert await router.metric('warmfleet_router_input_tokens_total{model="large"}') == 14


async def test_a_stream_of_an_engine_without_messages_is_read_by_the_sdk(start: Start) -> None:
    router: Running = await start(engines=[("a", speaks_chat_only(STREAM))])
    async with sdk(router) as client, client.messages.stream(**ASK) as stream:
        assert [text async for text in stream.text_stream] == ["Hel", "lo"]
        said = await stream.get_final_message()
    assert (said.stop_reason, said.usage.output_tokens) == ("end_turn", 2)
    assert await router.metric('warmfleet_router_output_tokens_total{model="large"}') == 2


def until_it_closes(kind: bytes, body: bytes) -> Script:
    async def script(play: Play) -> None:
        if b"/chat/completions HTTP" in play.heard.head:
            await play.send(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n\r\n%b" % (kind, body))
            play.writer.close()
        else:
            await play.send(answer(b"", 404))

    return script


@pytest.mark.parametrize("streams", [False, True])
async def test_an_answer_that_ends_with_its_connection_is_translated(start: Start, streams: bool) -> None:
    kind, body = (
        (b"text/event-stream", ROLE + delta("Hello", "stop")) if streams else (b"application/json", HELLO.partition(b"\r\n\r\n")[2])
    )
    router: Running = await start(engines=[("a", until_it_closes(kind, body))])
    reply = await router.call(post("/v1/messages", ASK | {"stream": streams}))
    assert reply.status == 200
    said = [one["type"] for one in read(reply.body)][-1] if streams else reply.json["content"][0]["text"]
    assert said == ("message_stop" if streams else "Hello")


async def test_a_connection_keeps_nothing_of_a_translation(start: Start) -> None:
    router: Running = await start(engines=[("a", speaks_chat_only(HELLO))])
    await router.call(post("/v1/messages", ASK))
    connection = router.wired.plane.homes["a"].pool.take()
    assert connection is not None
    assert connection.translation is None
    connection.drop()


async def test_a_provider_without_messages_is_asked_by_a_chat(start: Start, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    server = await far(speaks_chat_only(STREAM))
    router: Running = await start(spec=spec(row("far", server.port, max_tokens_as="max_completion_tokens"), chain=("far",)))
    reply = await router.call(post("/v1/messages", ASK | {"model": "best", "stream": True}))
    assert [one["type"] for one in read(reply.body)][-2:] == ["message_delta", "message_stop"]
    assert server.heard[-1].head.startswith(b"POST /openai/v1/chat/completions ")
    assert server.heard[-1].json["max_completion_tokens"] == 9
    assert replica(router).breaker.failures == 0
    assert await outcome(router, "ok") == 1


@pytest.mark.parametrize(
    "broken",
    [
        SSE_HEAD + chunked([ROLE, b'data: {"error":{"message":"no","code":500}}\n\n']),
        SSE_HEAD + chunked([ROLE, b"data: {\n\n"]),
        SSE_HEAD + chunked([ROLE]),
        answer(b"{}"),
        answer(b"no JSON"),
    ],
    ids=["error", "nonsense", "nothing", "no chat", "no JSON"],
)
async def test_what_is_no_answer_is_asked_for_elsewhere(start: Start, broken: bytes) -> None:
    router: Running = await start(engines=[("a", speaks_chat_only(broken)), ("b", speaks_chat_only(HELLO), "small")])
    reply = await router.call(post("/v1/messages", ASK))
    assert (reply.status, reply.json["content"]) == (200, [{"type": "text", "text": "Hello"}])


async def test_what_no_chat_can_say_is_the_callers(start: Start) -> None:
    router: Running = await start(engines=[("a", speaks_chat_only(HELLO))])
    reply = await router.call(post("/v1/messages", ASK | {"tools": [{"type": "bash_20250124", "name": "bash"}]}))
    assert (reply.status, reply.json["error"]["param"]) == (400, "tools")
    assert router.in_flight() == 0


@pytest.mark.parametrize("status", [400, 404, 405, 501])
async def test_a_refusal_of_another_kind_passes_at_once(start: Start, status: int) -> None:
    router: Running = await start(engines=[("a", speaks_chat_only(HELLO, status, b'{"error":{"message":"The model does not exist."}}'))])
    reply = await router.call(post("/v1/messages", ASK))
    assert (reply.status, router.heard()) == (status, 1)
    assert not router.wired.plane.homes["a"].lacks


async def test_an_engine_with_messages_is_left_alone(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        assert (await router.call(post(path, ASK))).status == 200
    assert not router.wired.plane.homes["a"].lacks


# the number of its tokens

COUNT: dict[str, Any] = {"model": "large", "messages": [{"role": "user", "content": "hi"}]}


def tokenizes(whole: bytes) -> Script:
    """An engine that has chats and /tokenize, and nothing of Anthropic's."""

    async def script(play: Play) -> None:
        path = play.heard.head.split(b" ")[1]
        await play.send(whole if path == b"/tokenize" else HELLO if path == b"/v1/chat/completions" else answer(b"", 404))

    return script


async def test_an_engine_without_a_count_is_asked_for_the_tokens_of_the_chat(start: Start) -> None:
    router: Running = await start(engines=[("a", tokenizes(answer(b'{"count":11,"max_model_len":4096,"tokens":[1,2]}')))])
    more = {"system": "s", "tools": [{"name": "add", "input_schema": {"type": "object"}}], "tool_choice": {"type": "auto"}}
    async with sdk(router) as client:
        for _ in range(2):
            assert (await client.messages.count_tokens(**COUNT | more)).input_tokens == 11
        assert (await client.messages.create(**ASK)).stop_reason == "max_tokens"
    heard = router.engines["large/a"].heard
    paths = [b"/v1/messages/count_tokens", b"/tokenize", b"/tokenize", b"/v1/messages", b"/v1/chat/completions"]
    assert [one.head.split(b" ")[1] for one in heard] == paths
    assert heard[1].json == {
        "model": "large",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
    }


@pytest.mark.parametrize(
    "said",
    [answer(b'{"tokens":[]}'), answer(b'{"count":"x"}'), answer(b"no JSON"), answer(b"", 404), answer(b'{"detail":"Not Found"}', 404)],
)
async def test_an_engine_that_cannot_count_refuses_and_is_not_struck(start: Start, said: bytes) -> None:
    router: Running = await start(engines=[("a", tokenizes(said))])
    for _ in range(4):
        reply = await router.call(post("/v1/messages/count_tokens", COUNT))
        assert (reply.status, reply.json["error"]["type"]) == (404, "not_found_error")
        assert "/v1/messages/count_tokens" in reply.json["error"]["message"]
    assert router.wired.plane.homes["a"].breaker.failures == 0
    assert router.in_flight() == 0
