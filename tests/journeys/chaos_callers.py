"""Callers who stream in conversations while parts are killed, and what became of every request.

Law: a caller may lose its own connection, and only while the router that held it is dead; asked again, the same request is answered.
Everything else that is no whole answer is a failure and is told: an error, an error event, a stream that ends early.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from tests.journeys.load import TOPICS, whole

ASKS = (("small-model", True), ("small-model", True), ("large-model", True), ("small-model", False))
_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose connection was lost; monotonic seconds."""

    began: float
    ended: float
    why: str


@dataclass(slots=True)
class Outage:
    """Of the router: from the kill until it answers."""

    began: float
    ended: float = float("inf")

    def explains(self, lost: Lost) -> bool:
        return lost.began <= self.ended and lost.ended >= self.began


@dataclass
class Callers:
    """Callers in conversations, each with one request at a time, asked again as long as its connection is lost.

    `around` says what else is to be known at the moment of a failure; it is called in a thread.
    """

    url: str
    patience_s: float
    around: Callable[[], str] = lambda: ""
    done: int = 0
    failures: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)

    def have(self, answers: int) -> bool:
        return self.done >= answers

    def unexplained(self) -> list[Lost]:
        """Connections that were lost although the router was not killed."""
        return [lost for lost in self.lost if not any(outage.explains(lost) for outage in self.outages)]

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.patience_s)) as http:
            tasks = [asyncio.create_task(self._calls(http, number, stop)) for number in range(len(ASKS))]
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*tasks)

    async def _calls(self, http: aiohttp.ClientSession, number: int, stop: asyncio.Event) -> None:
        model, stream = ASKS[number]
        for turn in itertools.count():
            if stop.is_set():
                return
            message = {"role": "user", "content": f"Say something about {TOPICS[turn % len(TOPICS)]}."}
            body = {"model": model, "stream": stream, "max_tokens": 32, "messages": [message]}
            while not await self._answered(http, body, f"chaos-{number}", stream=stream):
                if stop.is_set():
                    return

    async def _answered(self, http: aiohttp.ClientSession, body: dict[str, object], session: str, *, stream: bool) -> bool:
        """False: the connection was lost, so that the request is to be sent again."""
        began = time.monotonic()
        try:
            async with http.post(f"{self.url}/v1/chat/completions", json=body, headers={"x-session-id": session}) as answer:
                text = await answer.text()
        except TimeoutError:
            await self._failed(f"no whole answer to {session} within {self.patience_s:.0f} s", began)
        except aiohttp.ClientError as error:
            self.lost.append(Lost(began, time.monotonic(), f"{session}: {type(error).__name__}: {error}"))
            await asyncio.sleep(_AGAIN_S)
            return False
        else:
            text = "\n".join(line for line in text.splitlines() if not line.startswith(":"))
            if answer.status == 200 and whole(text, stream=stream):
                self.done += 1
            else:
                way = f"x-route: {answer.headers.get('x-route')}; x-request-id: {answer.headers.get('x-request-id')}"
                await self._failed(f"{session} got {answer.status}, {way}: {text[-300:]}", began)
        return True

    async def _failed(self, what: str, began: float) -> None:
        waited_s = time.monotonic() - began
        stamp = time.strftime("%H:%M:%S", time.gmtime())
        self.failures.append(f"{stamp} after {waited_s:.1f} s: {what}\n{await asyncio.to_thread(self.around)}")
