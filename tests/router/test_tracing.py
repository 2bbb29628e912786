"""Whom a router traces, what is noted of it, and what ddtrace is told when it is over. Its contract with the real one: test_traces.py."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.model import Slo
from router.records import telling, tracing
from router.records.telling import Library, Note, pattern
from router.records.tracing import DatadogTraces, Share
from router.replicas.replica import Replica
from router.replicas.snapshot import Endpoint
from router.tally import ModelCounts
from router.wire.headers import RequestHead, read_request

PATH = b"/v1/chat/completions?x=1"
TRACES, DOES_NOT, SAYS_NOTHING = b"00-%032x-%016x-01" % (7, 8), b"00-%032x-%016x-00" % (7, 8), None


@dataclass
class Context:
    trace_id: int
    span_id: int = 0
    is_remote: bool = True
    sampling_priority: int = 1

    def copy(self, trace_id: int, span_id: int) -> Context:
        return Context(trace_id, span_id)


@dataclass
class Span:
    """As much of ddtrace's as we use."""

    name: str
    parent: Any = None
    span_type: str = ""
    resource: str = ""
    trace_id: int = 0xABCD << 100 | 0x1234567812345678
    span_id: int = 0x8765432187654321
    start_ns: int = 0
    end_s: float = 0.0
    error: int = 0
    tags: dict[str, Any] = field(default_factory=dict)

    def set_tag(self, name: str, value: Any = None) -> None:
        self.tags[name] = value

    def finish(self, end_s: float) -> None:
        self.end_s = end_s


@dataclass
class Tracer:
    spans: list[Span] = field(default_factory=list)

    def start_span(self, name: str, *, child_of: Any, resource: str, span_type: str, activate: bool) -> Span:
        assert not activate
        self.spans.append(Span(name, child_of, span_type, resource))
        return self.spans[-1]


class Propagator:
    @staticmethod
    def inject(of: Any, fields: dict[str, str]) -> None:
        fields |= {"traceparent": f"00-{of.trace_id:032x}-{of.span_id:016x}-01", "x-parent": str(of.span_id)}

    @staticmethod
    def extract(fields: dict[str, str]) -> Context:
        _, trace_id, span_id, _ = fields["traceparent"].split("-")
        return Context(int(trace_id, 16), int(span_id, 16))


@dataclass
class Watched:
    """`dice` are what is thrown next; then nothing is chosen."""

    dice: list[float] = field(default_factory=list)
    tracer: Tracer = field(default_factory=Tracer)

    def traces(self, rate: float = 0.5) -> DatadogTraces:
        numbers = itertools.count(1)
        thrown = itertools.chain(self.dice, itertools.repeat(1.0))
        return tracing.made(
            Library(self.tracer, Propagator, Span, Context), Share(rate, 50), lambda: next(thrown), lambda _bits: next(numbers)
        )


def head(traceparent: bytes | None = None) -> RequestHead:
    return read_request([(b"accept", b"*/*"), *([(b"traceparent", traceparent)] if traceparent else [])])


def replica(alloc: str) -> Replica:
    endpoint = Endpoint(alloc, alloc, "large", "127.0.0.1", 9)
    return Replica(endpoint, Slo(), ModelCounts(), lambda: 0.0, concurrency=4, fresh=False)


@pytest.mark.parametrize(
    ("says", "dice", "parent"),
    [
        (SAYS_NOTHING, 0.9, "nobody"),
        (SAYS_NOTHING, 0.1, "begins here"),
        (DOES_NOT, 0.1, "nobody"),
        (DOES_NOT, 0.9, "nobody"),
        (TRACES, 0.9, "the caller's"),
        (TRACES, 0.1, "the caller's"),
        (b"junk", 0.9, "nobody"),
        (b"junk", 0.1, "nobody"),
    ],
)
def test_a_caller_that_says_is_followed_and_else_dice_decide(says: bytes | None, dice: float, parent: str) -> None:
    span = Watched([dice]).traces().start(PATH, head(says))
    if parent == "nobody":
        assert span is None
    else:
        assert span is not None
        assert (int(span.ids.trace, 16) == 7) == (parent == "the caller's")


