"""Whom to trace, where the process was started by `ddtrace-run`, and what is noted of it. With `telling`, the only user of ddtrace.

Law: a caller's decision to trace is followed, up to so many requests a second; else one request in 1/rate is traced, and fewer where that
would be too many a second. What is not traced makes no span at all, so that it costs nothing; the rate at which a span was chosen goes
with it, and Datadog's counts of requests come out right.
ddtrace's own middleware sees the ASGI routes only; relays are made below it.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fleet.model import Datadog
from router.records import telling
from router.records.facts import Facts, Ids
from router.records.telling import Born, Family, Library, Note, Tags, Teller
from router.replicas.replica import Replica
from router.wire.head import RequestHead

_ATTEMPT: Final = "warmfleet.attempt"
_MOST_FOLLOWED_PER_S: Final = 20  # callers may ask for traces; they may not slow the router down with it
_TELL_S: Final = 1.0
_W3C: Final = b"raceparent: "
_W3C_FLAG: Final = len(_W3C) + 54  # the last hexadecimal digit of `00-<32>-<16>-<2>`, whose lowest bit says "sampled"
_ODD: Final = frozenset(b"%x" % digit for digit in range(1, 16, 2))
_PRIORITY: Final = (b"atadog-sampling-priority: ", b"atadog-Sampling-Priority: ")
_POSITIVE: Final = (b"1", b"2")
_FIELD: Final = re.compile(
    rb"^(traceparent): (00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})\r$"
    rb"|^(x-datadog-(?:trace-id|parent-id|sampling-priority)): (-?\d{1,20})\r$"
    rb"|^(tracestate|x-datadog-tags|x-datadog-origin): ([ -~]{1,512})\r$",
    re.MULTILINE | re.IGNORECASE,
)


def from_process(datadog: Datadog, random: Callable[[], float], random_bits: Callable[[int], int]) -> DatadogTraces | None:
    """None where ddtrace was not started with the process, or nothing is to be traced."""
    if datadog.trace_rate <= 0 or "ddtrace.bootstrap.sitecustomize" not in sys.modules:
        return None
    library = telling.library()
    return made(library, Share(datadog.trace_rate, datadog.traces_per_s), random, random_bits) if library.tracer.enabled else None


def made(library: Library, share: Share, random: Callable[[], float], random_bits: Callable[[int], int]) -> DatadogTraces:
    return DatadogTraces(library, share, random, telling.born(library, random_bits), Teller(library))


@dataclass(slots=True)
class Share:
    """Of the requests, how many are chosen: `now`, which is `rate` (0 to 1) unless the last second had more than `most_per_s` for it."""

    rate: float
    most_per_s: float
    now: float = field(init=False)
    chosen: int = 0

    def __post_init__(self) -> None:
        self.now = self.rate

    def second(self) -> None:
        """One has passed."""
        asked_per_s = self.chosen / self.now
        self.now = min(self.rate, self.most_per_s / asked_per_s) if asked_per_s else self.rate
        self.chosen = 0


@dataclass(slots=True)
class DatadogTraces:
    """`router.records.spans.Traces`. `tell_forever` runs beside the requests."""

    library: Library
    share: Share
    random: Callable[[], float]
    born: Born
    teller: Teller
    _may_follow: int = _MOST_FOLLOWED_PER_S

    def start(self, path: bytes, head: RequestHead) -> DatadogSpan | None:
        is_chosen = self.random() < self.share.now
        if not is_chosen and not (head.has_trace and self._may_follow):
            return None
        forward = head.forward
        if head.has_trace:
            wish = _wish(forward)
            if wish is False:
                return None
            if wish and self._may_follow:
                self._may_follow -= 1
                if (parent := self._parent(forward)) is not None:
                    return DatadogSpan(self, path, parent)
        if not is_chosen:
            return None
        self.share.chosen += 1
        return DatadogSpan(self, path, None)

    def inside(self) -> bytes:
        span = self.library.tracer.current_span()
        return telling.header_lines(self.library, span) if span is not None else b""

    async def tell_forever(self) -> None:
        """What is over becomes spans within a second, and in the end."""
        try:
            while True:
                await asyncio.sleep(_TELL_S)
                self._may_follow = _MOST_FOLLOWED_PER_S
                self.share.second()
                while self.teller.tell_some():  # noqa: ASYNC110 - nothing is waited for: requests come in between
                    await asyncio.sleep(0)
        finally:
            while self.teller.tell_some():
                pass

    def _parent(self, forward: bytes) -> Any | None:
        """The caller's context, if its headers are well-formed and say that it traces. None: we decide."""
        matches = _FIELD.finditer(forward)
        fields = {match[at].decode().lower(): match[at + 1].decode() for match in matches for at in (1, 3, 5) if match[at]}
        if any(not 0 < int(fields.get(name, "1")) < 1 << 64 for name in ("x-datadog-trace-id", "x-datadog-parent-id")):
            return None
        context = self.library.propagator.extract(fields)
        return context if context.trace_id and (context.sampling_priority or 0) > 0 else None


