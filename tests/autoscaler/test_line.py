"""Questions in line for a server that answers, hangs, or comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from autoscaler.line import ABREAST, Line
from fleet.errors import Refused, Silent

LONG_S = 60.0
MANY = 100


@dataclass
class Server:
    """Answers when it is let to, with silence if it is `silent`. `asked`: questions that reached it; `full`: as many as may at once."""

    silent: bool = False
    full: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)
    asked: list[int] = field(default_factory=list)

    def question(self, number: int = 0) -> Callable[[], int]:
        def ask() -> int:
            self.asked.append(number)
            if len(self.asked) == ABREAST:
                self.full.set()
            self.answers.wait(LONG_S)
            if self.silent:
                raise Silent("the server does not answer within 5 s")
            return number

        return ask


@pytest.fixture
async def server() -> Server:
    return Server()


def asked_at_once(line: Line, server: Server) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(line.ask(server.question(number))) for number in range(MANY)]


async def in_line(line: Line, server: Server) -> list[asyncio.Task[int]]:
    """Many questions, of which as many as may are with the server."""
    tasks = asked_at_once(line, server)
    assert await asyncio.to_thread(server.full.wait, LONG_S)
    return tasks


async def test_everybody_gets_the_answer_to_the_own_question(server: Server) -> None:
    tasks = await in_line(Line("it", LONG_S), server)
    assert len(server.asked) == ABREAST
    server.answers.set()
    assert await asyncio.gather(*tasks) == list(range(MANY))


async def test_who_stands_in_line_while_the_server_falls_silent_is_not_let_through(server: Server) -> None:
    server.silent = True
    tasks = await in_line(Line("it", LONG_S), server)
    server.answers.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(type(error), str(error)) for error in errors] == [(Silent, "the server does not answer within 5 s")] * MANY
    assert len(server.asked) == ABREAST


async def test_who_comes_after_a_silence_is_let_through(server: Server) -> None:
    line = Line("it", LONG_S)
    server.silent = True
    server.answers.set()
    with pytest.raises(Silent):
        await line.ask(server.question())
    server.silent = False
    assert await line.ask(server.question(7)) == 7


async def test_a_refusal_concerns_one_question_only(server: Server) -> None:
    line = Line("it", LONG_S)
    tasks = await in_line(line, server)

    def refused() -> int:
        raise Refused("no such job")

    server.answers.set()
    with pytest.raises(Refused):
        await line.ask(refused)
    assert await asyncio.gather(*tasks) == list(range(MANY))


async def test_patience_ends_also_where_no_question_does(server: Server) -> None:
    try:
        errors = await asyncio.wait_for(asyncio.gather(*asked_at_once(Line("it", 0.2), server), return_exceptions=True), LONG_S)
        assert {str(error) for error in errors} == {"it does not answer within 0.2 s"}
    finally:
        server.answers.set()
    assert len(server.asked) <= ABREAST


async def test_one_that_was_left_behind_silences_nobody_who_came_later(server: Server) -> None:
    line = Line("it", 0.2)
    server.silent = True
    for _ in range(2):  # the first ones have all threads, and the others meet silence too
        await asyncio.gather(*asked_at_once(line, server), return_exceptions=True)
    line.patience_s = LONG_S
    well = Server()
    later = asked_at_once(line, well)
    server.answers.set()
    well.answers.set()
    assert await asyncio.gather(*later) == list(range(MANY))


async def test_threads_of_the_event_loop_are_free_while_the_server_hangs(server: Server) -> None:
    """Those resolve the names of hosts, for whoever renews the lease too."""
    tasks = await in_line(Line("it", LONG_S), server)
    try:
        async with asyncio.timeout(LONG_S / 2):
            assert await asyncio.to_thread(lambda: "free") == "free"
    finally:
        server.answers.set()
        await asyncio.gather(*tasks)
