"""A hostile or careless caller of the whole documented API: never a 500, always OpenAI's shape, and a message that says what to send."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fleet import names
from router.api_page import Call, calls
from tests.router.client import post
from tests.router.conftest import Running, Start
from tests.router.upstream import says_hello

KEYS = {"message", "type", "param", "code"}
ADMIN = "an-admin-key"
TEXTS: list[Any] = ["", " ", "a" * 5000, "\0", "\ud800", "é", "NaN", "large", "auto"]
NUMBERS: list[Any] = [0, -1, 1, 1.5, 1e308, -1e308, 2**63, 2**70, float("nan"), float("inf")]
OTHERS: list[Any] = [None, True, [], [[]], ["x"], [None], {}, {"a": {"b": []}}, [{"role": 5, "content": None}]]
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture
async def router(start: Start, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setenv(names.ENV_ADMIN_KEY, ADMIN)
    yield await start(engines=[("a", says_hello), ("b", says_hello, "small")])


def request(method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: router\r\nauthorization: Bearer {ADMIN}\r\n"
    return f"{head}content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def wrong(call: Call) -> Iterator[dict[str, Any]]:
    """Its example with each field missing, of each wrong value, and with a field that nobody knows."""
    example = {**call.example}
    for field in {**call.schema.get("properties", {}), **example}:
        yield {key: value for key, value in example.items() if key != field}
        for value in (*TEXTS, *NUMBERS, *OTHERS):
            yield {**example, field: value}
    for value in (*TEXTS, *NUMBERS, *OTHERS):
        yield {**example, "nobody-knows": value}


@pytest.mark.parametrize("call", [call for call in calls() if call.body], ids=lambda call: f"{call.method} {call.path}")
async def test_no_value_of_any_field_makes_the_router_fail(router: Running, call: Call) -> None:
    path = call.url.removeprefix("localhost:8000")
    async with await router.connect() as caller:
        for document in wrong(call):
            await caller.send(request(call.method, path, json.dumps(document).encode()))
            reply = await caller.reply()
            assert reply.status not in (500, 502, 504), (document, reply.body)
            assert reply.status < 400 or reply.json["error"].keys() == KEYS, (document, reply.body)


NO_OBJECTS = [b"", b"null", b"5", b"[]", b"{", b"\xff\xfe", DEEP, b'{"a":' + b"9" * 5000 + b"}", b"{} x"]


async def test_a_body_that_is_no_object_is_refused_everywhere(router: Running) -> None:
    asked = [call for call in calls() if call.body and call.who != "admin"]  # without Redis no order is read
    async with await router.connect() as caller:
        for call, body in itertools.product(asked, NO_OBJECTS):
            await caller.send(request(call.method, call.url.removeprefix("localhost:8000"), body))
            reply = await caller.reply()
            assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_request"), (call.path, body[:20], reply.body)
            assert reply.json["error"]["message"].endswith("."), call.path


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (
            b'{"prompt": "x"}',
            "text/plain",
            "The request's content-type is 'text/plain'; send the body as JSON, with content-type: application/json.",
        ),
        (b'{"prompt": "x"} y', "application/json", "The request body is not valid JSON: Extra data (character 16). Send a JSON object."),
        (b"[1]", "application/json", "The request body is JSON, but no object. Send a JSON object."),
        (b"", "application/json", "The request has no body. Send a JSON object."),
        (DEEP, "application/json", "The request body is nested too deeply. Send a flatter JSON object."),
        (b'{"prompt": "\xff"}', "application/json", "The request body is not UTF-8. Send a JSON object."),
        (b'{"max_tokens": 3}', "application/json", "The request is wrong at prompt: Field required."),
    ],
)
async def test_the_message_says_what_to_send_instead(router: Running, body: bytes, kind: str, says: str) -> None:
    reply = await router.call(request("POST", "/api/generate", body, kind))
    assert (reply.status, reply.json["error"]["message"]) == (400, says)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/chat/completions", {"messages": [{"role": "user", "content": "\ud800"}]}),
        ("/chat_completions", {"session_id": "\ud800", "message": "x"}),
        ("/initiate_call", {"session_id": "\ud800"}),
        ("/api/generate", {"prompt": "x", "session_id": "\ud800"}),
        ("/v1/chat/completions", {"model": "large", "messages": [{"role": "user", "content": "\ud800"}]}),
    ],
)
async def test_half_a_character_in_any_text_is_the_callers_mistake(router: Running, path: str, document: dict[str, Any]) -> None:
    reply = await router.call(post(path, json.dumps(document).encode()))
    assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_request")


async def test_head_is_answered_as_get_without_a_body(router: Running) -> None:
    for path in ("/health", "/metrics", "/v1/models", "/v1/models/small", "/providers", "/routing/analytics"):
        async with await router.connect() as caller:
            caller.head_only()
            await caller.send(f"HEAD {path} HTTP/1.1\r\nhost: router\r\nconnection: close\r\n\r\n".encode())
            reply = await caller.reply()
            assert await caller.closed()
        assert (reply.status, reply.body) == (200, b""), path
        assert int(reply.headers["content-length"]) > 0, path


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/health", "GET"),
        ("PUT", "/sessions/x", "DELETE, GET"),
        ("GET", "/initiate_call", "POST"),
        ("HEAD", "/initiate_call", "POST"),
        ("GET", "/v1/chat/completions", "POST, OPTIONS"),
    ],
)
async def test_another_method_is_told_which_ones_there_are(router: Running, method: str, path: str, allow: str) -> None:
    async with await router.connect() as caller:
        if method == "HEAD":
            caller.head_only()
        await caller.send(f"{method} {path} HTTP/1.1\r\nhost: router\r\n\r\n".encode())
        reply = await caller.reply()
    assert (reply.status, reply.headers["allow"]) == (405, allow)


async def test_a_slash_at_the_end_is_no_redirect_but_told(router: Running) -> None:
    reply = await router.get("/v1/models/")
    assert (reply.status, reply.json["error"]["code"]) == (404, "not_found")
    assert reply.json["error"]["message"].endswith("without the slash at the end: /v1/models")


@pytest.mark.parametrize(("path", "is_admins"), [("/admin/models", True), ("/simulate/failure", True), ("/nothing", False)])
async def test_a_path_of_the_admin_that_is_not_there_says_what_it_takes(
    start: Start, monkeypatch: pytest.MonkeyPatch, path: str, is_admins: bool
) -> None:
    monkeypatch.delenv(names.ENV_ADMIN_KEY, raising=False)
    keyless = await start(engines=[("a", says_hello)])
    reply = await keyless.get(path)
    assert (reply.status, reply.json["error"]["code"]) == (404, "not_found")
    assert ("where the router has WARMFLEET_ADMIN_KEY" in reply.json["error"]["message"]) == is_admins
