"""Whatever an engine says when it refuses a request, the caller reads OpenAI's shape."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.relay.engine_refusal import in_shape
from tests.router.client import chat, post
from tests.router.conftest import Running, Start
from tests.router.upstream import answer, plays

KEYS = {"message", "type", "param", "code"}
CHAT_PATH = b"/v1/chat/completions"

# What the engine said, its status, and of what the caller gets: message, type, code.
SAID = [
    (b'{"error":{"code":400,"message":"too long","type":"exceed"}}', 400, "too long", "exceed", 400),
    (b'{"type":"error","error":{"type":"overlong","message":"too long"}}', 400, "too long", "overlong", "refused_by_engine"),
    (b'{"object":"error","message":"too long","type":"Bad","param":null,"code":400}', 400, "too long", "Bad", 400),
    (b'{"detail":"no"}', 422, "no", "invalid_request_error", "refused_by_engine"),
    (b'{"detail":[{"msg":"no"}]}', 422, '[{"msg":"no"}]', "invalid_request_error", "refused_by_engine"),
    (b'{"error":"no"}', 400, "no", "invalid_request_error", "refused_by_engine"),
]


@pytest.mark.parametrize(("body", "status", "message", "kind", "code"), SAID)
def test_what_the_engine_says_is_kept_in_openais_shape(body: bytes, status: int, message: str, kind: str, code: object) -> None:
    shaped = in_shape(body, status, "small", CHAT_PATH)
    assert shaped is not None
    error = json.loads(shaped)["error"]
    assert (error["message"], error["type"], error["param"], error["code"]) == (message, kind, None, code)


def test_what_is_in_shape_is_left_alone() -> None:
    assert in_shape(b'{"error":{"message":"no","type":"Bad","param":"x","code":400}}', 400, "small", CHAT_PATH) is None


def test_what_an_engine_says_beside_its_message_is_kept() -> None:
    shaped = in_shape(b'{"type":"error","error":{"message":"long","type":"t","n_ctx":8}}', 400, "small", CHAT_PATH)
    assert shaped is not None
    assert json.loads(shaped)["type"] == "error"
    assert json.loads(shaped)["error"]["n_ctx"] == 8


@pytest.mark.parametrize("body", [b'{"error":{"message":"File Not Found","type":"x","code":404}}', b'{"detail":"Not Found"}'])
def test_a_path_that_the_engine_does_not_have_is_named(body: bytes) -> None:
    shaped = in_shape(body, 404, "small", b"/v1/score")
    assert shaped is not None
    assert json.loads(shaped)["error"]["message"].startswith("The engine of 'small' does not have /v1/score;")


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_anything_at_all_comes_out_in_shape(body: bytes) -> None:
    shaped = in_shape(body, 400, "small", CHAT_PATH)
    assert json.loads(body if shaped is None else shaped)["error"].keys() >= KEYS


@pytest.mark.parametrize("kind", ["text/html", "application/json; charset=utf-8"])
async def test_a_refusal_that_is_no_json_reaches_the_caller_as_json(start: Start, kind: str) -> None:
    router: Running = await start(engines=[("a", plays(answer(b"", 400, kind)))])
    reply = await router.call(chat())
    assert (reply.status, reply.headers["content-type"], reply.json["error"].keys()) == (400, "application/json", KEYS)
    assert "'large' refused the request with HTTP 400" in reply.json["error"]["message"]


async def test_an_endpoint_of_ours_passes_it_on_in_shape(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(answer(b"", 413)))])
    reply = await router.call(post("/api/generate", {"prompt": "Hi"}))
    assert (reply.status, reply.json["error"].keys()) == (413, KEYS)
