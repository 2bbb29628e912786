"""Every relayed path: what passes, how its streams end well, and how they end when the engine breaks."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass

import pytest

from router.wire.dialects import RELAY_PATHS
from tests.router.client import Reply, chat, post
from tests.router.conftest import Running, Start
from tests.router.upstream import CHAT, SSE_HEAD, Script, answer, chunked, plays, plays_and_cuts, recording, says_hello

PATHS = sorted(path.decode() for path in RELAY_PATHS)


def typed(kind: str, **more: object) -> bytes:
    return f"event: {kind}\ndata: ".encode() + json.dumps({"type": kind, **more}, separators=(",", ":")).encode() + b"\n\n"


@dataclass(frozen=True)
class Stream:
    """`head` says nothing yet, `body` is content, `end` ends well; `tokens` is what the end counts."""

    path: str
    head: tuple[bytes, ...]
    body: tuple[bytes, ...]
    end: tuple[bytes, ...]
    error: bytes
    tokens: int

    @property
    def whole(self) -> bytes:
        return b"".join((*self.head, *self.body, *self.end))


MESSAGES = Stream(
    "/v1/messages",
    (
        typed("message_start", message={"id": "m", "content": [], "usage": {"input_tokens": 9, "output_tokens": 0}}),
        typed("ping"),
        typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ),
    (typed("content_block_delta", index=0, delta={"type": "text_delta", "text": 'not "type":"message_stop"'}),),
    (typed("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4}), typed("message_stop")),
    typed("error", error={"type": "overloaded_error", "message": "x"}),
    4,
)
RESPONSES = Stream(
    "/v1/responses",
    (
        typed("response.created", response={"id": "r", "error": None}),
        typed("response.in_progress", response={"id": "r", "error": None}),
        typed("response.output_item.added", item={"type": "message"}),
        typed("response.content_part.added", part={"type": "output_text", "text": ""}),
    ),
    (typed("response.output_text.delta", delta="hello"),),
    (typed("response.completed", response={"id": "r", "usage": {"input_tokens": 9, "output_tokens": 4, "details": {"x": 1}}}),),
    typed("response.failed", response={"error": {"code": "server_error", "message": "x"}}),
    4,
)
STREAMS = pytest.mark.parametrize("stream", [MESSAGES, RESPONSES], ids=lambda stream: stream.path)


def ask(stream: Stream) -> bytes:
    return post(stream.path, {"model": "large", "stream": True, "input": "hi", "messages": []})


def first_then(*scripts: Script) -> Script:
    left = list(scripts)

    async def script(play: object) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(play)  # type: ignore[arg-type]

    return script


@pytest.mark.parametrize("path", PATHS)
async def test_a_request_and_its_answer_pass_unchanged(start: Start, path: str) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    body = {"model": "large", "input": "x", "an unknown field": [1, {"é": None}]}
    reply = await router.call(post(path + "?beta=true", body))
    assert (reply.status, reply.body) == (200, CHAT)
    (heard,) = router.engines["large/a"].heard
    assert heard.head.split(b"\r\n")[0] == f"POST {path}?beta=true HTTP/1.1".encode()
    assert heard.json == body


@STREAMS
async def test_a_typed_stream_passes_and_is_counted(start: Start, stream: Stream) -> None:
    router: Running = await start(engines=[("a", plays(SSE_HEAD + chunked([*stream.head, *stream.body, *stream.end])))])
    reply = await router.call(ask(stream))
    assert (reply.status, reply.body, reply.route["attempts"]) == (200, stream.whole, "1")
    assert await router.metric('warmfleet_router_output_tokens_total{model="large"}') == stream.tokens
    assert await router.metric('warmfleet_router_truncations_total{model="large"}') == 0


async def test_a_recorded_stream_of_messages_passes_unchanged(start: Start) -> None:
    head, body = recording("messages-stream")
    router: Running = await start(engines=[("a", plays(head + chunked([body])))])
    reply = await router.call(ask(MESSAGES))
    assert reply.body == body
    assert await router.metric('warmfleet_router_input_tokens_total{model="large"}') == 31
    assert await router.metric('warmfleet_router_output_tokens_total{model="large"}') == 3


async def test_a_recorded_message_is_counted(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(b"".join(recording("messages"))))])
    assert (await router.call(post("/v1/messages", {"model": "large"}))).json["usage"]["output_tokens"] == 5
    assert await router.metric('warmfleet_router_output_tokens_total{model="large"}') == 5


@STREAMS
@pytest.mark.parametrize("failure", ["cut", "ended", "error"])
async def test_a_typed_stream_that_fails_before_content_is_another_replicas_turn(start: Start, stream: Stream, failure: str) -> None:
    bad = {
        "cut": plays_and_cuts(SSE_HEAD + chunked(stream.head, end=False)),
        "ended": plays(SSE_HEAD + chunked(stream.head)),
        "error": plays(SSE_HEAD + chunked([*stream.head, stream.error])),
    }[failure]
    shared = first_then(bad, plays(SSE_HEAD + chunked([stream.whole])))
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    reply = await router.call(ask(stream))
    assert (reply.body, reply.route["attempts"]) == (stream.whole, "2")


@STREAMS
@pytest.mark.parametrize("failure", ["cut", "ended", "error"])
async def test_a_typed_stream_that_breaks_ends_with_an_error_of_its_kind(start: Start, stream: Stream, failure: str) -> None:
    begun = [*stream.head, *stream.body]
    bad = {
        "cut": plays_and_cuts(SSE_HEAD + chunked(begun, end=False)),
        "ended": plays(SSE_HEAD + chunked(begun)),
        "error": plays(SSE_HEAD + chunked([*begun, stream.error])),
    }[failure]
    router: Running = await start(engines=[("a", bad), ("b", bad)])
    reply = await router.call(ask(stream))
    assert reply.body.startswith(b"".join(begun))
    kind, data = last_event(reply)
    assert kind == data["type"] == "error"
    assert "incomplete" in data["error"]["message"]  # type: ignore[index]
    assert b"[DONE]" not in reply.body
    assert stream.error not in reply.body
    assert router.heard() == 1
    assert await router.metric('warmfleet_router_truncations_total{model="large"}') == 1


def last_event(reply: Reply) -> tuple[str, dict[str, object]]:
    name, data = reply.body.rstrip().rsplit(b"\n\n", 1)[1].split(b"\n")
    return name.removeprefix(b"event: ").decode(), json.loads(data.removeprefix(b"data: "))


async def test_a_tool_call_of_messages_is_content(start: Start) -> None:
    tool = typed("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f"})
    bad = plays_and_cuts(SSE_HEAD + chunked([MESSAGES.head[0], tool], end=False))
    router: Running = await start(engines=[("a", bad), ("b", bad)])
    assert last_event(await router.call(ask(MESSAGES)))[0] == "error"
    assert router.heard() == 1


async def test_a_callers_mistake_in_a_stream_of_messages_passes(start: Start) -> None:
    wrong = typed("error", error={"type": "invalid_request_error", "message": "too long"})
    router: Running = await start(engines=[("a", plays(SSE_HEAD + chunked([wrong])))])
    reply = await router.call(ask(MESSAGES))
    assert reply.body.startswith(wrong)
    assert router.heard() == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_refused(start: Start, path: str, method: str) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(f"{method} {path} HTTP/1.1\r\nhost: r\r\n\r\n".encode())
        if method == "HEAD":
            caller.head_only()
        reply = await caller.reply()
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    assert router.heard() == 0


async def test_options_say_what_a_path_takes(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    reply = await router.call(b"OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: r\r\n\r\n")
    assert (reply.status, reply.headers["allow"]) == (204, "POST, OPTIONS")


async def test_a_compressed_answer_passes_as_it_is(start: Start) -> None:
    packed = gzip.compress(CHAT)
    router: Running = await start(engines=[("a", plays(answer(packed, extra="content-encoding: gzip\r\n")))])
    reply = await router.call(chat(headers={"accept-encoding": "gzip"}))
    assert (reply.body, reply.headers["content-encoding"], reply.route["attempts"]) == (packed, "gzip", "1")


CREDENTIALS = ["authorization", "cookie", "x-api-key", "api-key", "proxy-authorization", "x-goog-api-key"]


@pytest.mark.parametrize("name", CREDENTIALS)
async def test_credentials_never_reach_an_engine(start: Start, name: str) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    await router.call(chat(headers={name: "s3cr3t", name.title(): "s3cr3t", "x-harmless": "1"}))
    (heard,) = router.engines["large/a"].heard
    assert b"s3cr3t" not in heard.head
    assert heard.header("x-harmless") == "1"
