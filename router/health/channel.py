"""The line between a worker and the process that started it: reports on the way up, the sum of all on the way down.

    parent ── Give(n) ──────► worker        how do you stand?
    parent ◄─ Given(n, ...) ─ worker
    parent ◄─ Want(n) ─────── worker        somebody asked me for the numbers of all
    parent ── Sum(n, ...) ──► worker
    parent ◄─ Failing ─────── worker        an operator orders a failure (router.following.simulate) ...
    parent ── Failing ──────► each worker   ... from all of them

Frames of MessagePack behind their length, over a socket pair that the worker inherits. A line that ends means that the other one has.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from router.errors import NoAnswer
from router.health.ledger import Report

_LONGEST_BYTES: Final = 64 * 1024**2
_PATIENCE_S: Final = 2.0
_LENGTH_BYTES: Final = 4


class Give(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int


class Given(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int
    report: Report


class Want(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int


class Sum(msgspec.Struct, frozen=True, tag=True, array_like=True):
    number: int
    report: Report


class Failing(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """`name`: of a model or provider."""

    name: str
    for_s: float


Message = Give | Given | Want | Sum | Failing
T = TypeVar("T")


class Line:
    """One end. `read` and `send` raise ConnectionError or asyncio.IncompleteReadError once the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decode = msgspec.msgpack.Decoder(Message)

    @classmethod
    async def over(cls, sock: socket.socket) -> Line:
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def read(self) -> Message:
        length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
        if length > _LONGEST_BYTES:
            raise ConnectionError(f"a frame of {length} bytes is none of ours")
        message: Message = self._decode.decode(await self._reader.readexactly(length))
        return message

    def send(self, message: Message) -> None:
        data = msgspec.msgpack.encode(message)
        try:
            self._writer.write(len(data).to_bytes(_LENGTH_BYTES) + data)
        except RuntimeError as error:  # uvloop: the transport is closed
            raise ConnectionResetError("the other end is gone") from error

    async def close(self) -> None:
        """Lets out what was sent."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


class Awaited:
    """Questions that wait for the other end's answer, by number."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._futures: dict[int, asyncio.Future[Report]] = {}

    async def ask(self, send: Callable[[int], None]) -> Report:
        """Raises: NoAnswer: not in time, or the line is gone."""
        number = next(self._numbers)
        future: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._futures[number] = future
        try:
            send(number)
            async with asyncio.timeout(_PATIENCE_S):
                return await future
        except OSError as error:  # TimeoutError is one
            raise NoAnswer("the other process does not answer") from error
        finally:
            self._futures.pop(number, None)

    def answered(self, number: int, report: Report) -> None:
        future = self._futures.get(number)
        if future is not None and not future.done():
            future.set_result(report)

    def give_up(self) -> None:
        """The line is gone: nobody will answer."""
        for future in self._futures.values():
            if not future.done():
                future.set_exception(NoAnswer("the other process is gone"))


class WorkersEnd:
    """A worker's end: it answers for itself, and asks for all. `fail(name, for_s)` is what an ordered failure does here."""

    def __init__(self, line: Line, report: Callable[[], Report], fail: Callable[[str, float], None]) -> None:
        self._line = line
        self._report = report
        self._fail = fail
        self._sums = Awaited()

    async def answer_forever(self) -> None:
        """Until the parent is gone. Raises: ConnectionError, asyncio.IncompleteReadError"""
        self._line.send(Given(0, self._report()))
        while True:
            message = await self._line.read()
            if isinstance(message, Give):
                self._line.send(Given(message.number, self._report()))
            elif isinstance(message, Sum):
                self._sums.answered(message.number, message.report)
            elif isinstance(message, Failing):
                self._fail(message.name, message.for_s)

    def order(self, name: str, for_s: float) -> None:
        """Lets a model or provider fail in all workers. Raises: NoAnswer: the parent is gone."""
        try:
            self._line.send(Failing(name, for_s))
        except OSError as error:
            raise NoAnswer("the other process is gone") from error

    async def leave(self) -> None:
        """Last words, so that nothing that was counted is lost."""
        with suppress(OSError):
            self._line.send(Given(0, self._report()))
        await self._line.close()

    async def all(self) -> Report:
        """The sum over all workers, asked for now. Raises: NoAnswer"""
        return await self._sums.ask(lambda number: self._line.send(Want(number)))
