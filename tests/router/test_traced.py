"""What a tracer is told of a relay: one span a request, a step for each attempt, each ended once, however the request ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from router.app import wire
from router.records.facts import Ids
from router.relay.relay import Relay
from router.replicas.replica import Replica
from router.wire.head import RequestHead
from tests.router.client import chat
from tests.router.conftest import SPEC, Running, Start, until, with_slo
from tests.router.upstream import DONE, SSE_HEAD, Script, answer, chunked, delta, plays, plays_and_cuts, resets, says_hello, silent

Told = list[tuple[str, ...]]


@dataclass
class Step:
    told: Told
    replica: str

    def lines(self) -> bytes:
        return b"traceparent: of-%b\r\n" % self.replica.encode()

    def end(self, why: str) -> None:
        self.told.append(("left" if why else "answered", self.replica, why))


@dataclass
class Span:
    told: Told
    ids: Ids = Ids("trace", "span")

    def step(self, replica: Replica) -> Step:
        self.told.append(("tries", replica.endpoint.alloc_id))
        return Step(self.told, replica.endpoint.alloc_id)

    def end(self, relay: Relay, status: int) -> None:
        self.told.append(("ends", str(status)))


@dataclass
class Traces:
    """Traces everything, unless told not to."""

    told: Told = field(default_factory=list)
    wants: bool = True

    def start(self, path: bytes, head: RequestHead) -> Span | None:
        return Span(self.told) if self.wants else None

    def inside(self) -> bytes:
        return b"traceparent: of-here\r\n"


def traced(running: Running) -> Traces:
    traces = running.wired.plane.traces = Traces()
    return traces


BROKEN = plays_and_cuts(SSE_HEAD + chunked([delta("Hel")], end=False))
WHOLE = plays(SSE_HEAD + chunked([delta("lo", "stop"), DONE]))
REFUSES = plays(answer(b'{"error": {}}', status=400))
BUSY = plays(answer(b"{}", status=429))
A_BROKE, B_BROKE = ("left", "a", "connection"), ("left", "b", "connection")


async def test_one_attempt_that_answers(start: Start) -> None:
    running = await start(engines=[("a", says_hello)])
    traces = traced(running)
    assert (await running.call(chat(headers={"traceparent": "the callers", "TraceState": "x=1", "x-datadog-origin": "y"}))).status == 200
    assert traces.told == [("tries", "a"), ("answered", "a", ""), ("ends", "200")]
    head = running.engines["large/a"].heard[0].head.lower()
    assert b"\r\ntraceparent: of-a" in head and b"the callers" not in head and b"tracestate" not in head and b"x-datadog" not in head


@pytest.mark.parametrize(
    ("first", "second", "stream", "told"),
    [
        (resets, says_hello, False, [("tries", "a"), A_BROKE, ("tries", "b"), ("answered", "b", ""), ("ends", "200")]),
        (BUSY, says_hello, False, [("tries", "a"), ("left", "a", "busy"), ("tries", "b"), ("answered", "b", ""), ("ends", "200")]),
        (
            resets,
            resets,
            False,
            [("tries", "a"), A_BROKE, ("tries", "b"), B_BROKE, ("ends", "502")],
        ),
        (BROKEN, WHOLE, True, [("tries", "a"), A_BROKE, ("tries", "b"), ("answered", "b", ""), ("ends", "200")]),
        (REFUSES, says_hello, False, [("tries", "a"), ("answered", "a", ""), ("ends", "400")]),
    ],
    ids=["a reset", "busy", "both fail", "a stream that goes on elsewhere", "the caller's mistake"],
)
async def test_attempts_are_told_in_order_with_why_they_were_left(
    start: Start, first: Script, second: Script, stream: bool, told: Told
) -> None:
    running = await start(engines=[("a", first), ("b", second)])
    running.wired.plane.random = lambda: 0.0  # of two that are equally busy, the first
    traces = traced(running)
    await running.call(chat(stream=stream))
    assert traces.told == told


async def test_a_caller_that_leaves_ends_what_was_under_way(start: Start) -> None:
    running = await start(engines=[("a", silent)])
    traces = traced(running)
    async with await running.connect() as caller:
        await caller.send(chat())
        await until(lambda: traces.told)
    await until(lambda: traces.told[-1][0] == "ends")
    assert traces.told == [("tries", "a"), ("left", "a", "left"), ("ends", "499")]


async def test_of_a_hedge_both_attempts_are_told_and_one_answered(start: Start) -> None:
    running = await start(engines=[("a", silent), ("b", silent)], spec=with_slo(hedge_s=0.05, first_token_s=10.0, idle_s=10.0))
    traces = traced(running)
    async with await running.connect() as caller:
        await caller.send(chat(stream=True))
        await until(lambda: len([line for line in traces.told if line[0] == "tries"]) == 2)
    await until(lambda: traces.told[-1][0] == "ends")
    assert sorted(line[:2] for line in traces.told[:4]) == [("left", "a"), ("left", "b"), ("tries", "a"), ("tries", "b")]


async def test_a_request_that_is_refused_before_any_attempt_has_a_span_without_steps(start: Start) -> None:
    running = await start(engines=[("a", says_hello)])
    traces = traced(running)
    assert (await running.call(chat("nobody"))).status == 404
    assert traces.told == [("ends", "404")]


async def test_what_is_not_traced_is_an_ordinary_relay_and_its_headers_go_on(start: Start) -> None:
    running = await start(engines=[("a", silent)])
    traces = traced(running)
    traces.wants = False
    async with await running.connect() as caller:
        await caller.send(chat(headers={"traceparent": "the callers"}))
        await until(running.heard)
        assert [type(relay) for relay in running.wired.plane.active] == [Relay]
        running.wired.plane.traces = None
    assert running.engines["large/a"].heard[0].header("traceparent") == "the callers"
    assert traces.told == []


def test_without_ddtrace_nobody_traces() -> None:
    assert SPEC.datadog.trace_rate > 0
    assert wire(SPEC).plane.traces is None
