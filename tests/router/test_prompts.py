"""The endpoints that take one prompt and say who answered it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fleet.model import Price
from tests.router.abroad import KEY, KEY_ENV, row, spec
from tests.router.client import chat, post
from tests.router.conftest import Running, Start, until
from tests.router.upstream import Play, Script, Upstream, answer, plays, resets, says_hello

FAILS: Script = plays(answer(b"{}", status=500))
ASKS = {"prompt": "Write a Python function that sorts a list of numbers."}


@pytest.fixture
async def two(start: Start, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A router whose route is two providers, the first of which answers as a test says."""
    monkeypatch.setenv(KEY_ENV, KEY)
    async with AsyncExitStack() as stack:

        async def run(first: Script, second: Script = says_hello) -> tuple[Running, list[Upstream]]:
            servers = [Upstream(first), Upstream(second)]
            for server in servers:
                await server.start()
                stack.push_async_callback(server.stop)
            rows = (
                row("groq", servers[0].port, cost=Price(input=1.0, output=2.0)),
                row("together", servers[1].port, cost=Price(input=3.0, output=4.0)),
            )
            return await start(spec=spec(*rows, chain=("groq", "together"))), servers

        yield run


async def test_a_prompt_is_answered_with_who_answered_it(two: Any) -> None:
    router, servers = await two(says_hello)
    reply = await router.call(post("/api/generate", ASKS | {"max_tokens": 5}))
    assert (reply.status, reply.json) == (
        200,
        {
            "response": "Hello",
            "provider": "groq",
            "model": "vendor/groq-1",
            "activity_log": ["Attempting groq ...", "Using groq (vendor/groq-1)"],
        },
    )
    assert servers[0].heard[0].json == {
        "model": "vendor/groq-1",
        "messages": [{"role": "user", "content": ASKS["prompt"]}],
        "max_tokens": 5,
    }


async def test_the_log_tells_who_failed_before(two: Any) -> None:
    router, _ = await two(FAILS)
    reply = await router.call(post("/api/generate", ASKS))
    assert reply.json["provider"] == "together"
    assert reply.json["activity_log"] == [
        "Attempting groq ...",
        "groq failed: status",
        "Attempting together ...",
        "Using together (vendor/together-1)",
    ]


async def test_a_failure_has_the_log_beside_the_error(two: Any) -> None:
    router, _ = await two(FAILS, resets)
    reply = await router.call(post("/api/generate", ASKS))
    assert reply.status == 502
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}
    log = reply.json["activity_log"]
    assert (log[:2], log[-1]) == (["Attempting groq ...", "groq failed: status"], "No answer: HTTP 502")
    assert KEY.encode() not in reply.body


@pytest.mark.parametrize(
    "body", [{"prompt": "Write a Python function."}, {"messages": [{"role": "user", "content": "Write a Python function."}]}]
)
async def test_a_chat_is_answered_as_openai_does_with_more(two: Any, body: dict[str, Any]) -> None:
    router, servers = await two(FAILS)
    reply = await router.call(post("/chat/completions", body | {"temperature": 0.5}))
    said = reply.json
    assert (reply.status, said["choices"][0]["message"]["content"]) == (200, "Hello")
    assert (said["provider"], said["attempts"], said["classification"]["capability"]) == ("together", 2, "code_generation")
    assert said["cost"] == pytest.approx((7 * 3.0 + 3 * 4.0) / 1000)
    assert said["latency_ms"] > 0
    assert servers[1].heard[0].json["temperature"] == 0.5
    assert "x-route" in reply.headers


async def test_the_fields_of_the_choice_are_the_routers_own(two: Any) -> None:
    router, servers = await two(says_hello)
    reply = await router.call(post("/chat/completions", ASKS | {"strategy": "cost", "capability": "code_generation", "max_cost": 9.0}))
    assert (reply.status, reply.route["chosen"]) == (200, "cost:code_generation")
    assert set(servers[0].heard[0].json) == {"model", "messages"}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat/completions", {}, None),
        ("/chat/completions", {"prompt": "a", "messages": []}, None),
        ("/chat/completions", {"prompt": "a", "stream": True}, "stream"),
        ("/chat/completions", {"prompt": "a", "max_cost": -1}, "max_cost"),
        ("/chat/completions", {"prompt": "a", "strategy": "luck"}, "strategy"),
        ("/chat/completions", {"prompt": "a", "strategy": "c;ost"}, "strategy"),
        ("/chat/completions", {"prompt": "a", "model": ""}, "model"),
        ("/api/generate", {}, "prompt"),
        ("/api/generate", {"prompt": ""}, "prompt"),
        ("/api/generate", {"prompt": 3}, "prompt"),
        ("/api/generate", {"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ("/api/generate", {"prompt": "a", "other": 1}, "other"),
        ("/api/generate", {"prompt": "a", "session_id": "\u0000"}, "session_id"),
    ],
)
async def test_a_wrong_field_is_named(two: Any, path: str, body: dict[str, Any], param: str | None) -> None:
    router, servers = await two(says_hello)
    reply = await router.call(post(path, body))
    assert (reply.status, reply.json["error"]["param"]) == (400, param)
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}
    assert not servers[0].heard


async def test_a_model_that_is_not_there_is_unknown(two: Any) -> None:
    router, _ = await two(says_hello)
    reply = await router.call(post("/api/generate", ASKS | {"model": "nobody"}))
    assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")


async def test_a_caller_who_leaves_ends_the_attempt(two: Any) -> None:
    left: list[bool] = []

    async def waits(play: Play) -> None:
        await play.until_left()
        left.append(True)

    router, servers = await two(waits)
    async with await router.connect() as caller:
        await caller.send(post("/api/generate", ASKS))
        await until(lambda: servers[0].heard)
    await until(lambda: left)


async def test_a_turn_of_a_session_keeps_its_model(two: Any) -> None:
    router, _ = await two(FAILS)
    first = await router.call(post("/api/generate", ASKS | {"session_id": "mine"}))
    second = await router.call(chat("auto", headers={"x-session-id": "mine"}))
    assert (first.json["provider"], second.route["model"], second.route["attempts"]) == ("together", "together", "1")


async def test_the_endpoints_are_documented_with_examples(two: Any) -> None:
    router, _ = await two(says_hello)
    document = json.loads((await router.call(b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n")).body)
    assert {"/chat/completions", "/api/generate"} <= document["paths"].keys()
    assert document["components"]["schemas"]["Prompt"]["examples"] == [{"prompt": "Who wrote Faust?", "max_tokens": 50}]
