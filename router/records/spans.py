"""The port through which a relay tells a tracer of itself. `router.records.tracing` has ddtrace behind it; without one nobody is told."""

from __future__ import annotations

from typing import Protocol

from router.records.facts import Facts, Ids
from router.replicas.replica import Replica
from router.wire.head import RequestHead


class Step(Protocol):
    """The span of one attempt."""

    def lines(self) -> bytes:
        """Header lines for the engine, so that its spans are children of this one."""

    def end(self, why: str) -> None:
        """`why` it was left; empty: it answered. Once."""


class Span(Protocol):
    """The span of one request."""

    ids: Ids

    def step(self, replica: Replica) -> Step: ...

    def end(self, facts: Facts, status: int) -> None:
        """With what is known of the request. Once, after its steps."""


class Traces(Protocol):
    def start(self, path: bytes, head: RequestHead) -> Span | None:
        """The span of a request whose body is here; None: it is not traced."""

    def inside(self) -> bytes:
        """Trace headers of the span in which the running code is, as lines; empty: of none."""
