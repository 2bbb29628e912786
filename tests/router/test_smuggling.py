"""Requests whose end two readers could see at different places: refused, and the connection closed, before an engine hears of them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.wire import events
from router.wire.dialects import RELAY_PATHS
from tests.router.client import chat
from tests.router.conftest import Running, Start, until
from tests.router.upstream import says_hello

BODY = b'{"model":"large"}'
HIDDEN = b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: 17\r\n\r\n" + BODY


def head(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    return end.join((b"POST /v1/chat/completions HTTP/1.1", b"host: r", *lines, b"", b""))


TABLE: list[tuple[str, bytes, int]] = [
    ("length and chunks", head(b"content-length: 4", b"transfer-encoding: chunked") + b"0\r\n\r\n" + HIDDEN, 400),
    ("chunks and length", head(b"transfer-encoding: chunked", b"content-length: 4") + b"0\r\n\r\n" + HIDDEN, 400),
    ("two lengths", head(b"content-length: 17", b"content-length: 0") + BODY, 400),
    ("the same length twice", head(b"content-length: 17", b"content-length: 17") + BODY, 400),
    ("a list of lengths", head(b"content-length: 17, 17") + BODY, 400),
    ("a signed length", head(b"content-length: +17") + BODY, 400),
    ("a negative length", head(b"content-length: -1") + BODY, 400),
    ("a length in hexadecimal", head(b"content-length: 0x11") + BODY, 400),
    ("a length beyond all numbers", head(b"content-length: 99999999999999999999999") + BODY, 400),
    ("another coding than chunks", head(b"transfer-encoding: gzip") + BODY, 400),
    ("chunks that are not last", head(b"transfer-encoding: chunked, identity") + b"0\r\n\r\n", 400),
    ("a coding that looks like chunks", head(b"transfer-encoding: xchunked") + b"0\r\n\r\n", 400),
    ("a chunk size that is none", head(b"transfer-encoding: chunked") + b"zz\r\n" + BODY, 400),
    ("a negative chunk size", head(b"transfer-encoding: chunked") + b"-1\r\n" + BODY, 400),
    ("a chunk size beyond all numbers", head(b"transfer-encoding: chunked") + b"f" * 20 + b"\r\n" + BODY, 400),
    ("a chunk longer than it says", head(b"transfer-encoding: chunked") + b"1\r\n" + BODY + b"\r\n0\r\n\r\n", 400),
    ("a folded field", head(b"x: a\r\n b", b"content-length: 17") + BODY, 400),
    ("a space before the colon", head(b"content-length : 17") + BODY, 400),
    ("a NUL in a field", head(b"x: a\0b", b"content-length: 17") + BODY, 400),
    ("a NUL in a name", head(b"x\0y: a", b"content-length: 17") + BODY, 400),
    ("a carriage return in a field", head(b"x: a\rcontent-length: 0", b"content-length: 17") + BODY, 400),
    ("no name", head(b": a", b"content-length: 17") + BODY, 400),
    ("no host", b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 17\r\n\r\n" + BODY, 400),
    ("two hosts", head(b"host: s", b"content-length: 17") + BODY, 400),
    ("the same host twice", head(b"host: r", b"content-length: 17") + BODY, 400),
    ("HTTP/2 without being asked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("no version", b"POST /v1/chat/completions\r\n\r\n", 400),
    ("an endless field", head(b"x: " + b"a" * 300_000, b"content-length: 17") + BODY, 431),
    ("endless fields", head(*[b"x%d: a" % n for n in range(30_000)]) + BODY, 431),
    ("an endless path", b"POST /" + b"a" * 300_000 + b" HTTP/1.1\r\nhost: r\r\n\r\n", 431),
]


@pytest.mark.parametrize("before", [0, 2], ids=["first", "after others"])  # whose heads the router has recognised by then
@pytest.mark.parametrize(("name", "data", "status"), TABLE, ids=[row[0] for row in TABLE])
async def test_an_ambiguous_request_is_refused_and_ends_its_connection(
    start: Start, name: str, data: bytes, status: int, before: int
) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        for _ in range(before):
            await caller.send(head(b"content-length: 17") + BODY)
            assert (await caller.reply()).status == 200
        caller.writer.write(data)
        reply = await caller.reply()
        assert reply.status == status
        assert reply.code == {400: "invalid_request", 431: "headers_too_large"}[status]
        assert await caller.closed()
    assert router.heard() == before
    assert (await router.call(chat())).status == 200


async def test_a_request_of_old_need_not_name_its_host(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: 17\r\n\r\n" + BODY)
        assert (await caller.reply()).status == 200


@pytest.mark.parametrize("target", [b"http://r:8000%b", b"HTTPS://user@r%b", b"%b?a=b", b"http://r%b?a=/v1"])
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/chat/c%6Fmpletions", b"/%761/chat/completions"])
async def test_a_target_means_the_same_however_it_is_written(start: Start, target: bytes, path: bytes) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        line = b"POST %b HTTP/1.1" % target.replace(b"%b", path)
        await caller.send(b"\r\n".join((line, b"host: r", b"content-length: 17", b"", b"")) + BODY)
        assert (await caller.reply()).status == 200
    (heard,) = router.engines["large/a"].heard
    assert heard.head.startswith(b"POST /v1/chat/completions")


@pytest.mark.parametrize(
    "target", [b"http://r/v1/nothing", b"//v1/chat/completions", b"/v1/chat%2fcompletion", b"/v1/%", b"/../v1/chat/completions", b"v1"]
)
async def test_what_means_another_path_is_not_relayed(start: Start, target: bytes) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(b"\r\n".join((b"POST %b HTTP/1.1" % target, b"host: r", b"content-length: 17", b"", b"")) + BODY)
        assert (await caller.reply()).status in (400, 404, 405)
    assert router.heard() == 0


async def test_lines_that_end_in_a_bare_line_feed_are_refused_or_mean_one_request(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        caller.writer.write(head(b"content-length: 17", end=b"\n") + BODY)
        assert (await caller.reply()).status in (200, 400)
    assert router.heard() <= 1


async def test_a_request_that_expects_a_continue_gets_it_before_its_body(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    async with await router.connect() as caller:
        await caller.send(head(b"content-length: 17", b"expect: 100-continue"))
        while caller._now.status != 100:
            await caller._read()
        await caller.send(BODY)
        assert (await caller.reply()).status == 200
    (heard,) = router.engines["large/a"].heard
    assert heard.header("expect") is None


FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
PIECES = st.sampled_from(
    [b"POST ", b"/v1/chat/completions ", b"HTTP/1.1", b"\r\n", b"\n", b"host: r", b"content-length: ", b"17", BODY, b"\0"]
)


async def test_whatever_bytes_come_the_router_goes_on(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    seen: list[bytes] = []

    @FUZZ
    @given(st.lists(st.one_of(PIECES, st.binary(max_size=30)), max_size=20))
    def collect(pieces: list[bytes]) -> None:
        seen.append(b"".join(pieces))

    collect()
    for data in seen:
        async with await router.connect() as caller:
            caller.writer.write(data)
            if caller.writer.can_write_eof():
                caller.writer.write_eof()
            while not caller.eof:  # whatever it answers, it ends
                await caller._read()
    assert (await router.call(chat())).status == 200
    await until(lambda: not router.wired.plane.active)


@given(st.binary(max_size=400), st.data())
def test_events_are_split_the_same_way_however_they_arrive(noise: bytes, data: st.DataObject) -> None:
    stream = b"data: {}\n\n" + noise + b"\n\ndata: [DONE]\n\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    rest, came = b"", b""
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        whole, rest = events.split(rest, stream[begin:end])
        came += whole
        assert not whole or whole.endswith((b"\n\n", b"\r\n\r\n"))
    assert came + rest == stream
    assert rest == b""


@given(st.binary(max_size=400), st.sampled_from(sorted(RELAY_PATHS)))
def test_no_bytes_of_an_engine_break_the_readers(run: bytes, path: bytes) -> None:
    dialect = RELAY_PATHS[path]
    assert dialect.own_error(run) < max(1, len(run))
    assert dialect.content(b"data: " + run) in events.Content
    dialect.usage(run)
    dialect.tail_usage(b'"usage":{' + run)
    dialect.finished(run)
