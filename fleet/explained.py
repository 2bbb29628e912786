"""What an autoscaler answers to /explain/{model}, as text for people; and the little that Consul knows where none answers.

Pure: documents in, text out. The answer is another program's, of this version or a neighbouring one: what is not there is left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from fleet.state import ModelState

_WIDTH = 110


def explained(answer: Mapping[str, Any], *, asked: str, last: int) -> str:
    """`asked` is the autoscaler's address; `last`: so many decisions, the newest at the end."""
    role = "leads" if answer.get("leads") else "stands by"
    head = [f"{answer['model']}, as decided by the autoscaler at {asked}, which {role}"]
    paused = [str(answer["paused"])] if answer.get("paused") else []
    decisions = ["\n".join(_decision(row)) for row in answer["decisions"][-last:]]
    return "\n\n".join(["\n".join(head + paused), *decisions])


def published(state: ModelState, *, now: float) -> str:
    """`now`: seconds since the epoch."""
    counts = f"desired {state.desired}, placed {state.placed}, ready {state.ready}, level {state.level}"
    age_s = max(0.0, now - state.updated_at)
    return (
        f"{state.model}: no autoscaler answers; this is what one left in Consul {age_s:.0f} s ago\n\n"
        f"{_time(state.updated_at)}  {state.reason}\n    capacity  {counts}"
    )


def _decision(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_time(row['at'])}  {row['sentence']}"
    told = {
        "done": str(row.get("done") or ""),
        "capacity": _pairs(row.get("capacity") or {}),
        "signals": "; ".join(f"{name} {_signal(signal)}" for name, signal in (row.get("signals") or {}).items()),
        "votes": "; ".join(f"{vote['wanted']}: {vote['why']}" for vote in row.get("votes") or ()),
        "forecast": _forecast(row.get("forecast") or {}),
        "clamps": ", ".join(row.get("clamps") or ()),
        "level": str(row.get("level") or ""),
    }
    yield from (_wrapped(f"    {name:<9} {text}") for name, text in told.items() if text)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent=" " * 14, break_long_words=False, break_on_hyphens=False)


def _signal(signal: Mapping[str, Any]) -> str:
    """A value's age is told from half a second on: usually all were read a moment before the decision."""
    if "unknown" in signal:
        return f"unknown ({signal['unknown']})"
    known = f"{signal['value']:g}" + (f", {signal['age_s']:g} s old" if signal["age_s"] >= 0.5 else "")
    return f"{known}, in part ({signal['partial']})" if "partial" in signal else known


def _forecast(made: Mapping[str, Any]) -> str:
    return f"{made['low']} to {made['high']}, asks for {made['desired']}: {made['reason']}" if "desired" in made else ""


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(sep=" ", timespec="seconds")