def test_callers_are_followed_so_many_times_and_then_dice_decide() -> None:
    traces = Watched([0.9] * 50 + [0.1]).traces()
    followed = [traces.start(PATH, head(TRACES)) for _ in range(50)]
    assert [span is not None for span in followed] == [True] * 20 + [False] * 30
    chosen = traces.start(PATH, head(TRACES))
    assert chosen is not None and int(chosen.ids.trace, 16) != 7


@dataclass
class Nothing:
    """Facts of a request that was refused at once."""

    plan = usage = ttft_s = model = None
    request_id, reason, moves, attempts, resumes, held_s = b"r", "-", "", 0, 0, 0.0


def end(span: tracing.DatadogSpan | None, status: int = 200) -> None:
    assert span is not None
    span.end(Nothing(), status)  # type: ignore[arg-type]


def test_ddtrace_hears_nothing_before_a_request_is_over_and_then_all_with_the_ids_that_engines_know() -> None:
    watched = Watched([0.1])
    traces, before_ns = watched.traces(), time.time_ns()
    span = traces.start(PATH, head())
    assert span is not None
    left, answered = span.step(replica("a")), span.step(replica("b"))
    told = [left.lines(), answered.lines()]
    left.end("connection")
    answered.end("")
    end(span, 502)
    assert watched.tracer.spans == []
    assert not traces.teller.tell_some()
    root, first, second = watched.tracer.spans
    assert told == [f"traceparent: 00-{span.ids.trace}-{s.span_id:016x}-01\r\nx-parent: {s.span_id}\r\n".encode() for s in (first, second)]
    assert (f"{root.parent.trace_id:032x}", str(root.span_id)) == span.ids and "manual.keep" in root.tags
    assert not root.parent.is_remote and first.parent is second.parent is root
    assert [s.tags.get("replica") for s in (root, first, second)] == [None, "a", "b"]
    assert [(s.error, s.tags.get("error.type")) for s in (root, first, second)] == [(1, "502"), (1, "connection"), (0, None)]
    for made in (root, first, second):
        assert before_ns <= made.start_ns <= made.end_s * 1e9 <= time.time_ns() + 1000
    assert (root.resource, root.tags["_sample_rate"]) == ("POST /v1/chat/completions", 0.5)
    assert [name for name, value in root.tags.items() if value is None] == ["manual.keep"]


def test_a_callers_trace_keeps_its_context_and_its_decision() -> None:
    watched = Watched()
    traces = watched.traces()
    span = traces.start(PATH, head(TRACES))
    assert span is not None
    step = span.step(replica("a"))
    assert step.lines().startswith(b"traceparent: 00-%032x-" % 7)
    step.end("")
    end(span)
    assert not traces.teller.tell_some()
    root = watched.tracer.spans[0]
    assert (root.parent.trace_id, root.parent.span_id) == (7, 8)
    assert not {"manual.keep", "_sample_rate"} & root.tags.keys()


def test_requests_that_are_over_are_told_several_at_once() -> None:
    watched = Watched([0.0] * 40)
    traces = watched.traces()
    for _ in range(40):
        end(traces.start(PATH, head()))
    assert watched.tracer.spans == []
    assert [(traces.teller.tell_some(), len(watched.tracer.spans)) for _ in range(3)] == [(True, 16), (True, 32), (False, 40)]


async def test_of_a_flood_the_oldest_are_told_between_requests_and_never_within_one() -> None:
    watched = Watched([0.0] * 1000)
    traces = watched.traces()
    for count in range(1, 1001):
        told = len(watched.tracer.spans)
        end(traces.start(PATH, head()))
        assert len(watched.tracer.spans) == told
        await asyncio.sleep(0)
        assert count - len(watched.tracer.spans) < 256
    ids = [span.span_id for span in watched.tracer.spans]
    assert ids == sorted(ids)


