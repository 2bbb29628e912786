"""The usage log: one JSON line for every request, whoever asked for it, with what it used and what that cost.

Law: it is written as the access log is (router.records.written), but for everybody: nothing is sampled. What was asked or answered is in
no line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from router.answered import Answered, Outcome
from router.models.prices import NANO
from router.records.rotated import RotatedFile
from router.records.written import Written, to_stdout

OFF: Final = "off"
_STDOUT: Final = "stdout"


class Line(msgspec.Struct, frozen=True):
    """As the line is written. `time`: seconds since the epoch, at the end."""

    time: float
    request_id: str
    tenant: str
    session: str
    route: str
    model: str
    status: int
    outcome: Outcome
    attempts: int
    failed: tuple[str, ...]
    input_tokens: int
    output_tokens: int
    counted: bool
    cost_usd: float
    latency_ms: float
    ttft_ms: float | None
    event: str = "usage"


class UsageLog:
    """A listener of router.records.usage. `where`: "stdout" or the path of a file; `wall`: seconds since the epoch."""

    def __init__(self, where: str, wall: Callable[[], float]) -> None:
        write = to_stdout if where == _STDOUT else RotatedFile(Path(where), wall).write
        self.lines: Written[Answered] = Written("usage log", encoded, write)

    def noted(self, facts: Answered) -> None:
        self.lines.put(facts)


def encoded(facts: Answered) -> bytes:
    line = Line(
        round(facts.time, 3),
        facts.request_id,
        facts.tenant,
        facts.session,
        facts.route,
        facts.model,
        facts.status,
        facts.outcome,
        facts.attempts,
        facts.failed,
        facts.input_tokens,
        facts.output_tokens,
        facts.counted,
        facts.cost_nano / NANO,
        round(facts.latency_s * 1000, 3),
        None if facts.ttft_s is None else round(facts.ttft_s * 1000, 3),
    )
    return msgspec.json.encode(line) + b"\n"
