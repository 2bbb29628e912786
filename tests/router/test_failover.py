"""What fails before content is tried elsewhere; what fails after it ends honestly."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest

from fleet.state import Loading, ModelState
from router.replicas.breaker import State
from router.replicas.snapshot import Endpoint, Snapshot
from tests.router.client import chat
from tests.router.conftest import Running, Start, until, with_slo
from tests.router.upstream import (
    CHAT,
    DONE,
    ROLE,
    SSE_HEAD,
    Play,
    Script,
    answer,
    chunked,
    delta,
    plays,
    plays_and_cuts,
    recording,
    resets,
    says_hello,
    silent,
)

ERROR = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":500}}\n\n'
CALLERS_ERROR = b'data: {"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}\n\n'
GOOD_STREAM = SSE_HEAD + chunked([ROLE, delta("Hello", "stop"), DONE])


def first_bad_then_good(bad: Script, good: Script = says_hello) -> Script:
    """Engines share it: whichever is asked first is the bad one."""
    asked = 0

    async def script(play: Play) -> None:
        nonlocal asked
        asked += 1
        await (bad if asked == 1 else good)(play)

    return script


def content_then(data: bytes) -> Script:
    """The rest comes only after the caller has the content: asyncio gives both to the router in two reads."""

    async def script(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([ROLE, delta("one")], end=False))
        await asyncio.sleep(0.05)
        await play.send(data)
        await play.until_left()

    return script


@dataclass(frozen=True)
class Case:
    name: str
    bad: Script
    reason: str
    stream: bool = False
    strikes: bool = True


CASES = [
    Case("reset", resets, "connection"),
    Case("closed in the head", plays_and_cuts(b"HTTP/1.1 200 OK\r\ncontent-"), "connection"),
    Case("closed in the body", plays_and_cuts(answer(CHAT)[:-10]), "connection"),
    Case("malformed", plays(b"SSH-2.0-hello\r\n\r\n"), "connection"),
    Case("status 500", plays(answer(b"{}", 500)), "status"),
    Case("status 502 without a body to its end", plays(answer(b"{}", 502)[:-1]), "status"),
    Case("busy 503", plays(b"".join(recording("overload-rejected-503"))), "busy", strikes=False),
    Case("busy 429", plays(answer(b"{}", 429, extra="retry-after: 7\r\n")), "busy", strikes=False),
    Case("reset before content", plays_and_cuts(SSE_HEAD + chunked([ROLE], end=False)), "connection", stream=True),
    Case("error event before content", plays(SSE_HEAD + chunked([ROLE, ERROR, DONE])), "error_event", stream=True),
    Case("stream without content", plays(SSE_HEAD + chunked([ROLE])), "empty", stream=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_failure_before_content_is_another_replicas_turn(start: Start, case: Case) -> None:
    shared = first_bad_then_good(case.bad, plays(GOOD_STREAM) if case.stream else says_hello)
    router: Running = await start(engines=[("a", shared), ("b", shared)])
    reply = await router.call(chat(stream=case.stream))
    assert reply.status == 200
    assert reply.body.endswith(DONE) if case.stream else reply.body == CHAT
    assert (reply.route["attempts"], reply.route["reason"]) == ("2", "failover")
    assert sorted(len(engine.heard) for engine in router.engines.values()) == [1, 1]
    assert sum(replica.breaker.failures for replica in router.wired.plane.replicas()) == case.strikes
    assert await router.metric(f'warmfleet_router_failovers_total{{model="large",reason="{case.reason}"}}') == 1
    assert router.in_flight() == 0


async def test_a_replica_that_refuses_connections_is_left(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello)])
    await router.engines["large/a"].stop()
    dead = router.wired.plane.homes["a"]
    for _ in range(60):  # each is sent to either one first: three times to the dead one by then, but for one run in 10^15
        assert (await router.call(chat())).status == 200
    assert dead.breaker.state is State.OPEN
    assert await router.metric('warmfleet_router_ejections_total{model="large"}') == 1
    await router.engines["large/a"].start()


async def test_a_slow_first_token_is_moved(start: Start) -> None:
    shared = first_bad_then_good(silent, plays(GOOD_STREAM))
    router: Running = await start(engines=[("a", shared), ("b", shared)], spec=with_slo(first_token_s=0.3, idle_s=10.0))
    reply = await router.call(chat(stream=True))
    assert (reply.status, reply.route["attempts"]) == (200, "2")
    assert await router.metric('warmfleet_router_failovers_total{model="large",reason="first_token"}') == 1


async def test_an_answer_that_does_not_stream_has_no_first_token_clock(start: Start) -> None:
    async def slow(play: Play) -> None:
        relay = next(iter(router.wired.plane.active))
        await until(lambda: router.wired.plane.clock() - relay.began > 1.0)
        await play.send(answer(CHAT))

    router: Running = await start(engines=[("a", slow)], spec=with_slo(first_token_s=0.2, idle_s=0.2))
    assert (await router.call(chat())).body == CHAT


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 422, 501])
async def test_a_callers_mistake_passes_and_is_no_replicas_fault(start: Start, status: int) -> None:
    body = b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":%d}}' % status
    router: Running = await start(engines=[("a", plays(answer(body, status))), ("b", plays(answer(body, status)))])
    for _ in range(4):
        reply = await router.call(chat())
        assert (reply.status, reply.body, reply.route["attempts"]) == (status, body, "1")
    assert all(replica.breaker.failures == 0 for replica in router.wired.plane.replicas())


async def test_a_callers_mistake_inside_a_stream_passes_too(start: Start) -> None:
    parts = [CALLERS_ERROR, DONE]
    router: Running = await start(engines=[("a", plays(SSE_HEAD + chunked(parts)))])
    reply = await router.call(chat(stream=True))
    assert reply.body == b"".join(parts)


async def test_the_next_model_serves_when_every_replica_fails(start: Start) -> None:
    router: Running = await start(
        engines=[("a", resets), ("b", plays(answer(b"{}", 500))), ("c", resets), ("d", resets), ("s", says_hello, "small")]
    )
    reply = await router.call(chat())
    assert (reply.status, reply.route["model"], reply.route["attempts"], reply.route["reason"]) == (200, "small", "4", "fallback")
    assert await router.metric('warmfleet_router_fallbacks_total{model="large",to="small"}') == 1


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        (resets, 502, "upstream_failed"),
        (plays(answer(b"{}", 500)), 502, "upstream_failed"),
        (plays(answer(b"{}", 429)), 503, "replicas_busy"),
    ],
)
async def test_when_nothing_is_left_the_caller_is_told_why(start: Start, bad: Script, status: int, code: str) -> None:
    router: Running = await start(engines=[("a", bad, "lone"), ("b", bad, "lone")])
    reply = await router.call(chat("lone"))
    assert (reply.status, reply.code) == (status, code)
    assert router.heard() == 2
    assert router.in_flight() == 0


async def test_a_busy_engines_retry_after_is_passed_on(start: Start) -> None:
    router: Running = await start(engines=[("a", plays(answer(b"{}", 429, extra="retry-after: 7\r\n")), "lone")])
    reply = await router.call(chat("lone"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")


async def test_a_kept_connection_that_died_is_no_failure(start: Start) -> None:
    async def dies_on_the_second(play: Play) -> None:
        if len(router.engines["large/a"].heard) == 2:
            play.cut()
        else:
            await play.send(answer(CHAT))

    router: Running = await start(engines=[("a", dies_on_the_second)])
    async with await router.connect() as caller:
        for _ in range(2):
            await caller.send(chat())
            reply = await caller.reply()
            assert (reply.status, reply.route["attempts"]) == (200, "1")
    assert router.engines["large/a"].connections == 2
    assert next(iter(router.wired.plane.replicas())).breaker.failures == 0


async def test_a_known_but_cold_model_is_503_with_the_time_it_needs(start: Start) -> None:
    router: Running = await start()
    reply = await router.call(chat("lone"))
    assert (reply.status, reply.code, reply.headers["retry-after"]) == (503, "model_not_warm", "5")
    assert "x-warm-eta" not in reply.headers
    plane = router.wired.plane
    loading = Loading(alloc_id="x", since=plane.wall(), eta=plane.wall() + 600)
    plane.publish({"lone": _state("lone", loading)})
    reply = await router.call(chat("lone"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "120")
    assert 590 <= int(reply.headers["x-warm-eta"]) <= 600
    assert await router.metric('warmfleet_router_arrivals_total{model="lone"}') == 2


def _state(model: str, *loading: Loading, draining: tuple[str, ...] = ()) -> ModelState:
    return ModelState(
        model=model,
        desired=1,
        placed=1,
        ready=0,
        loading=loading,
        draining=draining,
        cold_start_p50_s=60,
        cold_start_p90_s=60,
        updated_at=0,
    )


async def test_a_draining_replica_gets_no_new_turn(start: Start) -> None:
    router: Running = await start(engines=[("a", says_hello), ("b", says_hello)])
    router.wired.plane.publish({"large": _state("large", draining=("a",))})
    for _ in range(8):
        assert (await router.call(chat())).route["replica"] == "b"


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "\u00e9" * 70, "::gg", "300.1.1.1"])
async def test_an_endpoint_whose_address_is_none_is_left(start: Start, host: str) -> None:
    """Consul takes any word for an address."""
    router: Running = await start(engines=[("b", says_hello, "small")])
    plane = router.wired.plane
    plane.apply(Snapshot(2, (*plane.snapshot.endpoints, Endpoint("large/a", "a", "large", host, 80))))
    for _ in range(2):
        reply = await router.call(chat())
        assert (reply.status, reply.route["replica"]) == (200, "b")
    assert router.in_flight() == 0
    assert plane.homes["a"].breaker.failures == 2


async def test_an_endpoint_that_leaves_finishes_what_it_has(start: Start) -> None:
    async def in_two(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([delta("one")], end=False))
        await until(lambda: not router.wired.plane.replicas())
        await play.send(chunked([delta("two", "stop"), DONE]))
        await play.until_left()

    router: Running = await start(engines=[("a", in_two)])
    async with await router.connect() as caller:
        await caller.send(chat(stream=True))
        await caller.until(1)
        replica = router.wired.plane.replicas()[0]
        router.warm(without="large/a")
        assert (await caller.reply()).body.endswith(DONE)
    assert replica.in_flight == 0
    await until(lambda: router.engines["large/a"].open == 0)


@pytest.mark.parametrize(
    ("name", "script", "good"),
    [
        ("reset", plays_and_cuts(SSE_HEAD + chunked([ROLE, delta("one"), delta("two")], end=False)), False),
        ("a clean end without finish reason", plays(SSE_HEAD + chunked([ROLE, delta("one"), delta("two")])), False),
        ("half an event", plays_and_cuts(SSE_HEAD + chunked([ROLE, delta("one"), delta("two"), delta("x")[:20]], end=False)), False),
        ("half an event, clean end", plays(SSE_HEAD + chunked([ROLE, delta("one"), delta("two"), delta("x")[:20]])), False),
        ("malformed chunk", content_then(b"zz\r\n"), False),
        ("a second answer", content_then(chunked([]) + answer(CHAT)), False),
        (
            "a recording that was cut",
            plays_and_cuts(recording("chat-stream-n2-logprobs")[0] + chunked([recording("chat-stream-n2-logprobs")[1]], end=False)),
            False,
        ),
        (
            "reset after the finish of one choice",
            plays_and_cuts(SSE_HEAD + chunked([delta("one"), delta("two", "stop")], end=False)),
            False,
        ),
        ("reset after [DONE]", plays_and_cuts(SSE_HEAD + chunked([delta("one"), delta("two", "stop"), DONE], end=False)), True),
        ("a clean end after a finish reason", plays(SSE_HEAD + chunked([delta("one"), delta("two", "stop")])), True),
        ("[DONE] without its empty line", plays(SSE_HEAD + chunked([delta("one"), delta("two", "stop"), b"data: [DONE]\n"])), True),
    ],
)
async def test_a_stream_never_looks_complete_unless_it_is(start: Start, name: str, script: Script, good: bool) -> None:
    router: Running = await start(engines=[("a", script), ("b", script)])
    async with await router.connect() as caller:
        await caller.send(chat(stream=True, n=2))  # several choices cannot go on elsewhere
        reply = await caller.reply()
        assert reply.status == 200
        assert reply.complete
        events = reply.body.split(b"\n\n")
        assert (b'"error"' not in reply.body) == good
        if not good:
            assert events[-2:] == [b"data: [DONE]", b""]
            assert json.loads(events[-3][6:])["error"]["code"] == "stream_truncated"
            assert all(event.startswith(b"data: ") for event in events[:-1])
        await caller.send(chat(stream=True, n=2))  # the connection is still well-formed
        assert (await caller.reply()).status == 200
    assert router.heard() == 2
    assert await router.metric('warmfleet_router_truncations_total{model="large"}') == (0 if good else 2)
    assert router.in_flight() == 0


async def test_a_stream_that_falls_silent_ends_with_an_error(start: Start) -> None:
    async def stalls(play: Play) -> None:
        await play.send(SSE_HEAD + chunked([delta("one")], end=False))
        await play.until_left()

    router: Running = await start(engines=[("a", stalls)], spec=with_slo(first_token_s=10.0, idle_s=0.3))
    reply = await router.call(chat(stream=True, n=2))
    assert b"stream_truncated" in reply.body
    assert reply.body.endswith(DONE)
    await until(lambda: router.engines["large/a"].open == 0)


async def test_a_large_body_that_breaks_cuts_the_callers_connection(start: Start) -> None:
    async def script(play: Play) -> None:
        await play.send(answer(b"x" * 900_000)[:600_000])
        await until(lambda: router.wired.plane.active and next(iter(router.wired.plane.active)).begun)
        play.cut()

    router: Running = await start(engines=[("a", script)])
    reply = await router.call(chat())
    assert not reply.complete
    await until(lambda: router.in_flight() == 0)


async def test_streams_that_break_eject_the_replica(start: Start) -> None:
    broken = plays_and_cuts(SSE_HEAD + chunked([delta("one")], end=False))
    router: Running = await start(engines=[("a", broken, "lone")])
    for _ in range(3):
        await router.call(chat("lone", stream=True, n=2))
    reply = await router.call(chat("lone", stream=True, n=2))
    assert (reply.status, reply.code) == (503, "model_not_warm")
    assert router.heard() == 3
