"""The SDKs against a real llama.cpp engine, directly and through the router: what they read is the same, bit for bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
import requests

from fleet.local import ports
from fleet.local.jobs import bundled_weights
from fleet.local.processes import Process, is_alive, spawn, terminate, wait_until
from router.replicas.snapshot import Endpoint, Snapshot
from tests import servers
from tests.router.conftest import Running, Start, until

pytestmark = pytest.mark.contract

DEADLINE_S = 60.0
SAME = {"cache_prompt": False, "temperature": 0}  # a prompt read from a cache is computed in other batches, and rounds differently
ASK = {"model": "lone", "temperature": 0, "seed": 7, "max_tokens": 8}
LONGER: Any = {"max_tokens": 24}  # where something must end: a call of a tool, a document, a line
HI: Any = [{"role": "user", "content": "Name three colours."}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}},
}


@dataclass(frozen=True)
class Engine:
    port: int
    process: Process


@pytest.fixture(scope="module")
def engines() -> Iterator[list[Engine]]:
    """Two engines that answer."""
    with servers.state_folder() as folder, closing(ports.lease()) as lease:
        started = []
        for number in (1, 2):
            port = lease.base + number
            options = ["--alias", "lone", "--port", str(port), "--slots", "2", "--context", "1024"]
            arguments = [sys.executable, "-m", "fleet.local.engine", "--weights", str(bundled_weights()), *options]
            started.append(Engine(port, spawn(arguments, folder / f"log{number}", marker=folder)))
        try:
            for engine in started:
                assert wait_until(lambda engine=engine: is_well(engine.port), DEADLINE_S), [p.read_text() for p in folder.glob("log*")]  # type: ignore[misc]
            yield started
        finally:
            terminate([engine.process for engine in started], grace_s=0)


def is_well(port: int) -> bool:
    return not ports.is_free(port) and requests.get(f"http://127.0.0.1:{port}/health", timeout=DEADLINE_S).status_code == 200


def warm(router: Running, engines: list[Engine]) -> None:
    endpoints = [Endpoint(f"lone/{n}", f"alloc-{n}", "lone", "127.0.0.1", engine.port) for n, engine in enumerate(engines)]
    router.wired.plane.apply(Snapshot(1, tuple(endpoints)))


def plain(answer: Any) -> Any:
    """An answer without what differs from one request to the next."""
    return _scrubbed(json.loads(answer.model_dump_json()))


def _scrubbed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _scrubbed(v) for k, v in value.items() if k not in ("id", "created", "created_at", "item_id", "timings")}
    return [_scrubbed(v) for v in value] if isinstance(value, list) else value


async def _chat(client: openai.AsyncOpenAI, **more: Any) -> Any:
    return plain(await client.chat.completions.create(**ASK | {"messages": HI, "extra_body": SAME} | more))


async def _chat_stream(client: openai.AsyncOpenAI, **more: Any) -> Any:
    stream = await client.chat.completions.create(**ASK | {"messages": HI, "extra_body": SAME, "stream": True} | more)
    return [plain(chunk) async for chunk in stream]


async def _completion(client: openai.AsyncOpenAI) -> Any:
    return plain(await client.completions.create(**ASK, prompt="One, two,", extra_body=SAME))  # type: ignore[call-overload]


async def _response_stream(client: openai.AsyncOpenAI) -> Any:
    asked = {k: v for k, v in ASK.items() if k not in ("max_tokens", "seed")} | {"max_output_tokens": 12}
    stream = await client.responses.create(**asked, input="Name three colours.", stream=True, extra_body=SAME)  # type: ignore[call-overload]
    return [plain(event) async for event in stream]


async def _refused(client: openai.AsyncOpenAI) -> Any:
    with pytest.raises(openai.BadRequestError) as refused:
        await _chat(client, messages="no list")
    assert isinstance(refused.value.body, dict)
    return {k: v for k, v in refused.value.body.items() if v is not None}  # the router completes OpenAI's shape with `param: null`


OpenAiCall = Callable[[openai.AsyncOpenAI], Awaitable[Any]]
OPENAI: dict[str, OpenAiCall] = {
    "chat": _chat,
    "chat stream": _chat_stream,
    "chat stream with usage": lambda c: _chat_stream(c, stream_options={"include_usage": True}),
    "two choices": lambda c: _chat(c, n=2),
    "two choices stream": lambda c: _chat_stream(c, n=2),
    "logprobs": lambda c: _chat(c, logprobs=True, top_logprobs=2),
    "logprobs stream": lambda c: _chat_stream(c, logprobs=True, top_logprobs=2),
    "JSON mode": lambda c: _chat(c, response_format={"type": "json_object"}, **LONGER),
    "JSON mode stream": lambda c: _chat_stream(c, response_format={"type": "json_object"}, **LONGER),
    "tools": lambda c: _chat(c, tools=[TOOL], tool_choice="required", **LONGER),
    "tools stream": lambda c: _chat_stream(c, tools=[TOOL], tool_choice="required", **LONGER),
    "stop": lambda c: _chat(c, stop=["\n"], **LONGER),
    "completion": _completion,
    "response stream": _response_stream,
    "a refusal": _refused,
}


@pytest.mark.parametrize("name", OPENAI)
async def test_openais_sdk_reads_the_same_through_the_router(start: Start, engines: list[Engine], name: str) -> None:
    router: Running = await start()
    warm(router, engines[:1])
    read = []
    for port in (engines[0].port, router.port):
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0) as client:
            read.append(await OPENAI[name](client))
    assert read[0] == read[1]
    assert read[0]


async def _message(client: anthropic.AsyncAnthropic) -> Any:
    return plain(await client.messages.create(model="lone", max_tokens=12, messages=HI, extra_body=SAME))


async def _message_stream(client: anthropic.AsyncAnthropic) -> Any:
    events = await client.messages.create(model="lone", max_tokens=12, messages=HI, stream=True, extra_body=SAME)
    return [plain(event) async for event in events]


async def _message_tool(client: anthropic.AsyncAnthropic) -> Any:
    tool: Any = {"name": "weather", "input_schema": TOOL["function"]["parameters"]}
    asked: Any = {"model": "lone", "max_tokens": 48, "messages": HI, "tools": [tool], "tool_choice": {"type": "any"}}
    return plain(await client.messages.create(**asked, extra_body=SAME))


async def _count(client: anthropic.AsyncAnthropic) -> Any:
    return plain(await client.messages.count_tokens(model="lone", messages=HI))


AnthropicCall = Callable[[anthropic.AsyncAnthropic], Awaitable[Any]]
ANTHROPIC: dict[str, AnthropicCall] = {
    "message": _message,
    "message stream": _message_stream,
    "tool": _message_tool,
    "count": _count,
}


@pytest.mark.parametrize("name", ANTHROPIC)
async def test_anthropics_sdk_reads_the_same_through_the_router(start: Start, engines: list[Engine], name: str) -> None:
    router: Running = await start()
    warm(router, engines[:1])
    read = []
    for port in (engines[0].port, router.port):
        async with anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{port}", api_key="x", max_retries=0) as client:
            read.append(await ANTHROPIC[name](client))
    assert read[0] == read[1]
    assert read[0]


@pytest.mark.parametrize("name", ["message", "tool"])
async def test_an_answer_of_messages_says_the_same_when_its_engine_is_asked_by_a_chat(
    start: Start, engines: list[Engine], name: str
) -> None:
    router: Running = await start()
    warm(router, engines[:1])
    read = []
    for lacks in (frozenset(), frozenset((b"/v1/messages",))):
        router.wired.plane.homes["alloc-0"].lacks = lacks
        async with anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{router.port}", api_key="x", max_retries=0) as client:
            read.append(await ANTHROPIC[name](client))
    said = [
        (
            one["stop_reason"],
            [(block["type"], block.get("text"), block.get("input")) for block in one["content"]],
            one["usage"]["output_tokens"],
        )
        for one in read
    ]
    assert said[0] == said[1]


async def test_a_broken_stream_of_messages_raises(start: Start, engines: list[Engine]) -> None:
    """Here, because only Anthropic's own SDK says what it makes of our error event."""
    router: Running = await start()
    warm(router, engines[:1])
    words: list[str] = []

    async def read(client: anthropic.AsyncAnthropic) -> None:
        async for event in await client.messages.create(model="lone", max_tokens=400, messages=HI, stream=True):
            if event.type == "content_block_delta":
                words.append("x")
                if len(words) == 2:
                    (relay,) = router.wired.plane.active
                    relay.stop()

    async with anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{router.port}", api_key="x", max_retries=0) as client:
        with pytest.raises(anthropic.APIError, match="stopped"):
            await read(client)
    await until(lambda: router.in_flight() == 0)