def _wish(forward: bytes) -> bool | None:
    """Whether a caller traces its request, by one byte of its headers: it stands in many requests. None: it does not say."""
    at = forward.find(_W3C)
    if at >= 0:
        return forward[at + _W3C_FLAG : at + _W3C_FLAG + 1] in _ODD
    for name in _PRIORITY:
        at = forward.find(name)
        if at >= 0:
            return forward[at + len(name) : at + len(name) + 1] in _POSITIVE
    return None


class DatadogSpan:
    """`router.records.spans.Span`."""

    __slots__ = ("_family", "_traces", "ids")

    def __init__(self, traces: DatadogTraces, path: bytes, parent: Any) -> None:
        began_ns = time.time_ns()
        trace_id, span_id = parent.trace_id if parent is not None else traces.born.trace_id(began_ns), traces.born.span_id()
        tags: Tags = {"span.kind": "server", "component": "warmfleet", "http.method": "POST"}
        if parent is None:
            tags["_sample_rate"] = traces.share.now
        resource = f"POST {path.partition(b'?')[0].decode('latin-1')}"
        root = Note(telling.REQUEST, "web", resource, trace_id, span_id, tags, began_ns)
        self._traces = traces
        self._family = Family(root, parent)
        self.ids = Ids(f"{trace_id:032x}", str(span_id))

    def step(self, replica: Replica) -> DatadogStep:
        trace_id, model = self._family.root.trace_id, replica.model
        tags: Tags = {"span.kind": "client", "component": "warmfleet", "model": model, "replica": replica.endpoint.alloc_id}
        note = Note(_ATTEMPT, "http", model, trace_id, self._traces.born.span_id(), tags, time.time_ns())
        self._family.children.append(note)
        return DatadogStep(self._traces, note, self._family.parent)

    def end(self, facts: Facts, status: int) -> None:
        root = self._family.root
        root.tags |= _tags(facts, status)
        if status >= 500:
            root.error = str(status), facts.moves or "no candidate"
        root.end()
        self._traces.teller.over(self._family)


class DatadogStep:
    """`router.records.spans.Step`."""

    __slots__ = ("_note", "_parent", "_traces")

    def __init__(self, traces: DatadogTraces, note: Note, parent: Any) -> None:
        self._traces = traces
        self._note = note
        self._parent = parent

    def lines(self) -> bytes:
        trace_id, span_id = self._note.trace_id, self._note.span_id
        if self._parent is None:
            return self._traces.born.lines(trace_id, span_id)
        return telling.header_lines(self._traces.library, self._parent.copy(trace_id, span_id))

    def end(self, why: str) -> None:
        if why:
            self._note.error = why, ""
        self._note.end()


def _tags(facts: Facts, status: int) -> Tags:
    plan, usage = facts.plan, facts.usage
    return {
        "http.status_code": str(status),
        "request_id": facts.request_id.decode("latin-1"),
        "model": facts.model or (plan.wanted if plan is not None else None),
        "route": plan.route if plan is not None else None,
        "selector": str(plan.selector) if plan is not None and plan.selector is not None else None,
        "reason": facts.reason,
        "moves": facts.moves or None,
        "attempts": facts.attempts,
        "resumes": facts.resumes,
        "held_ms": facts.held_s * 1000,
        "ttft_ms": None if facts.ttft_s is None else facts.ttft_s * 1000,
        "input_tokens": None if usage is None else usage.prompt_tokens,
        "output_tokens": None if usage is None else usage.completion_tokens,
    }
