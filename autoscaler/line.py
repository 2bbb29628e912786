"""Blocking questions to one server, a few at a time, so that a server that hangs costs a pass the time of one question.

    waits ──(a thread is free)──────────────────────────> asked ──> answered, or an error
      └─────(a question that is asked meets silence)────> Silent, at once

Laws: the threads are its own; those of the event loop find addresses for everybody, also for who renews the lease. Who stands in line
while the server falls silent is not let through any more; who comes later is. Nobody waits longer than `patience_s`, also where a server
says a byte now and then: the thread that listens to it ends by itself. Asks nothing twice, and knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from fleet.errors import Silent

ABREAST = 8  # fewer than the connections that requests keeps to one host

T = TypeVar("T")


def _own_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(ABREAST, thread_name_prefix="line")


@dataclass(slots=True)
class Line:
    """`whose`: the server, as sentences call it. For one event loop."""

    whose: str
    patience_s: float
    _threads: ThreadPoolExecutor = field(default_factory=_own_threads)
    _turn: int = 0
    _silence: str = ""

    async def ask(self, question: Callable[[], T]) -> T:
        """The answer. Raises: what `question` raises; Silent: no answer in time, or not asked, in the same words for all in line."""
        turn, loop = self._turn, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.patience_s):
                return await loop.run_in_executor(self._threads, self._let_through, question, turn)
        except TimeoutError as error:
            self._end(turn, f"{self.whose} does not answer within {self.patience_s:g} s")
            raise Silent(self._silence) from error

    def _let_through(self, question: Callable[[], T], turn: int) -> T:
        if turn != self._turn:
            raise Silent(self._silence)
        try:
            return question()
        except Silent as error:
            self._end(turn, str(error))
            raise

    def _end(self, turn: int, silence: str) -> None:
        """Several threads may find out at once, and one that was left behind may do so much later."""
        if turn == self._turn:
            self._silence, self._turn = silence, turn + 1
