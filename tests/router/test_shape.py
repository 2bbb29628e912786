"""Heads that are recognised by their bytes: never read otherwise than the parser reads them, and never where it would read more."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import headers
from router.wire.head import RequestHead
from router.wire.shape import Shape, Shapes
from tests.router.client import chat
from tests.router.conftest import Running, Start, until, with_limits
from tests.router.upstream import says_hello

PATH = b"/v1/chat/completions"
BODY = b'{"model":"large"}'
FIELDS = (
    (b"host", b"router:8000"),
    (b"Accept", b"application/json"),
    (b"user-agent", b"OpenAI/Python 2.8.1 (50% off)"),
    (b"authorization", b"Bearer sk-1"),
    (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    (b"X-Session-Id", b"s-1"),
    (b"x-request-id", b"r-1"),
    (b"content-length", b"17"),
)


def written(fields: tuple[tuple[bytes, bytes], ...] = FIELDS, body: bytes = BODY, line: bytes = b"POST %b HTTP/1.1\r\n" % PATH) -> bytes:
    return line + headers.lines(fields) + b"\r\n" + body


def with_field(name: bytes, value: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((n, value if n.lower() == name else v) for n, v in FIELDS)


def learned(*requests: tuple[tuple[bytes, bytes], ...]) -> Shapes:
    shapes = Shapes()
    for fields in requests:
        shapes.learn(written(fields), PATH, fields)
        shapes.of(written(fields))  # what is recognised makes the next one worth learning from
    return shapes


class Message:
    """What a parser says of bytes."""

    def __init__(self, data: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = self.url = b""
        self.begun = self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def said(head: RequestHead) -> tuple[object, ...]:
    return tuple(getattr(head, name) for name in head.__struct_fields__)


def as_the_parser_says(shape: Shape, data: bytes) -> bool:
    """False: it is not recognised. Fails where it is, and the parser says something else."""
    read = shape.read(data)
    if read is None:
        return False
    message = Message(data)
    assert (message.begun, message.complete) == (1, 1)
    assert message.parser.get_method() == b"POST"
    assert message.parser.get_http_version() == "1.1"
    assert message.parser.should_keep_alive()
    assert not message.parser.should_upgrade()
    assert (message.url, message.body) == (shape.url, read[1])
    assert said(headers.read_request(message.fields)) == said(read[0])
    return True


SOME = b" \t\r\n\0\x7f\x80%:,;aZ09-+"
EDIT = st.tuples(st.floats(0, 1), st.integers(0, 3), st.lists(st.sampled_from([bytes([b]) for b in SOME]), max_size=3).map(b"".join))
TEXT = st.text(alphabet="abcXYZ019-._:/ %", max_size=40).map(str.encode)
VALUE = st.one_of(TEXT, st.binary(max_size=12), st.sampled_from([b"0", b"017", b"+17"]))


@given(st.lists(EDIT, min_size=1, max_size=3))
def test_whatever_is_changed_in_a_message_it_is_read_as_by_the_parser_or_left_to_it(edits: list[tuple[float, int, bytes]]) -> None:
    (shape,) = learned(FIELDS)._shapes
    data = written()
    for where, cut, put in edits:
        at = int(where * len(data))
        data = data[:at] + put + data[at + cut :]
    as_the_parser_says(shape, data)


@given(st.dictionaries(st.sampled_from([name.lower() for name, _ in FIELDS]), VALUE, max_size=4), st.binary(max_size=30))
def test_whatever_stands_in_the_holes_it_is_read_as_by_the_parser_or_left_to_it(values: dict[bytes, bytes], body: bytes) -> None:
    (shape,) = learned(FIELDS, with_field(b"user-agent", b"another"))._shapes
    fields = tuple((name, values.get(name.lower(), value)) for name, value in FIELDS)
    as_the_parser_says(shape, written(fields, body))
    right = tuple((name, b"%d" % len(body) if name == b"content-length" else value) for name, value in fields)
    as_the_parser_says(shape, written(right, body))


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS,
        with_field(b"authorization", b"Bearer sk-2"),
        with_field(b"x-session-id", b"s-22222222"),
        with_field(b"x-request-id", b"not \x21 sane"),
        with_field(b"traceparent", b"00-1-1-00"),
    ],
)
def test_the_next_request_of_a_client_is_recognised(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    (shape,) = learned(FIELDS)._shapes
    assert as_the_parser_says(shape, written(fields))


def test_a_body_of_another_length_is_recognised() -> None:
    (shape,) = learned(FIELDS)._shapes
    body = b'{"model":"large","n":' + b"1" * 5000 + b"}"
    assert as_the_parser_says(shape, written(with_field(b"content-length", b"%d" % len(body)), body))


@pytest.mark.parametrize(
    "data",
    [
        written()[:-1],
        written() + b"x",
        written() + written(),
        written(body=b""),
        written(with_field(b"content-length", b"+17")),
        written(with_field(b"content-length", b"0000000017")),
        written(with_field(b"content-length", b"17 ")),
        written(with_field(b"x-session-id", b"")),
        written(with_field(b"x-session-id", b"a\rb: c")),
        written(with_field(b"x-session-id", b"a\nb: c")),
        written(with_field(b"x-session-id", b"a\r\nb: c")),
        written(with_field(b"x-session-id", b"a\r\ntransfer-encoding: chunked")),
        written(with_field(b"x-session-id", b"a" * 2000)),
        written(with_field(b"host", b"another")),
        written((*FIELDS, (b"x", b"y"))),
        written((*FIELDS, (b"content-length", b"17"))),
        written((*FIELDS, (b"transfer-encoding", b"chunked"))),
        written(FIELDS[1:]),
        written(line=b"POST /v1/embeddings HTTP/1.1\r\n"),
        written(line=b"POST %b HTTP/1.0\r\n" % PATH),
        written(line=b"PUT %b HTTP/1.1\r\n" % PATH),
    ],
)
def test_what_differs_in_more_than_values_is_left_to_the_parser(data: bytes) -> None:
    (shape,) = learned(FIELDS)._shapes
    assert shape.read(data) is None


@pytest.mark.parametrize(
    "field",
    [
        (b"transfer-encoding", b"chunked"),
        (b"expect", b"100-continue"),
        (b"upgrade", b"websocket"),
        (b"connection", b"close"),
        (b"connection", b"keep-alive, x-hop"),
        (b"proxy-connection", b"keep-alive"),
        (b"content-encoding", b"gzip"),
        (b"content-length", b"17"),
        (b"x-session-id", b"s-2"),
        (b"accept", b"text/plain"),
        (b"x", b"y" * 9000),
        (b"x", b"-:hole:0:-"),
    ],
)
def test_a_head_that_says_more_than_its_length_has_no_shape(field: tuple[bytes, bytes]) -> None:
    assert learned((*FIELDS, field)).of(written((*FIELDS, field))) is None


def test_a_head_without_a_length_has_no_shape() -> None:
    assert learned(FIELDS[:-1]).of(written(FIELDS[:-1], b"")) is None


@pytest.mark.parametrize(
    "data", [written().replace(b": ", b":", 1), written().replace(b"\r\n", b"\n", 1), b"\r\n" + written(), written()[:50]]
)
def test_a_head_that_is_not_written_as_everybody_does_has_no_shape(data: bytes) -> None:
    shapes = Shapes()
    shapes.learn(data, PATH, FIELDS)
    assert shapes.of(written()) is None


def test_what_has_differed_once_may_differ_again() -> None:
    first, second, third = (with_field(b"user-agent", value) for value in (b"a/1", b"b/2", b"c/3"))
    shapes = learned(first)
    assert shapes.of(written(second)) is None
    shapes.learn(written(second), PATH, second)
    found = shapes.of(written(third))
    assert found is not None
    assert as_the_parser_says(found[0], written(third))


def test_no_shape_keeps_a_key() -> None:
    shapes = learned(FIELDS)
    (shape,) = shapes._shapes
    kept = repr([getattr(shape, name) for name in dir(shape) if not name.startswith("__")])
    assert b"application/json".decode() in kept
    assert "sk-1" not in kept


def test_who_always_comes_otherwise_is_learned_from_ever_more_seldom() -> None:
    shapes, made = Shapes(), 0
    for n in range(1000):
        fields = (*FIELDS, (b"x-%d" % n, b"y"))
        before = list(shapes._shapes)
        shapes.learn(written(fields), PATH, fields)
        made += shapes._shapes != before
    assert made <= 11
    assert len(shapes._shapes) <= 8


async def test_an_engine_gets_the_same_of_the_first_request_and_of_those_after_it(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    request = chat(headers={"x-session-id": "s-1", "x-request-id": "r-1", "authorization": "Bearer key", "x-mine": "100%"})
    async with await router.connect() as caller:
        for _ in range(4):
            await caller.send(request)
            assert (await caller.reply()).status == 200
    first, *others = router.engines["large/a"].heard
    assert all((heard.head, heard.body) == (first.head, first.body) for heard in others)
    assert router.wired.protocol.shapes._shapes


async def test_a_body_that_is_too_large_is_refused_behind_a_known_head(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)], spec=with_limits(max_body_bytes=1000))
    async with await router.connect() as caller:
        for _ in range(2):
            await caller.send(chat())
            assert (await caller.reply()).status == 200
        await caller.send(chat(padding="x" * 2000))
        assert (await caller.reply()).status == 413
        assert await caller.closed()
    assert router.heard() == 2


async def test_a_router_that_leaves_says_so_behind_a_known_head(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        for _ in range(2):
            await caller.send(chat())
            assert (await caller.reply()).status == 200
        router.wired.protocol.leaving_at = router.wired.plane.clock()
        await caller.send(chat())
        assert (await caller.reply()).headers["connection"] == "close"
        assert await caller.closed()


async def test_a_known_head_whose_body_comes_later_is_one_request(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    request = chat()
    async with await router.connect() as caller:
        for _ in range(2):
            await caller.send(request)
            assert (await caller.reply()).status == 200
        for at in (10, len(request) - 10):
            await caller.send(request[:at])
            (line,) = router.wired.protocol.lines_open
            await until(lambda line=line: line._reading)
            await caller.send(request[at:])
            assert (await caller.reply()).status == 200
    assert router.heard() == 4


async def test_known_heads_that_come_together_are_answered_in_order(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        for count in (1, 3, 1, 2):
            await caller.send(b"".join(chat(headers={"x-request-id": f"r-{count}-{n}"}) for n in range(count)))
            replies = [await caller.reply() for _ in range(count)]
            assert [reply.headers["x-request-id"] for reply in replies] == [f"r-{count}-{n}" for n in range(count)]
    assert router.heard() == 7
