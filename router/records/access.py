"""The access log: one JSON line per answered request, written beside the requests and never by one.

Law: a request adds a tuple to a queue and is done; router.records.written makes lines of it. What was asked or answered is in no line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from fleet import metrics
from fleet.model import Router as Limits
from fleet.recorder import Recorder
from router.errors import CALLER_LEFT
from router.records.facts import Facts, Ids
from router.records.written import Written, pieces, to_stdout
from router.wire import events

_LONGEST_ID: Final = 128


class Line(msgspec.Struct, frozen=True):
    """`time`: seconds since the epoch, at the end. `tried`: allocations that were left, in order. Times in milliseconds."""

    time: float
    request_id: str
    session: bool
    selector: int | None
    route: str
    model: str
    replica: str | None
    attempts: int
    reason: str
    tried: tuple[str, ...]
    resumes: int
    status: int
    ttft_ms: float | None
    latency_ms: float
    input_tokens: int | None
    output_tokens: int | None
    held_ms: float
    caller_left: bool
    event: str = "access"
    level: str = "info"
    trace_id: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="dd.trace_id")
    span_id: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="dd.span_id")


def share(limits: Limits) -> float:
    """Of the requests, how many are written."""
    return {"off": 0.0, "sampled": limits.access_log_rate, "all": 1.0}[limits.access_log]


Note = tuple[float, bytes, bool, int | None, str, str, str | None, int, str, tuple[str, ...], int, int, float | None, float]
_Noted: TypeAlias = "tuple[Note, events.Usage | None, float, Ids | None]"


class AccessLog:
    """`rate`: the share of the requests that is written; 0: none. A line's bytes are counted for its model."""

    def __init__(
        self,
        recorder: Recorder,
        wall: Callable[[], float],
        random: Callable[[], float],
        write: Callable[[bytes], object] | None = None,
    ) -> None:
        self.rate = 0.0
        self.lines: Written[_Noted] = Written("access log", self._line, _in_pieces(write) if write is not None else to_stdout)
        self._recorder = recorder
        self._wall = wall
        self._random = random

    def note(self, relay: Facts, tags: tuple[str, str], status: int, took_s: float) -> None:
        """A request has been answered."""
        if self.rate < 1 and self._random() >= self.rate:
            return
        model, route = tags
        at, plan = relay.at(), relay.plan
        replica = at.endpoint.alloc_id if at is not None else None
        tried = tuple(replica.endpoint.alloc_id for replica in relay.tried)
        selector = plan.selector if plan is not None else None
        note = (self._wall(), relay.request_id, relay.session is not None, selector, route, model, replica)
        more = (relay.attempts, relay.reason, tried, relay.resumes, status, relay.ttft_s, took_s)
        self.lines.put(((*note, *more), relay.usage, relay.held_s, relay.ids))

    def _line(self, noted: _Noted) -> bytes:
        note, usage, held_s, ids = noted
        at, request_id, in_session, selector, route, model, replica, attempts, reason, tried, resumes, status, ttft_s, took_s = note
        line = Line(
            time=round(at, 3),
            request_id=request_id[:_LONGEST_ID].decode("latin-1"),
            session=in_session,
            selector=selector,
            route=route,
            model=model,
            replica=replica,
            attempts=attempts,
            reason=reason,
            tried=tried,
            resumes=resumes,
            status=status,
            ttft_ms=None if ttft_s is None else round(ttft_s * 1000, 3),
            latency_ms=round(took_s * 1000, 3),
            input_tokens=usage.prompt_tokens if usage is not None else None,
            output_tokens=usage.completion_tokens if usage is not None else None,
            held_ms=round(held_s * 1000, 3),
            caller_left=status == CALLER_LEFT,
            trace_id=ids.trace if ids is not None else msgspec.UNSET,
            span_id=ids.span if ids is not None else msgspec.UNSET,
        )
        text = msgspec.json.encode(line) + b"\n"
        self._recorder.count(metrics.LOG_BYTES, model, by=len(text))
        return text


def _in_pieces(write: Callable[[bytes], object]) -> Callable[[list[bytes]], None]:
    def write_all(lines: list[bytes]) -> None:
        for piece in pieces(lines):
            write(piece)

    return write_all
