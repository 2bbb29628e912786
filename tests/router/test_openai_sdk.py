"""What a caller's SDK makes of the router's answers: openai-python, unchanged, without its retries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.router.conftest import Running, Start
from tests.router.upstream import SSE_HEAD, chunked, delta, plays, plays_and_cuts, recording, says_hello

HI = [{"role": "user", "content": "hi"}]


def sdk(router: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{router.port}/v1", api_key="x", max_retries=0)


async def words(client: openai.AsyncOpenAI, **more: Any) -> AsyncIterator[str]:
    stream = await client.chat.completions.create(model="large", messages=HI, stream=True, **more)
    async for chunk in stream:
        if chunk.choices:
            yield chunk.choices[0].delta.content or ""


async def test_an_answer_and_a_stream_are_read(start: Start) -> None:
    head, body = recording("chat-stream")
    router: Running = await start(engines=[("a", plays(head + chunked([body]))), ("b", says_hello, "small")])
    async with sdk(router) as client:
        assert "".join([word async for word in words(client)]) == "Hello! How can I"
        answer = await client.chat.completions.create(model="small", messages=HI)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "Hello"
        assert [m.id async for m in client.models.list()] == ["large", "small", "lone", "best", "quick", "fallback"]
        assert (await client.models.retrieve("best")).id == "best"


async def test_a_broken_stream_raises_after_the_words_that_came(start: Start) -> None:
    router: Running = await start(engines=[("a", plays_and_cuts(SSE_HEAD + chunked([delta("one"), delta("two")], end=False)))])
    came: list[str] = []
    async with sdk(router) as client:
        with pytest.raises(openai.APIError, match="incomplete"):
            async for word in words(client, n=2):  # several choices cannot go on elsewhere
                came.append(word)
    assert came == ["one", "two"]


async def test_refusals_are_the_sdks_own_exceptions(start: Start) -> None:
    router: Running = await start()
    async with sdk(router) as client:
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="gpt-9", messages=HI)  # type: ignore[arg-type]
        with pytest.raises(openai.InternalServerError) as cold:
            await client.chat.completions.create(model="large", messages=HI)  # type: ignore[arg-type]
        assert (cold.value.status_code, cold.value.code) == (503, "model_not_warm")
