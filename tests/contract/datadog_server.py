"""A stand-in for Datadog's query API on loopback: replays recorded exchanges, faults derived from them, and answers in their form.

A recorded exchange is answered only to the recorded method, path and body. No true recorded 429 is public: `limited` is derived from
a recorded 200 by its status, an empty body and the limit's headers.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

RECORDINGS = Path(__file__).parents[1] / "recordings" / "datadog"
PATH = "/api/v2/query/timeseries"
Answering = Callable[[Mapping[str, Any]], Awaitable[web.StreamResponse]]


def recorded(name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Request and response of the first exchange of a recording."""
    exchange = json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))["exchanges"][0]
    return exchange["request"], exchange["response"]


def replay(name: str) -> Answering:
    request, response = recorded(name)

    async def answer(asked: Mapping[str, Any]) -> web.StreamResponse:
        assert request["uri"] == PATH
        assert asked == request["body"], "the recorded request was another one"
        return json_response(response["status"], response["body"])

    return answer


def constant(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answering:
    async def answer(asked: Mapping[str, Any]) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=dict(headers or {}))

    return answer


def limited(reset: str | None = "17") -> Answering:
    """The derived 429."""
    headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Period": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Name": "timeseries"}
    return constant(429, b"", headers | ({"X-RateLimit-Reset": reset} if reset is not None else {}))


async def silent(asked: Mapping[str, Any]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def trickling(asked: Mapping[str, Any]) -> web.StreamResponse:
    """Always on the way, and never there."""

    async def bytes_now_and_then() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.02)

    return web.Response(body=bytes_now_and_then())


Row = tuple[str, Sequence[str], Mapping[int, float | None]]
"""Name of the query, tags, and values by the start of their bucket in seconds."""


def series(*rows: Row, remaining: int | None = 42, reset: int = 30) -> Answering:
    """The recorded form of an answer, with rows of our own for the queries of the question."""

    async def answer(asked: Mapping[str, Any]) -> web.StreamResponse:
        names = [query["name"] for query in asked["data"]["attributes"]["queries"]]
        headers = {} if remaining is None else {"X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": str(reset)}
        return json_response(200, document(names, *rows), headers)

    return answer


def steady(levels: Mapping[str, float], tags: Sequence[str]) -> Answering:
    """Every bucket that was asked for has these values, by the name of the query; levels may be changed meanwhile."""

    async def answer(asked: Mapping[str, Any]) -> web.StreamResponse:
        attributes = asked["data"]["attributes"]
        starts = range(attributes["from"] // 1000, attributes["to"] // 1000, attributes["interval"] // 1000)
        names = [query["name"] for query in attributes["queries"]]
        return json_response(200, document(names, *((name, tags, dict.fromkeys(starts, level)) for name, level in levels.items())))

    return answer


def document(names: Sequence[str], *rows: Row) -> Mapping[str, Any]:
    made: dict[str, Any] = copy.deepcopy(dict(recorded("v2-timeseries-dense")[1]["body"]))
    times = sorted({at for _, _, values in rows for at in values})
    made["data"]["attributes"] = {
        "series": [{"group_tags": list(tags), "query_index": names.index(name), "unit": None} for name, tags, _ in rows],
        "times": [at * 1000 for at in times],
        "values": [[values.get(at) for at in times] for _, _, values in rows],
    }
    return made


def json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(body).encode(), headers={"content-type": "application/vnd.api+json", **(headers or {})}
    )


@dataclass
class FakeDatadog:
    """Answers each question with the next of `script`, the last one again and again. `asked` and `headers` are what came."""

    script: list[Answering]
    url: str = ""
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        self.came.set()
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await step(self.asked[-1])


@asynccontextmanager
async def datadog(*script: Answering) -> AsyncIterator[FakeDatadog]:
    server = FakeDatadog(list(script))
    app = web.Application()
    app.router.add_post(PATH, server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
