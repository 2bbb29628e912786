"""What a traced request leaves behind, and how it becomes spans of ddtrace. The only module that makes them.

Law: while a request runs, its spans are notes: a few values each, and ids that its engines and its log line already know. ddtrace's own
objects are made of them when the request is over, for several requests at once. A span costs ddtrace several times as much in the middle
of other work as it does beside others, because nothing of it is in the processor's caches then.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

_LOW: Final = (1 << 64) - 1
_LEAST_NS: Final = 1000  # ddtrace takes ends in seconds, whose last digit stands for a quarter of that
REQUEST: Final = "warmfleet.request"
_KEEP: Final = "manual.keep"
_AT_ONCE: Final = 16
_MOST_KEPT: Final = 256

Tags = dict[str, "str | float | None"]


class Library(NamedTuple):
    """ddtrace's own, which has types for some of it only. `span` and `context` are its classes."""

    tracer: Any
    propagator: Any
    span: Any
    context: Any


def library() -> Library:
    """ddtrace, as the process was started with it."""
    from ddtrace.propagation.http import HTTPPropagator  # noqa: PLC0415 - 30 MB that only those load who want it
    from ddtrace.trace import Context, Span, tracer  # noqa: PLC0415

    return Library(tracer, HTTPPropagator, Span, Context)


@dataclass(slots=True)
class Note:
    """A span. Times: nanoseconds since the epoch. `trace_id`: of 128 bits unless the operator wants 64. A tag that is None is not known."""

    name: str
    kind: str
    resource: str
    trace_id: int
    span_id: int
    tags: Tags
    began_ns: int
    ended_ns: int = 0
    error: tuple[str, str] | None = None

    def end(self) -> None:
        self.ended_ns = max(time.time_ns(), self.began_ns + _LEAST_NS)


@dataclass(slots=True)
class Family:
    """The span of a request and those of its attempts. `parent`: the caller's context; None: the trace begins here."""

    root: Note
    parent: Any = None
    children: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class Teller:
    """Makes ddtrace's spans of families that are over, a few at once, so that others wait a millisecond at most.

    Somebody calls `tell_some` now and then. Where too many are over before that, the loop does, after the request that is at work.
    """

    library: Library
    _over: deque[Family] = field(default_factory=deque)

    def over(self, family: Family) -> None:
        self._over.append(family)
        if len(self._over) >= _MOST_KEPT:
            asyncio.get_running_loop().call_soon(self.tell_some)

    def tell_some(self) -> bool:
        """Whether there are more."""
        for _ in range(min(_AT_ONCE, len(self._over))):
            self._family(self._over.popleft())
        return bool(self._over)

    def _family(self, family: Family) -> None:
        parent = family.parent
        root = self._span(family.root, self.library.context(trace_id=family.root.trace_id, is_remote=False) if parent is None else parent)
        if parent is None:
            root.set_tag(_KEEP)
        for child in family.children:
            _finish(self._span(child, root), child)
        _finish(root, family.root)

    def _span(self, note: Note, parent: Any) -> Any:
        """Not finished, because a trace goes out when all of it is."""
        span = self.library.tracer.start_span(note.name, child_of=parent, resource=note.resource, span_type=note.kind, activate=False)
        span.span_id, span.start_ns = note.span_id, note.began_ns
        for name, value in note.tags.items():
            if value is not None:
                span.set_tag(name, value)
        return span


def _finish(span: Any, note: Note) -> None:
    if note.error is not None:
        span.error = 1
        span.set_tag("error.type", note.error[0])
        if note.error[1]:
            span.set_tag("error.message", note.error[1])
    span.finish(note.ended_ns / 1e9)


@dataclass(slots=True)
class Born:
    """Ids of what begins here, and the header lines that tell an engine of them. ddtrace is asked once, and only ids change after that.

    So lines have the styles that the operator has chosen (DD_TRACE_PROPAGATION_STYLE), and ids the width, at a tenth of ddtrace's price.
    """

    random_bits: Callable[[int], int]
    pattern: str
    is_wide: bool

    def trace_id(self, began_ns: int) -> int:
        """Begins with the second, as Datadog's do."""
        low = self.random_bits(64)
        return began_ns // 1_000_000_000 << 96 | low if self.is_wide else low

    def span_id(self) -> int:
        return self.random_bits(64) or 1

    def lines(self, trace_id: int, span_id: int) -> bytes:
        return self.pattern.format(trace_id, trace_id >> 64, trace_id & _LOW, span_id).encode("latin-1")


def born(library: Library, random_bits: Callable[[int], int]) -> Born:
    span = library.span(REQUEST)
    span.set_tag(_KEEP)
    lines = header_lines(library, span).decode("latin-1")
    return Born(random_bits, pattern(lines, span.trace_id, span.span_id), span.trace_id > _LOW)


def pattern(lines: str, trace_id: int, span_id: int) -> str:
    """The same lines with a field wherever one of the ids stands, in whole or in half, in either number system."""
    forms = {f"{trace_id:032x}": "{0:032x}"}
    if trace_id > _LOW:
        forms[f"{trace_id >> 64:016x}"] = "{1:016x}"
    forms |= {f"{trace_id & _LOW:016x}": "{2:016x}", str(trace_id & _LOW): "{2}", f"{span_id:016x}": "{3:016x}", str(span_id): "{3}"}
    literal = lines.replace("{", "{{").replace("}", "}}")
    return re.sub("|".join(forms), lambda found: forms[found[0]], literal)


def header_lines(library: Library, of: Any) -> bytes:
    """As ddtrace writes them for a span or a context."""
    fields: dict[str, str] = {}
    library.propagator.inject(of, fields)
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")
