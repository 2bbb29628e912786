"""What operators see and do: health, the last answer of a connection, the access log, changes of state, a description taken over."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import random
import select
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import SpecError
from fleet.model import Replicas, Router, Spec
from fleet.spec import parse
from router.following.grace import GRACE_S, Grace
from router.following.reload import Descriptions, live_limits, needs_restart
from router.health.chronicle import View, changes
from router.plane import Feed
from router.records.access import AccessLog, share
from router.records.lines import JsonLines, speak_json
from router.records.written import pieces
from router.replicas.snapshot import Endpoint, Snapshot
from tests.router.client import chat
from tests.router.conftest import LIMITS, SPEC, Running, Start, until, with_limits
from tests.router.upstream import DONE, SSE_HEAD, Play, chunked, delta, plays_and_cuts, says_hello

GET = b"GET /v1/models HTTP/1.1\r\nhost: r\r\n\r\n"


# health


async def test_health_names_what_is_degraded_and_since_when(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    plane = router.wired.plane
    plane.feed = Feed(plane.clock(), plane.clock() - 7, plane.clock() - 5)
    router.wired.store.away_since = plane.clock() - 3
    said = (await router.get("/health")).json
    assert (said["status"], said["ready"], said["live"]) == ("degraded", True, True)
    troubles = {(one["what"], one["model"]): one["age_s"] for one in said["degraded"]}
    assert set(troubles) == {("consul", None), ("kept_endpoints", None), ("redis", None), ("no_replicas", "small"), ("no_replicas", "lone")}
    ages = [troubles[what, None] for what in ("redis", "kept_endpoints", "consul")]
    assert 3 <= ages[0] < ages[1] < ages[2]


async def test_a_model_that_may_have_no_replicas_is_not_missed(start: Start) -> None:
    sleepers = replace(SPEC, models=tuple(replace(model, replicas=Replicas(min=0)) for model in SPEC.models))
    router: Running = await start(spec=sleepers)
    router.wired.plane.feed = Feed(router.wired.plane.clock())
    troubles = (await router.get("/health")).json["degraded"]
    assert "no_replicas" not in {one["what"] for one in troubles}


# the last answer of a connection


@pytest.mark.parametrize(("request_", "name"), [(chat(), "relayed"), (GET, "not relayed")])
async def test_a_connection_at_rest_is_answered_once_more_when_the_router_stops(start: Start, request_: bytes, name: str) -> None:
    router: Running = await start(engines=[("a", says_hello)], spec=with_limits(drain_s=8.0))
    async with await router.connect() as caller:
        await caller.send(request_)
        assert "connection" not in (await caller.reply()).headers, name
        router.server.should_exit = True
        await until(lambda: router.wired.protocol.leaving_at is not None)
        await caller.send(request_)
        reply = await caller.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await caller.closed()


async def test_a_stream_under_way_when_the_router_stops_leaves_its_connection_one_more_request(start: Start) -> None:
    go_on = asyncio.Event()

    async def slow(play: Play) -> None:
        if play.heard.json.get("stream"):
            await play.send(SSE_HEAD + chunked([delta("one")], end=False))
            await go_on.wait()
            await play.send(chunked([delta("two", "stop"), DONE]))
        else:
            await says_hello(play)

    router: Running = await start(engines=[("a", slow)], spec=with_limits(drain_s=8.0))
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await caller.until(1)
        router.server.should_exit = True
        await until(lambda: router.wired.protocol.leaving_at is not None)
        go_on.set()
        first = await caller.reply()
        assert first.complete
        assert b"[DONE]" in first.body
        await caller.send(chat())
        assert (await caller.reply()).headers["connection"] == "close"


async def test_a_router_that_stops_says_so_on_open_connections(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)], spec=with_limits(drain_s=8.0))
    async with await router.connect() as caller:
        router.wired.plane.is_leaving = True
        await caller.send(b"GET /health HTTP/1.1\r\nhost: r\r\n\r\n")
        reply = await caller.reply()
        assert (reply.status, reply.json["status"]) == (503, "stopping")


# the access log


def access(router: Running, rate: float = 1.0, seed: int = 1) -> tuple[AccessLog, io.BytesIO]:
    out = io.BytesIO()
    plane = router.wired.plane
    plane.access = AccessLog(plane.recorder, plane.wall, random.Random(seed).random, out.write)
    plane.access.rate = rate
    return plane.access, out


async def written(log: AccessLog, out: io.BytesIO) -> list[dict[str, Any]]:
    await log.lines.write_queued()
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def test_an_answered_request_is_a_line_without_what_was_said(start: Start) -> None:
    router: Running = await start(engines=[("alloc-1", says_hello)])
    log, out = access(router)
    reply = await router.call(chat("auto", headers={"x-session-id": "mine", "x-request-id": "req-7"}))
    (line,) = await written(log, out)
    assert reply.status == 200
    assert b"hi" not in out.getvalue().split()
    del line["time"], line["latency_ms"]
    assert line == {
        "request_id": "req-7", "session": True, "selector": 0, "route": "best", "model": "large", "replica": "alloc-1", "attempts": 1,
        "reason": "least", "tried": [], "resumes": 0, "status": 200, "ttft_ms": None, "input_tokens": 7, "output_tokens": 3,
        "held_ms": 0.0, "caller_left": False, "event": "access", "level": "info",
    }  # fmt: skip
    assert await router.metric('warmfleet_router_log_bytes_total{model="large"}') == len(out.getvalue())


async def test_a_line_says_where_else_a_request_was(start: Start) -> None:
    router: Running = await start(engines=[("bad", plays_and_cuts(b"")), ("good", says_hello)])
    log, out = access(router)
    for _ in range(40):
        await router.call(chat())
    moved = [line for line in await written(log, out) if line["attempts"] == 2]
    assert moved
    assert all((line["tried"], line["replica"], line["status"]) == (["bad"], "good", 200) for line in moved)


async def test_a_caller_who_left_is_said(start: Start) -> None:
    async def waits(play: Play) -> None:
        await play.until_left()

    router: Running = await start(engines=[("a", waits)])
    log, out = access(router)
    async with await router.connect() as caller:
        await caller.send(chat())
        await until(router.heard)
    await until(lambda: not router.wired.plane.active)
    (line,) = await written(log, out)
    assert (line["status"], line["caller_left"], line["replica"]) == (499, True, "a")


async def test_a_sample_is_about_its_share(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    log, out = access(router, rate=0.25)
    async with await router.connect() as caller:
        for _ in range(200):
            await caller.send(chat())
            await caller.reply()
    assert 25 <= len(await written(log, out)) <= 80


async def test_a_log_that_nobody_takes_away_loses_lines_and_says_so(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    router: Running = await start(engines=[("a", says_hello)])
    log, out = access(router)
    log.lines.most_queued = 2
    for _ in range(5):
        await router.call(chat())
    assert len(await written(log, out)) == 2
    assert "3 requests are not in the access log" in caplog.text


@given(st.lists(st.binary(min_size=1, max_size=5000).map(lambda line: line.replace(b"\n", b".") + b"\n"), max_size=20))
def test_lines_are_written_whole_and_in_pieces_that_a_pipe_takes_at_once(lines: list[bytes]) -> None:
    written_ = list(pieces(lines))
    assert b"".join(written_) == b"".join(lines)
    assert all(len(piece) <= select.PIPE_BUF or piece.count(b"\n") == 1 for piece in written_)
    assert all(piece.endswith(b"\n") for piece in written_)


@pytest.mark.parametrize(("mode", "share_"), [("off", 0.0), ("sampled", 0.2), ("all", 1.0)])
def test_the_mode_says_which_share_is_written(mode: Any, share_: float) -> None:
    assert share(Router(access_log=mode, access_log_rate=0.2)) == share_


def test_log_lines_are_json_with_the_fields_of_a_trace_and_counted() -> None:
    counted: list[tuple[str, int]] = []
    form = JsonLines()
    form.counted = lambda model, size: counted.append((model, size))
    record = logging.LogRecord("router.x", logging.WARNING, "", 0, 'a "%s"', ("b",), None)
    record.event, record.model = "breaker_opened", "large"
    setattr(record, "dd.trace_id", "77")
    text = form.format(record)
    assert json.loads(text) == {
        "time": round(record.created, 3), "level": "warning", "logger": "router.x", "message": 'a "b"', "event": "breaker_opened",
        "model": "large", "dd.trace_id": "77",
    }  # fmt: skip
    assert counted == [("large", len(text) + 1)]


def test_a_traceback_stands_in_its_line() -> None:
    before, out = logging.getLogger().handlers[:], io.StringIO()
    try:
        speak_json(out)
        try:
            raise ValueError("no")
        except ValueError:
            logging.getLogger("router").exception("it broke")
    finally:
        logging.getLogger().handlers[:] = before
    (line,) = out.getvalue().splitlines()
    assert "ValueError: no" in json.loads(line)["error"]


# changes of state

ONE, TWO = ("large", "a1"), ("small", "b1")
CHANGES = [
    (View(), View(consul_is_lost=True), ["consul_lost"]),
    (View(consul_is_lost=True), View(), ["consul_back"]),
    (View(), View(redis_is_away=True), ["redis_lost"]),
    (View(redis_is_away=True), View(), ["redis_back"]),
    (View(), View(endpoints_are_kept=True), ["kept_endpoints"]),
    (View(endpoints_are_kept=True), View(), ["kept_endpoints_over"]),
    (View(endpoints=frozenset((ONE,))), View(endpoints=frozenset((TWO,))), ["endpoint_warm", "endpoint_gone"]),
    (View(endpoints=frozenset((ONE,))), View(endpoints=frozenset((ONE,)), ejected=frozenset((ONE,))), ["breaker_opened"]),
    (View(endpoints=frozenset((ONE,)), ejected=frozenset((ONE,))), View(endpoints=frozenset((ONE,))), ["breaker_closed"]),
    (View(endpoints=frozenset((ONE,)), ejected=frozenset((ONE,))), View(), ["endpoint_gone"]),
    (View(), View(cold=frozenset(("large",))), ["model_cold"]),
    (View(cold=frozenset(("large",))), View(), ["model_warm"]),
    (View(consul_is_lost=True, ejected=frozenset((ONE,))), View(consul_is_lost=True, ejected=frozenset((ONE,))), []),
]


@pytest.mark.parametrize(("before", "after", "events"), CHANGES)
def test_a_change_is_said_once(before: View, after: View, events: list[str]) -> None:
    assert [change.event for change in changes(before, after)] == events


# a Consul that forgot


def endpoint(name: str) -> Endpoint:
    return Endpoint(name, f"alloc-{name}", "large", "127.0.0.1", 9000)


def names_in(snapshot: Snapshot) -> str:
    return "".join(e.service_id for e in snapshot.endpoints)


def answers(index: int, names: str) -> Snapshot:
    return Snapshot(index, tuple(endpoint(name) for name in names))


def test_endpoints_of_a_wiped_register_are_kept_until_they_are_named_again() -> None:
    grace = Grace()
    assert names_in(grace.seen(answers(90, "abc"), 0)) == "abc"
    assert names_in(grace.seen(answers(12, ""), 10)) == "abc"
    assert grace.since == 10
    assert names_in(grace.seen(answers(13, "b"), 11)) == "abc"
    assert names_in(grace.seen(answers(14, "abc"), 12)) == "abc"
    assert grace.since is None
    assert names_in(grace.seen(answers(15, "a"), 13)) == "a"


def test_what_was_named_again_may_leave_while_others_are_kept() -> None:
    grace = Grace()
    grace.seen(answers(90, "ab"), 0)
    grace.seen(answers(12, "a"), 10)
    assert names_in(grace.seen(answers(13, ""), 11)) == "b"


def test_the_grace_ends() -> None:
    grace = Grace()
    grace.seen(answers(90, "ab"), 0)
    grace.seen(answers(12, "a"), 10)
    assert grace.expired(10 + GRACE_S - 1) is None
    believed = grace.expired(10 + GRACE_S)
    assert believed is not None
    assert names_in(believed) == "a"
    assert grace.expired(1000) is None


@pytest.mark.parametrize(("was_lost", "names", "believed"), [(True, "", "ab"), (True, "a", "a"), (False, "", "")])
def test_only_silence_followed_by_nothing_at_all_is_suspicious_while_the_index_grows(was_lost: bool, names: str, believed: str) -> None:
    grace = Grace()
    grace.seen(answers(90, "ab"), 0)
    if was_lost:
        grace.lost()
    assert names_in(grace.seen(answers(95, names), 10)) == believed


# another description


def described(**router: Any) -> bytes:
    model = {
        "name": "large",
        "engine": "llamacpp",
        "weights": "w",
        "cold_start": "1s",
        "capacity": {"concurrency": 1, "requests_per_min": 1},
    }
    base = {"fleet": {"name": "t"}, "runtime": {"driver": "raw_exec"}, "redis": {"driver": "raw_exec"}, "model": [model]}
    return json.dumps({**base, "router": router}).encode()


def following() -> tuple[Descriptions, list[tuple[Spec, str]]]:
    taken: list[tuple[Spec, str]] = []
    return Descriptions(SPEC, "boot", "the key", lambda spec, digest: taken.append((spec, digest))), taken


def test_a_published_description_is_taken_and_given_up_when_it_is_withdrawn() -> None:
    descriptions, taken = following()
    descriptions.seen(None, 5)
    assert not taken
    descriptions.seen(described(connect_timeout="3s"), 6)
    descriptions.seen(described(connect_timeout="3s"), 7)
    assert [spec.router.connect_s for spec, _ in taken] == [3.0]
    assert taken[0][1] == parse(described(connect_timeout="3s"), "x").source_hash
    descriptions.seen(None, 8)
    assert taken[1:] == [(SPEC, "boot")]


@pytest.mark.parametrize(
    "wrong", [b"{", b"[]", b"\xff", b"[" * 100_000, described(connect_timeout="never"), described().replace(b'"t"', b'"other"')]
)
def test_a_wrong_description_is_refused_and_the_last_good_one_stays(wrong: bytes, caplog: pytest.LogCaptureFixture) -> None:
    descriptions, taken = following()
    descriptions.seen(described(connect_timeout="3s"), 6)
    descriptions.seen(wrong, 7)
    assert len(taken) == 1
    assert "refused" in caplog.text


@pytest.mark.parametrize(("is_lost", "index"), [(True, 20), (False, 2)])
def test_a_wiped_consul_withdraws_nothing(is_lost: bool, index: int) -> None:
    descriptions, taken = following()
    descriptions.seen(described(), 6)
    if is_lost:
        descriptions.lost()
    descriptions.seen(None, index)
    assert len(taken) == 1


def test_what_only_a_restart_changes_is_named_and_left() -> None:
    now = replace(SPEC, router=replace(LIMITS, port=9, workers=4, connect_s=9.0))
    assert needs_restart(SPEC, now) == ("router.port", "router.workers")
    assert live_limits(LIMITS, now.router) == replace(LIMITS, connect_s=9.0)


def test_a_document_that_is_no_description_says_where_it_is_wrong() -> None:
    with pytest.raises(SpecError, match=r"the key:1: is not valid JSON"):
        parse(b"{", "the key")
