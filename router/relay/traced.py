"""A relay that is traced: its request is one span, each of its attempts a child of it, and the engine is told of that one.

Law: whether a request is traced is decided once, when its body is here. Where nobody traces that costs a look at an attribute; where
somebody does, a request that is not chosen costs a throw of dice. Trace headers of a caller go on unchanged unless a span of ours takes
their place, and none goes to a provider. What is told are facts of routing, never what was asked or answered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from router.errors import RouterError
from router.relay.relay import Relay
from router.replicas.breaker import Event

if TYPE_CHECKING:
    from router.plane import DataPlane
    from router.records.spans import Span, Step
    from router.relay.attempt import Attempt
    from router.relay.stream import EventStream
    from router.replicas.replica import Replica
    from router.replicas.select import Choice
    from router.wire.dialects import Dialect
    from router.wire.head import RequestHead
    from router.wire.sink import Sink

_TRACE_LINES: Final = re.compile(rb"\n(?:trace(?:parent|state)|x-datadog-[a-z-]+): [^\r\n]*\r(?=\n)", re.IGNORECASE)


def make(  # noqa: PLR0917 - as the relay's own
    plane: DataPlane, sink: Sink, path: bytes, dialect: Dialect, head: RequestHead, body: bytes
) -> Relay:
    """A relay where there is a tracer: one that is traced, or an ordinary one."""
    span = plane.traces.start(path, head) if plane.traces is not None else None
    if span is None:
        return Relay(plane, sink, path, dialect, head, body)
    return following(span, plane, sink, path, dialect, head, body)


def following(  # noqa: PLR0917 - as the relay's own
    span: Span, plane: DataPlane, sink: Sink, path: bytes, dialect: Dialect, head: RequestHead, body: bytes
) -> TracedRelay:
    made = TracedRelay(plane, sink, path, dialect, head, body)
    made.follow(span)
    return made


class TracedRelay(Relay):
    __slots__ = ("_span", "_steps")

    _span: Span
    _steps: dict[Replica, Step]

    def follow(self, span: Span) -> None:
        """Tells this span everything from now on. `_steps`: attempts under way, one, or two while one is hedged."""
        self._span, self._steps, self.ids = span, {}, span.ids

    def try_at(self, choice: Choice[Replica], now: float) -> None:
        self._step(choice.replica)
        super().try_at(choice, now)

    def message(self, replica: Replica) -> tuple[bytes, bytes]:
        head, body = super().message(replica)
        return b"%b%b\r\n" % (_TRACE_LINES.sub(b"", head)[:-2], self._step(replica).lines()), body

    def failed(self, attempt: Attempt, error: RouterError, why: str, event: Event | None) -> None:
        self._left(attempt.replica, why)
        super().failed(attempt, error, why, event)

    def resume_elsewhere(self, stream: EventStream, why: str, reason: str, event: Event | None) -> bool:
        if self.attempt is not None:
            self._left(self.attempt.replica, reason)
        return super().resume_elsewhere(stream, why, reason, event)

    def finish(self, status: int, event: Event | None = Event.SUCCESS) -> None:
        if not self.done:
            answered = self.attempt.replica if self.attempt is not None and status < 499 else None
            for replica, step in self._steps.items():
                step.end("" if replica is answered else "left")
            self._steps.clear()
            self._span.end(self, status)
        super().finish(status, event)

    def _step(self, replica: Replica) -> Step:
        if replica not in self._steps:
            self._steps[replica] = self._span.step(replica)
        return self._steps[replica]

    def _left(self, replica: Replica, why: str) -> None:
        if (step := self._steps.pop(replica, None)) is not None:
            step.end(why)
