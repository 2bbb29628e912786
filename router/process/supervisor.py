"""The parent of several workers: it holds the listening sockets, starts the workers that accept on them, and adds up their numbers.

Law: a worker that dies is started again, and what it had counted stays counted; a worker that keeps dying at once stops the router,
so that Nomad hears of it. A stop goes to every worker at the same time, and each gets router.drain. It serves nothing itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleet import statsd
from router.errors import NoAnswer
from router.health.channel import Awaited, Failing, Give, Given, Line, Sum, Want
from router.health.ledger import Ledger, Report, recorder

if TYPE_CHECKING:
    from router.process.server import Giving

log = logging.getLogger(__name__)

_QUICK_S = 30.0  # long enough for a start on a machine that is overloaded
_MOST_QUICK_DEATHS = 5
_LOOK_S = 1.0
_LAST_S = 3.0
FLUSH_S = 2.0


@dataclass(slots=True)
class Worker:
    slot: int
    process: asyncio.subprocess.Process
    line: Line
    asked: Awaited = field(default_factory=Awaited)
    is_up: bool = False


class Supervisor:
    """`run` starts `count` workers on the sockets and returns the exit code when all have ended."""

    def __init__(self, sockets: Sequence[socket.socket], count: int, drain_s: float, giving: Giving | None) -> None:
        self._sockets = list(sockets)
        self._count = count
        self._drain_s = drain_s
        self._giving = giving
        self._workers: dict[int, Worker] = {}
        self._ledger = Ledger(count)
        self._stop = asyncio.Event()
        self._failed = False
        self._asking: asyncio.Task[None] | None = None

    async def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        beside = [self._begin(part) for part in self._beside()]
        keeping = [self._begin(self._keep(slot)) for slot in range(self._count)]
        flusher = self._flusher()
        flushing = self._begin(self._flush_forever(flusher)) if flusher is not None else None
        await self._stop.wait()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        for sock in self._sockets:
            sock.close()
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait(keeping, timeout=self._drain_s + _LAST_S)
        if late:
            self._signal(signal.SIGKILL)
            await asyncio.wait(late)
        if flusher is not None and flushing is not None:
            flushing.cancel()
            flusher.recorder = recorder((self._ledger.total().numbers,))
            flusher.last()
        return 1 if self._failed else 0

    def _begin(self, part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(part)
        task.add_done_callback(self._must_not_fail)
        return task

    def _must_not_fail(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("a part of the workers' parent died, so the router stops: %s", task, exc_info=task.exception())
            self._fail()

    def _fail(self) -> None:
        self._failed = True
        self._stop.set()

    def _beside(self) -> list[Coroutine[Any, Any, None]]:
        parts = [self._look_forever()]
        if self._giving is not None:
            parts.append(self._giving())
        return parts

    # the workers' lives

    async def _keep(self, slot: int) -> None:
        deaths = 0
        while not self._stop.is_set():
            began = time.monotonic()
            code = await self._live(slot)
            if self._stop.is_set():
                return
            deaths = deaths + 1 if time.monotonic() - began < _QUICK_S else 0
            log.error("worker %d ended with %d and is started again", slot, code)
            if deaths >= _MOST_QUICK_DEATHS:
                log.critical("worker %d ended %d times right after its start, so the router stops", slot, deaths)
                self._fail()

    async def _live(self, slot: int) -> int:
        worker = await self._start(slot)
        self._workers[slot] = worker
        if self._stop.is_set():  # it was stopped while this one was being started
            worker.process.terminate()
        hearing = asyncio.create_task(self._hear(worker))
        code = await worker.process.wait()
        await hearing  # its last words are in the line still
        del self._workers[slot]
        await worker.line.close()
        self._ledger.died(slot)
        return code

    async def _start(self, slot: int) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            handed = [theirs.fileno(), *(sock.fileno() for sock in self._sockets)]
            command = [sys.executable, "-m", "router", "worker", *map(str, handed)]
            process = await asyncio.create_subprocess_exec(*command, pass_fds=handed)
        return Worker(slot, process, await Line.over(ours))

    async def _hear(self, worker: Worker) -> None:
        answering: set[asyncio.Task[None]] = set()
        try:
            while True:
                message = await worker.line.read()
                if isinstance(message, Given):
                    worker.is_up = True
                    self._ledger.heard(worker.slot, message.report)
                    worker.asked.answered(message.number, message.report)
                elif isinstance(message, Failing):
                    self._pass_on(message)
                elif isinstance(message, Want):
                    task = asyncio.create_task(self._tell(worker, message.number))
                    answering.add(task)
                    task.add_done_callback(answering.discard)
        except (OSError, asyncio.IncompleteReadError):
            worker.asked.give_up()
            for task in tuple(answering):
                task.cancel()

    def _pass_on(self, order: Failing) -> None:
        for worker in self._workers.values():
            with suppress(OSError):  # it has just ended; the next one in its place knows nothing of simulations
                worker.line.send(order)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            if worker.process.returncode is None:
                worker.process.send_signal(number)

    # the numbers

    async def total(self) -> Report:
        """Of all workers, now: each is asked, and one that does not answer stands as it was last seen."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        else:  # begun before this question: its answers may be older
            await asyncio.shield(self._asking)
            self._asking = self._asking if not self._asking.done() else asyncio.create_task(self._ask_all())
        await asyncio.shield(self._asking)
        return self._ledger.total()

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._ask(worker) for worker in self._workers.values() if worker.is_up))

    async def _ask(self, worker: Worker) -> None:
        try:
            await worker.asked.ask(lambda number: worker.line.send(Give(number)))
        except NoAnswer:
            log.warning("worker %d does not say how it stands; its last numbers count", worker.slot)

    async def _tell(self, worker: Worker, number: int) -> None:
        worker.line.send(Sum(number, await self.total()))

    async def _look_forever(self) -> None:
        """So that little is lost with a worker that dies."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.total()

    def _flusher(self) -> statsd.Flusher | None:
        client = statsd.from_environment()
        return statsd.Flusher(client, recorder(())) if client is not None else None

    async def _flush_forever(self, flusher: statsd.Flusher) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            flusher.recorder = recorder(((await self.total()).numbers,))
            flusher.flush()
