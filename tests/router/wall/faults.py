"""The fault wall: everything an engine may do wrong, against every kind of request, with what the caller gets and what engines may see.

before the first content    the caller gets another replica's answer, whole; engines see two requests  (test_before_content.py)
after it                    a plain chat or message goes on elsewhere; anything else is tried once and ends with an error event of its own
                            (test_within_an_answer.py)
the caller's own mistake    passes as it is, is tried once, and no breaker hears of it  (test_own_mistakes.py)

One file for each, so that they run side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.router.conftest import Running, Start, until, with_slo
from tests.router.upstream import SSE_HEAD, Play, Script, answer, chunked, plays, plays_and_cuts, resets, silent
from tests.router.wall.kinds import Kind, stream

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
OPENING = Callable[[Kind], bytes]


@dataclass(frozen=True)
class Fault:
    """`script`: what the first engine does. `strikes`: its breaker hears of it."""

    name: str
    script: Callable[[Kind], Script]
    strikes: bool = True


def _says(data: bytes) -> Callable[[Kind], Script]:
    return lambda _: plays(data)


def _then_cut(data: bytes) -> Callable[[Kind], Script]:
    return lambda _: plays_and_cuts(data)


BEFORE_ANYTHING = (
    Fault("resets the connection", lambda _: resets),
    Fault("closes without a word", _then_cut(b"")),
    Fault("closes in the status line", _then_cut(b"HTTP/1.1 20")),
    Fault("closes in the head", _then_cut(b"HTTP/1.1 200 OK\r\ncontent-")),
    Fault("closes behind the head", _then_cut(JSON_HEAD + b"content-length: 10\r\n\r\n")),
    Fault("speaks another protocol", _says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")),
    Fault("sends garbage", _says(bytes(range(256)))),
    Fault("has two lengths", _says(JSON_HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}")),
    Fault("has a length that is no number", _says(JSON_HEAD + b"content-length: many\r\n\r\n{}")),
    Fault("has a bad chunk", _says(JSON_HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}")),
    Fault("upgrades", _says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")),
    Fault("fails with 500", _says(answer(b"{}", 500))),
    Fault("fails with 502 and HTML", _says(answer(b"<html>", 502, "text/html"))),
    Fault("fails with 504 after 100 Continue", _says(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}", 504))),
    Fault("is busy with 429", _says(answer(b"{}", 429)), strikes=False),
    Fault("is busy with 429 and says for how long", _says(answer(b"{}", 429, extra="retry-after: 30\r\n")), strikes=False),
    Fault("is busy with 503", _says(answer(b"{}", 503)), strikes=False),
)
IN_A_WHOLE_ANSWER = (
    Fault("closes in the body", lambda kind: plays_and_cuts(kind.good[:-10])),
    Fault("closes in a chunk", lambda kind: plays_and_cuts(_chunked_json(kind.body, end=False)[:-10])),
    Fault(
        "ends a body without a length too early", lambda kind: plays_and_cuts(JSON_HEAD + b"connection: close\r\n\r\n" + kind.body[:-10])
    ),
    Fault("sends JSON that is cut but framed", lambda kind: plays(answer(kind.body[:-1]))),
    Fault("sends an empty body", _says(answer(b""))),
    Fault("sends HTML and calls it JSON", _says(answer(b"<html>busy</html>"))),
    Fault("sends bytes that are no text", _says(answer(b"\x00\xff\xfe"))),
)
IN_AN_OPENING = (
    Fault("closes before content", lambda kind: plays_and_cuts(SSE_HEAD + chunked(kind.opening, end=False))),
    Fault("ends before content", lambda kind: plays(SSE_HEAD + chunked(kind.opening))),
    Fault("sends an empty stream", _says(SSE_HEAD + chunked([]))),
    Fault("sends an event that is no JSON", lambda kind: plays(SSE_HEAD + chunked([*kind.opening, b"data: {oops\n\n"], end=False))),
    Fault("stays silent", lambda _: silent),
    Fault("stays silent behind the opening", lambda kind: _then(SSE_HEAD + chunked(kind.opening, end=False), silent)),
    Fault("sends comments only", lambda _: _then(SSE_HEAD + chunked([b": ping\n\n"] * 3, end=False), silent)),
)
AFTER_CONTENT = (
    Fault("resets after content", lambda kind: _then(_begun(kind), resets)),
    Fault("closes after content", lambda kind: plays_and_cuts(_begun(kind))),
    Fault("closes in an event", lambda kind: plays_and_cuts(_begun(kind) + chunked([kind.ending[0][:20]], end=False))),
    Fault("ends without an end", lambda kind: plays(_begun(kind) + chunked([]))),
    Fault("has a bad chunk after content", lambda kind: _then(_begun(kind), _garbles)),
    Fault("stalls after content", lambda kind: _then(_begun(kind), silent)),
)


def _begun(kind: Kind) -> bytes:
    return SSE_HEAD + chunked([*kind.opening, *kind.begun], end=False)


def _chunked_json(body: bytes, *, end: bool) -> bytes:
    return JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked([body], end=end)


def _then(data: bytes, after: Script) -> Script:
    async def script(play: Play) -> None:
        await play.send(data)
        await after(play)

    return script


async def _garbles(play: Play) -> None:
    await asyncio.sleep(0.05)  # in another read than the content, which would not go out else
    await play.send(b"zz\r\n")


def _first_bad(bad: Script, good: bytes) -> Script:
    """Engines share it: whichever is asked first is the bad one."""
    asked: list[bool] = []

    async def script(play: Play) -> None:
        asked.append(True)
        await (bad if len(asked) == 1 else plays(good))(play)

    return script


def each(*groups: tuple[tuple[Fault, ...], tuple[Kind, ...]]) -> pytest.MarkDecorator:
    """Every fault of a group with every kind of it."""
    cases = [(fault, kind) for faults, kinds in groups for fault in faults for kind in kinds]
    return pytest.mark.parametrize(("fault", "kind"), cases, ids=[f"{kind.name}: {fault.name}" for fault, kind in cases])


async def two(start: Start, fault: Fault, kind: Kind) -> Running:
    shared = _first_bad(fault.script(kind), stream(*kind.goes_on) if fault in AFTER_CONTENT and kind.goes_on else kind.good)
    router: Running = await start(engines=[("a", shared), ("b", shared)], spec=with_slo(first_token_s=0.3, idle_s=0.3))
    return router


async def nothing_is_left(router: Running, *, strikes: int) -> None:
    await until(lambda: router.in_flight() == 0 and not router.wired.plane.active)
    assert sum(replica.breaker.failures for replica in router.wired.plane.replicas()) == strikes