def test_no_span_ends_before_it_began_though_the_clock_is_put_back() -> None:
    ahead_ns = time.time_ns() + 10**12
    note = Note("n", "k", "r", 1, 2, {}, ahead_ns)
    note.end()
    assert round(note.ended_ns / 1e9 * 1e9) >= ahead_ns, "also as seconds, as ddtrace takes it"


async def test_what_is_not_told_when_a_router_ends_is_told_then() -> None:
    watched = Watched([0.0])
    traces = watched.traces()
    task = asyncio.create_task(traces.tell_forever())
    await asyncio.sleep(0)
    end(traces.start(PATH, head()))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert len(watched.tracer.spans) == 1


@pytest.mark.parametrize(
    ("rate", "asked", "now"),
    [
        (0.01, 3000, 0.01),
        (0.01, 5000, 0.01),
        (0.01, 20_000, 0.0025),
        (1.0, 100, 0.5),
        (1.0, 20, 1.0),
        (1e-12, 10**6, 1e-12),
        (0.01, 0, 0.01),
    ],
)
def test_a_busy_second_lowers_the_share_of_the_next_and_a_calm_one_gives_it_back(rate: float, asked: int, now: float) -> None:
    share = Share(rate, 50)
    share.chosen = round(asked * rate)
    share.second()
    assert share.now == pytest.approx(now)
    share.chosen = round(asked * share.now)
    share.second()
    assert share.now == pytest.approx(now, rel=0.05)
    share.second()
    assert share.now == rate


def test_what_is_chosen_says_at_which_share_that_was() -> None:
    watched = Watched([0.3, 0.3, 0.1])
    traces = watched.traces()
    end(traces.start(PATH, head()))
    traces.share.chosen = 125  # of 250, of which the next second may have 50
    traces.share.second()
    assert traces.start(PATH, head()) is None
    end(traces.start(PATH, head()))
    traces.teller.tell_some()
    assert [span.tags["_sample_rate"] for span in watched.tracer.spans] == [0.5, pytest.approx(0.2)]


def written(trace_id: int, span_id: int) -> str:
    low, high = trace_id & (1 << 64) - 1, trace_id >> 64
    lines = [
        f"traceparent: 00-{trace_id:032x}-{span_id:016x}-01",
        f"tracestate: dd=s:2;p:{span_id:016x};t.dm:-4;t.tid:{high:016x}",
        f"x-datadog-trace-id: {low}",
        f"x-datadog-parent-id: {span_id}",
        "x-datadog-tags: _dd.p.dm=-4,odd={braces}",
        f"b3: {trace_id:032x}-{span_id:016x}-1",
        f"x-b3-traceid: {low:016x}",
    ]
    return "\r\n".join(lines)


@given(st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 64) - 1))
def test_lines_of_one_trace_show_how_those_of_any_are_written(trace_id: int, span_id: int) -> None:
    learnt = 0x691FB9A3_00000000_F067AA0B_A902B7D1, 0xB7AD6B71_69203331
    born = telling.Born(lambda _bits: 1, pattern(written(*learnt), *learnt), is_wide=True)
    assert born.lines(trace_id, span_id).decode() == written(trace_id, span_id)


@pytest.mark.parametrize(("is_wide", "trace_id"), [(True, 0x5F5E1000_00000000_00000000_00000000 | 5), (False, 5)])
def test_trace_ids_are_as_wide_as_ddtraces_own_and_begin_with_the_second(is_wide: bool, trace_id: int) -> None:
    born = telling.Born(lambda _bits: 5, "", is_wide)
    assert born.trace_id(0x5F5E1000 * 1_000_000_000 + 999) == trace_id
    assert telling.Born(lambda _bits: 0, "", is_wide).span_id() == 1
