"""What any bytes may do to the router, as laws. Each function takes bytes and fails where a law does not hold.

    wire      bytes of a caller on a connection, in pieces        answered or refused, never with 500, and nothing raised
    stream    bytes of an engine's event stream, in pieces        nothing lost, nothing raised; unreadable is a value
    head      fields of a request's head                          read, or not taken; no field of the caller's key goes on
    session   a session id                                        an id as it was, or BadSession
    body      a request body                                      read and written anew, or a RouterError
    metrics   what an engine says of its queue                    a number that can be, or unknown

Used by hypothesis in tests/fuzz/test_fuzz.py and by atheris in tests/fuzz/__main__.py. The first byte says how large the pieces are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any, Final

import msgspec
import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from fleet.model import Capacity, Fleet, Model, Replicas, Route, Router, Slo, Spec
from router import app
from router.choice.question import question
from router.errors import BadSession, RouterError, StreamTruncated, encode, to_http
from router.following.reported import queued
from router.relay import resume
from router.relay.transcript import Transcript
from router.replicas.affinity import share_of
from router.sessions import selector
from router.wire import headers, requests
from router.wire.dialects import CHOICES, MESSAGES, RESPONSES, Dialect
from router.wire.events import Content, split, without_usage
from router.wire.inflate import inflated

MOST_BODY: Final = 64 * 1024
_STATUS: Final = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)
_DIALECTS: Final = (CHOICES, MESSAGES, RESPONSES)
_TURNS: Final = 200
_OWN_ERROR: Final = encode(StreamTruncated("The answer is incomplete."))


def pieces(data: bytes) -> Iterator[bytes]:
    """All but the first byte, in parts of as many bytes as that says; 0: in one."""
    size = data[0] if data else 0
    data = data[1:]
    step = size or max(1, len(data))
    return (data[at : at + step] for at in range(0, len(data), step))


# a caller's connection


class Sent:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._closing = False

    def write(self, data: bytes) -> None:
        self.data += data

    def get_extra_info(self, *_: Any) -> None:
        return None

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        self._closing = True

    close = abort

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Line:
    """A router without engines, and its connections to callers."""

    def __init__(self) -> None:
        model = Model(
            name="large",
            engine="vllm",
            weights="large",
            replicas=Replicas(),
            capacity=Capacity(concurrency=4, requests_per_min=60),
            cold_start_s=60.0,
            slo=Slo(),
        )
        limits = replace(Router(), max_body_bytes=MOST_BODY, max_held=0)
        fleet = Fleet(name="fuzz", consul="http://127.0.0.1:9")
        self.loop = uvloop.new_event_loop()
        self.errors: list[Any] = []
        self.loop.set_exception_handler(lambda _loop, context: self.errors.append(context))
        spec = Spec(fleet=fleet, router=limits, models=(model,), routes=(Route(selector=0, name="best", chain=("large",)),))
        self.loop.run_until_complete(self._wire(spec))

    async def _wire(self, spec: Spec) -> None:
        self._wired = app.wire(spec, environment={})
        self._config = Config(self._wired.app, http=self._wired.protocol, log_config=None, access_log=False)
        self._config.load()

    async def talk(self, data: bytes) -> bytes:
        """What a caller is sent who sends this and leaves."""
        sent, state = Sent(), ServerState()
        line = self._wired.protocol(self._config, state, {}, asyncio.get_running_loop())
        line.connection_made(sent)
        for piece in pieces(data):
            if sent.is_closing():
                break
            line.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(_TURNS):
            if not state.tasks:
                break
            await asyncio.sleep(0)
        assert line._exchange is None or line._exchange.size <= MOST_BODY + len(data)
        line.connection_lost(None)
        for task in tuple(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
        assert not self._wired.plane.active
        assert not self._wired.protocol.lines_open
        return bytes(sent.data)


@cache
def line() -> Line:
    return Line()


def wire(data: bytes) -> None:
    one = line()
    one.errors.clear()
    sent = one.loop.run_until_complete(one.talk(data))
    assert not one.errors, one.errors
    for status in _STATUS.findall(sent):
        assert status != b"500", sent


# an engine's stream


def stream(data: bytes) -> None:
    for dialect in _DIALECTS:
        _read(dialect, data)


def _read(dialect: Dialect, data: bytes) -> None:
    whole, rest, said = b"", b"", Transcript()
    for piece in pieces(data):
        found, rest = split(rest, piece)
        assert not found or found.endswith((b"\n\n", b"\n\r\n"))
        whole += found
        assert isinstance(dialect.content(found), Content)
        assert -1 <= dialect.own_error(found) < max(1, len(found))
        assert len(without_usage(found)) <= len(found)
        said.read(found)
    assert whole + rest == data[1:]
    assert isinstance(dialect.finished(whole), bool)
    assert isinstance(dialect.done(whole), bool)
    assert len(said.text) <= len(data)
    dialect.usage(whole)
    dialect.tail_usage(data)
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        dialect.json_usage(data[1:])
    resume.continuation(b"/v1/chat/completions", b'{"model":"large","messages":[]}', said)
    assert dialect.failure(_OWN_ERROR).endswith(b"\n\n")


# a request


def head(data: bytes) -> None:
    fields = [(name, value) for name, _, value in (row.partition(b":") for row in data.split(b"\n"))]
    read = headers.read_request(fields)
    assert read.length >= -1
    assert len(read.forward) <= len(data) + 4 * len(fields)
    for row in read.forward.split(b"\r\n"):
        assert not row.lower().startswith((b"authorization:", b"cookie:", b"x-api-key:", b"content-length:", b"transfer-encoding:"))
    headers.deadline_s(read.forward)


def session(data: bytes) -> None:
    try:
        read = selector.parse(data)
    except BadSession:
        return
    assert read.encode() == data
    assert 1 <= len(read) <= 128
    assert selector.selector_of(read) in (None, *range(16))


def body(data: bytes) -> None:
    requests.opens_turn(data)
    share_of(data)
    question(data)
    for ask in (requests.decode, lambda one: requests.with_model(one, "small"), _plain):
        try:
            ask(data)
        except RouterError as error:
            assert 400 <= to_http(error).status < 500


def _plain(data: bytes) -> None:
    assert len(inflated(data, b"gzip", MOST_BODY)) <= MOST_BODY


def metrics(data: bytes) -> None:
    found = queued(data)
    assert found is None or found >= 0


HARNESSES: Final[Mapping[str, Callable[[bytes], None]]] = {
    "wire": wire, "stream": stream, "head": head, "session": session, "body": body, "metrics": metrics,
}  # fmt: skip
