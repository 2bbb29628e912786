"""Callers of the router: a bounded number of loops that chat until told to stop, and keep every answer that was not a whole one."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from types import TracebackType

import aiohttp
import msgspec

CLOSING_S = 0.1  # the transports of a closed session end in later turns of the loop, and a loop that ends first leaves them open
TOPICS = ("the sea", "a clock", "winter", "bread", "a bridge", "music")


class Load:
    """`async with Load(url, model="small-model", callers=4) as load:` chats with `callers` requests in flight, every other one a stream.

    `done` counts whole answers by the replica that gave them, `failures` holds one line per request that did not get one, `held` the
    ways of answers that had to wait for a warm replica. With `sessions` each caller stays in one conversation, `{sessions}-{number}`.
    No two questions of a caller are alike: few that are may all belong to one replica's share (router.replicas.affinity).
    `pause_s`: of each caller between two requests. Without one, callers keep their engines and so the machine busy all the time.
    """

    def __init__(self, url: str, *, model: str, callers: int, max_tokens: int = 24, sessions: str = "", pause_s: float = 0.0) -> None:
        self.url, self.model, self.sessions = url, model, sessions
        self.callers, self.max_tokens, self.pause_s = callers, max_tokens, pause_s
        self.done: Counter[str] = Counter()
        self.held: list[str] = []
        self.failures: list[str] = []
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self._tasks = [asyncio.create_task(self._loop(n)) for n in range(self.callers)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        await self._session.close()
        await asyncio.sleep(CLOSING_S)

    @property
    def total(self) -> int:
        return sum(self.done.values())

    async def _loop(self, number: int) -> None:
        for turn in itertools.count(number):
            if self._stop.is_set():
                return
            headers = {"x-session-id": f"{self.sessions}-{number}"} if self.sessions else {}
            await self._chat(f"Say something about {TOPICS[turn % len(TOPICS)]}, {turn}.", headers, stream=turn % 2 == 0)
            await asyncio.sleep(self.pause_s)

    async def _chat(self, prompt: str, headers: dict[str, str], *, stream: bool) -> None:
        body = {
            "model": self.model,
            "stream": stream,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": prompt}],
        }
        try:
            async with self._session.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        if answer.status != 200 or not whole(text, stream=stream):
            self.failures.append(f"{answer.status} {answer.headers.get('x-route')}: {text[-300:]}")
        else:
            route = answer.headers.get("x-route", "")
            self.done[replica(route)] += 1
            self.held += [route] if "held=" in route else []


def whole(text: str, *, stream: bool) -> bool:
    """A complete answer: a finish reason, and for a stream also its end mark and no error event."""
    if stream:
        events = [msgspec.json.decode(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        finished = any(c.get("finish_reason") for e in events for c in e.get("choices", ()))
        return finished and text.rstrip().endswith("data: [DONE]") and not any("error" in e for e in events)
    return bool(msgspec.json.decode(text)["choices"][0]["finish_reason"])


def replica(route: str) -> str:
    """`x-route` as `model/replica`."""
    parts = dict(part.strip().split("=", 1) for part in route.split(";") if "=" in part)
    return f"{parts.get('model')}/{parts.get('replica')}"
