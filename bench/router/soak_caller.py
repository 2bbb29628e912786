"""The callers of the soak: they chat, check every word of every answer, and keep what was wrong.

A failure is an answer that is not whole: another status than 200, a broken connection, a stream without [DONE], an error event, or
text that is not what was asked for, which is the worst, because nobody else would notice. Some callers leave in mid-stream, as people do.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from bench.router import soak_engine, wire

PATIENCE_S = 40.0
_SESSIONS = 2000
_LEAVES_ONE_IN = 50
_MOST_EXAMPLES = 5
_PREFIX = "data: "


@dataclass
class Tally:
    """`failures` by kind; `examples`: a few of each, with the x-route header that says what the router did."""

    whole: int = 0
    left: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def failed(self, kind: str, example: str) -> None:
        self.failures[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < _MOST_EXAMPLES:
            kept.append(example)


class Broken(Exception):
    """An answer that is not whole: kind, and what was seen."""


class Caller:
    """`random` is uniform in [0, 1)."""

    def __init__(self, http: aiohttp.ClientSession, url: str, tally: Tally, random: Callable[[], float]) -> None:
        self._http = http
        self._url = url + wire.PATH
        self._tally = tally
        self._random = random
        self._route = "-"

    async def chat_until(self, stop: asyncio.Event, *, stream: bool) -> None:
        while not stop.is_set():
            await self._chat(stream=stream)

    async def _chat(self, *, stream: bool) -> None:
        number, words = int(self._random() * 1e6), 10 + int(self._random() * 40)
        leaves = stream and self._random() * _LEAVES_ONE_IN < 1
        headers = {"x-session-id": f"soak-{number % _SESSIONS}"}
        self._route = "-"
        try:
            async with self._http.post(self._url, json=soak_engine.request(words, number, stream=stream), headers=headers) as answer:
                self._route = answer.headers.get("x-route", "-")
                said = await self._said(answer, stream=stream, leaves=leaves)
            self._judge(said, soak_engine.text(words, number))
        except Broken as error:
            kind, seen = error.args
            self._tally.failed(kind, f"{seen} [{self._route}]")
        except (aiohttp.ClientError, TimeoutError) as error:
            self._tally.failed("connection", f"{type(error).__name__}: {error} [{self._route}]")

    def _judge(self, said: str | None, wanted: str) -> None:
        if said is None:
            self._tally.left += 1
        elif (wrong := difference(said, wanted)) is not None:
            raise Broken("wrong text", wrong)
        else:
            self._tally.whole += 1

    async def _said(self, answer: aiohttp.ClientResponse, *, stream: bool, leaves: bool) -> str | None:
        """The text. None: left in the middle."""
        if answer.status != 200:
            raise Broken(f"status {answer.status}", (await answer.text())[:200])
        if not stream:
            return str((await answer.json())["choices"][0]["message"]["content"])
        return await _streamed(answer, leave_after=3 if leaves else None)


async def _streamed(answer: aiohttp.ClientResponse, leave_after: int | None) -> str | None:
    said: list[str] = []
    async for line in answer.content:
        event = line.decode().strip()
        if event == "data: [DONE]":
            return "".join(said)
        if event.startswith(_PREFIX):
            said += _content(json.loads(event[len(_PREFIX) :]), len(said))
        if leave_after is not None and len(said) > leave_after:
            answer.close()
            return None
    raise Broken("no [DONE]", f"ended after {len(said)} events without [DONE] or an error")


def _content(event: dict[str, object], words: int) -> list[str]:
    if "error" in event:
        raise Broken("error event", f"after {words} words: {json.dumps(event['error'])[:200]}")
    choices = event["choices"]
    return [choice["delta"].get("content") or "" for choice in choices] if isinstance(choices, list) else []


def difference(said: str, wanted: str) -> str | None:
    """Where a text goes wrong; None: it does not."""
    if said == wanted:
        return None
    at = next((n for n, (a, b) in enumerate(zip(said, wanted, strict=False)) if a != b), min(len(said), len(wanted)))
    return f"{len(said)} of {len(wanted)} characters, differs at {at}: {said[at : at + 20]!r} for {wanted[at : at + 20]!r}"
