"""Answers that are recognised by their bytes: never read otherwise than the parser reads them."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import headers
from router.wire.answer_shape import AnswerShapes
from tests.router.client import Caller, chat
from tests.router.conftest import Running, Start
from tests.router.upstream import Play

START = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"choices":[{"message":{"content":"100%"}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
FIELDS = (
    (b"Date", b"Sat, 21 Nov 2026 17:00:00 GMT"),
    (b"server", b"uvicorn"),
    (b"Content-Length", b"%d" % len(BODY)),
    (b"content-type", b"application/json"),
    (b"x-note", b"50% done"),
)
Pairs = tuple[tuple[bytes, bytes], ...]


def written(fields: Pairs = FIELDS, body: bytes = BODY, start: bytes = START) -> bytes:
    return start + headers.lines(fields) + b"\r\n" + body


def with_field(name: bytes, value: bytes) -> Pairs:
    return tuple((n, value if n.lower() == name else v) for n, v in FIELDS)


class Message:
    """What a parser says of bytes."""

    def __init__(self, data: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = 0
        self.stays_open = False
        self.parser = httptools.HttpResponseParser(self)
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1
        self.stays_open = self.parser.should_keep_alive()


def learned(*answers: bytes) -> AnswerShapes:
    shapes = AnswerShapes()
    for data in answers:
        shapes.learn(data, Message(data).fields)
    return shapes


def as_the_parser_says(shapes: AnswerShapes, data: bytes) -> bool:
    """False: it is not recognised. Fails where it is, and the parser says something else."""
    read = shapes.read(data)
    if read is None:
        return False
    message = Message(data)
    assert message.complete == 1
    assert message.parser.get_status_code() == 200
    assert message.stays_open
    assert read == (message.fields, headers.down_lines(message.fields), message.body)
    return True


EDIT = st.tuples(
    st.floats(0, 1), st.integers(0, 3), st.text(alphabet=" \t\r\n\0\x7f\x80%:,aZ09-+", max_size=3).map(lambda t: t.encode("latin-1"))
)


@given(st.lists(EDIT, min_size=1, max_size=3))
def test_whatever_is_changed_in_an_answer_it_is_read_as_by_the_parser_or_left_to_it(edits: list[tuple[float, int, bytes]]) -> None:
    data = written()
    for where, cut, put in edits:
        at = int(where * len(data))
        data = data[:at] + put + data[at + cut :]
    as_the_parser_says(learned(written()), data)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (FIELDS, BODY),
        (with_field(b"date", b"Sun, 22 Nov 2026 17:00:01 GMT"), BODY),
        (with_field(b"content-length", b"2"), b"{}"),
        (with_field(b"content-length", b"200000"), b"1" * 200_000),
    ],
)
def test_the_next_answer_of_an_engine_is_recognised(fields: Pairs, body: bytes) -> None:
    assert as_the_parser_says(learned(written()), written(fields, body))


def test_engines_of_several_kinds_are_recognised_side_by_side() -> None:
    ours, others = written(), written((*FIELDS, (b"x-version", b"2")))
    shapes = learned(ours, others)
    assert as_the_parser_says(shapes, ours)
    assert as_the_parser_says(shapes, others)


def test_a_kind_that_comes_late_is_learned_although_many_were_in_vain() -> None:
    chunked = START + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    shapes = learned(*[chunked] * 5000)
    fields = Message(written()).fields
    for _ in range(1024):
        shapes.learn(written(), fields)
    assert as_the_parser_says(shapes, written())


def kind(number: int) -> bytes:
    return written((*FIELDS, (b"x-kind-%d" % number, b"1")))


def of_kinds(*numbers: int) -> AnswerShapes:
    shapes = AnswerShapes()
    for number in numbers:
        fields = Message(kind(number)).fields
        for _ in range(1024):  # one of them is learned from
            shapes.learn(kind(number), fields)
    return shapes


def test_of_too_many_kinds_the_one_that_came_first_is_forgotten() -> None:
    shapes = of_kinds(*range(9))
    assert [as_the_parser_says(shapes, kind(number)) for number in range(9)] == [False] + [True] * 8


def test_a_kind_that_is_learned_again_and_again_takes_one_place() -> None:
    shapes = of_kinds(*range(7), *[7] * 8)
    assert all(as_the_parser_says(shapes, kind(number)) for number in range(8))


def test_what_has_differed_once_may_differ_again() -> None:
    first, second, third = (written(with_field(b"x-note", note)) for note in (b"a", b"b", b"c"))
    assert not as_the_parser_says(learned(first), second)
    assert as_the_parser_says(learned(first, second), third)


@pytest.mark.parametrize(
    "data",
    [
        written()[:-1],
        written() + b"x",
        written() + written(),
        written(body=b""),
        written(with_field(b"content-length", b"+9")),
        written(with_field(b"date", b"a\r\ntransfer-encoding: chunked")),
        written(with_field(b"content-type", b"text/event-stream")),
        written((*FIELDS, (b"connection", b"close"))),
        written(start=b"HTTP/1.1 500 Internal Server Error\r\n"),
        written(start=b"HTTP/1.0 200 OK\r\n"),
    ],
)
def test_what_differs_in_more_than_values_is_left_to_the_parser(data: bytes) -> None:
    assert learned(written()).read(data) is None


@pytest.mark.parametrize(
    "data",
    [
        written(start=b"HTTP/1.1 201 Created\r\n"),
        written(start=b"HTTP/1.0 200 OK\r\n"),
        written((*FIELDS, (b"connection", b"close"))),
        written((*FIELDS, (b"content-encoding", b"gzip"))),
        written(with_field(b"content-type", b"text/event-stream")),
        written(FIELDS[:3]),
        START + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + written(),
        written().replace(b": ", b":", 1),
    ],
)
def test_an_answer_of_another_kind_has_no_shape(data: bytes) -> None:
    assert learned(data).read(data) is None


async def test_callers_get_the_same_of_the_first_answer_and_of_those_after_it(start: Start) -> None:
    said = [0]

    async def counts(play: Play) -> None:
        said[0] += 1
        body = b'{"n":%d,"usage":{"prompt_tokens":3,"completion_tokens":4}}' % 10 ** said[0]
        await play.send(written(with_field(b"content-length", b"%d" % len(body)), body))

    router: Running = await start(engines=[("a", counts)])
    async with await router.connect() as caller:
        replies = [await _asked(caller) for _ in range(4)]
    (replica,) = router.wired.plane.replicas()
    assert replica.pool.answers.read(written()) is not None
    assert [body for body, _ in replies] == [b'{"n":%d,"usage":{"prompt_tokens":3,"completion_tokens":4}}' % 10**n for n in range(1, 5)]
    assert all(fields == replies[0][1] for _, fields in replies)
    assert (replica.counts.input_tokens, replica.counts.output_tokens) == (12, 16)


async def _asked(caller: Caller) -> tuple[bytes, dict[str, str]]:
    await caller.send(chat(headers={"x-request-id": "r"}))
    reply = await caller.reply()
    assert int(reply.headers.pop("content-length")) == len(reply.body)
    assert (reply.headers["x-note"], reply.headers.get("server")) == ("50% done", None)
    return reply.body, reply.headers