async def test_a_stream_of_messages_goes_on_at_the_other_engine(start: Start, engines: list[Engine]) -> None:
    router: Running = await start()
    warm(router, engines)
    asked: Any = {"model": "lone", "max_tokens": 160, "messages": [{"role": "user", "content": "Tell a long story."}]}
    before = ""
    async with (
        anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{router.port}", api_key="x", max_retries=0) as client,
        client.messages.stream(**asked) as stream,
    ):
        async for text in stream.text_stream:
            if not before:
                (relay,) = router.wired.plane.active
                assert relay.move_away("drain")  # type: ignore[attr-defined]
                before = text
        whole = await stream.get_final_message()
    (block,) = whole.content
    assert block.type == "text"
    assert block.text.startswith(before)
    assert whole.stop_reason in ("end_turn", "max_tokens")
    assert 1 < whole.usage.output_tokens <= 160
    assert await router.metric('warmfleet_router_resumes_total{model="lone",reason="drain"}') == 1


async def test_a_killed_engines_stream_goes_on_at_the_other_one(start: Start, engines: list[Engine]) -> None:
    """The last test of this module: one of the engines is gone afterwards."""
    router: Running = await start()
    warm(router, engines)
    text, finish = "", None
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{router.port}/v1", api_key="x", max_retries=0) as client:
        asked: Any = ASK | {"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 160, "stream": True}
        async for chunk in await client.chat.completions.create(**asked):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
            if text and all(is_alive(engine.process) for engine in engines):
                (relay,) = router.wired.plane.active
                busy = relay.attempt.replica.endpoint.port  # type: ignore[attr-defined]
                terminate([engine.process for engine in engines if engine.port == busy], grace_s=0)
    assert finish in ("stop", "length")
    assert await router.metric('warmfleet_router_resumes_total{model="lone",reason="connection"}') == 1
    assert await router.metric('warmfleet_router_truncations_total{model="lone"}') == 0
