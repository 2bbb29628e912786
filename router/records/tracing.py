"""Spans by ddtrace, where the process was started by `ddtrace-run`. The only user of ddtrace.

Law: a caller's decision to trace is followed, up to so many requests a second; else one request in 1/rate is traced. What is not traced
makes no span at all, so that it costs nothing; the rate goes with the span, and Datadog's counts of requests come out right.
ddtrace's own middleware sees the ASGI routes only; relays are made below it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from router.records.facts import Facts, Ids
from router.replicas.replica import Replica
from router.wire.headers import RequestHead

_MOST_FOLLOWED_PER_S: Final = 20  # callers may ask for traces; they may not slow the router down with it
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


def from_process(rate: float, random: Callable[[], float], clock: Callable[[], float]) -> DatadogTraces | None:
    """None where ddtrace was not started with the process, or nothing is to be traced. `rate`: 0 to 1. `clock`: monotonic seconds."""
    if rate <= 0 or "ddtrace.bootstrap.sitecustomize" not in sys.modules:
        return None
    from ddtrace.propagation.http import HTTPPropagator  # noqa: PLC0415 - 30 MB that only those load who want it
    from ddtrace.trace import tracer  # noqa: PLC0415

    return DatadogTraces(Library(tracer, HTTPPropagator), rate, random, clock) if tracer.enabled else None


class Library(NamedTuple):
    """ddtrace's own, which has types for some of it only."""

    tracer: Any
    propagator: Any


@dataclass(slots=True)
class DatadogTraces:
    """`router.records.spans.Traces`."""

    library: Library
    rate: float
    random: Callable[[], float]
    clock: Callable[[], float]
    _second: int = 0
    _followed: int = 0

    def start(self, path: bytes, head: RequestHead) -> DatadogSpan | None:
        forward = head.forward
        if head.has_trace:
            wish = _wish(forward)
            if wish is False:
                return None
            if wish and self._may_follow() and (parent := self._parent(forward)) is not None:
                return DatadogSpan(self.library, self._span(path, parent))
        if self.random() >= self.rate:
            return None
        span = self._span(path, None)
        span.set_tag("manual.keep")
        span.set_tag("_sample_rate", self.rate)
        return DatadogSpan(self.library, span)

    def inside(self) -> bytes:
        span = self.library.tracer.current_span()
        return _lines(self.library, span) if span is not None else b""

    def _may_follow(self) -> bool:
        """There were not too many in this second."""
        second = int(self.clock())
        if second != self._second:
            self._second, self._followed = second, 0
        self._followed += 1
        return self._followed <= _MOST_FOLLOWED_PER_S

    def _span(self, path: bytes, parent: Any) -> Any:
        resource = f"POST {path.partition(b'?')[0].decode('latin-1')}"
        span = self.library.tracer.start_span("warmfleet.request", child_of=parent, resource=resource, span_type="web", activate=False)
        span.set_tag("span.kind", "server")
        span.set_tag("component", "warmfleet")
        span.set_tag("http.method", "POST")
        return span

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

    __slots__ = ("_library", "_span", "ids")

    def __init__(self, library: Library, span: Any) -> None:
        self._library = library
        self._span = span
        self.ids = Ids(f"{span.trace_id:032x}", str(span.span_id))

    def step(self, replica: Replica) -> DatadogStep:
        span = self._library.tracer.start_span(
            "warmfleet.attempt", child_of=self._span, resource=replica.model, span_type="http", activate=False
        )
        span.set_tag("span.kind", "client")
        span.set_tag("component", "warmfleet")
        span.set_tag("model", replica.model)
        span.set_tag("replica", replica.endpoint.alloc_id)
        return DatadogStep(self._library, span)

    def end(self, facts: Facts, status: int) -> None:
        span = self._span
        for name, value in _tags(facts, status).items():
            if value is not None:
                span.set_tag(name, value)
        if status >= 500:
            span.error = 1
            span.set_tag("error.type", str(status))
            span.set_tag("error.message", facts.moves or "no candidate")
        span.finish()


class DatadogStep:
    """`router.records.spans.Step`."""

    __slots__ = ("_library", "_span")

    def __init__(self, library: Library, span: Any) -> None:
        self._library = library
        self._span = span

    def lines(self) -> bytes:
        return _lines(self._library, self._span)

    def end(self, why: str) -> None:
        if why:
            self._span.error = 1
            self._span.set_tag("error.type", why)
        self._span.finish()


def _lines(library: Library, span: Any) -> bytes:
    fields: dict[str, str] = {}
    library.propagator.inject(span, fields)
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")


def _tags(facts: Facts, status: int) -> dict[str, str | float | None]:
    """Tags of a request's span; None: not known."""
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
