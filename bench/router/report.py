"""The results as tables for people and as JSON for later. Pure but for printing."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from bench.router import results
from bench.router.results import Reading, Spread, Verdict

_Spreads = Mapping[tuple[str, str], Spread]


def main_table(readings: Sequence[Reading], proxies: Sequence[str], peers: Sequence[str]) -> Table:
    """CPU, ratios and memory, one row per proxy."""
    of = results.spreads(readings)
    titles = ("JSON", "x lower peer", "stream of 50", "x lower peer", "kB/open stream", "JSON/s", "streams/s")
    table = _table(
        "CPU of the proxy's processes, microseconds: median (least to most of the rounds); ratios: of the medians (of single rounds)",
        titles,
    )
    for proxy in proxies:
        costs = [cell for s in (results.JSON, results.STREAM) for cell in (_spread(of, proxy, s), _ratio(readings, proxy, s, peers))]
        rest = [_number(of, proxy, results.MEMORY, 1000, ".1f"), *(_number(of, proxy, s) for s in _RATES)]
        table.add_row(proxy, *costs, *rest)
    return table


_RATES = (results.JSON_PER_S, results.STREAMS_PER_S)


def curve_table(readings: Sequence[Reading], proxies: Sequence[str]) -> Table:
    of = results.spreads(readings)
    titles = [f"{streams:,} open" for streams in results.CURVE]
    table = _table("CPU of a stream of 50 events, by the number of streams open, microseconds", titles)
    for proxy in proxies:
        if any((proxy, results.curve(n)) in of for n in results.CURVE):
            table.add_row(proxy, *(_number(of, proxy, results.curve(n)) for n in results.CURVE))
    return table


def growth_table(readings: Sequence[Reading]) -> Table:
    """What replicas and sessions cost a request, and what replicas cost a peer: caches are finite for everybody."""
    of = results.spreads(readings)
    subjects = [s for s in (*map(results.replicas, results.REPLICAS), results.SESSIONS) if (results.OURS, s) in of]
    titles = [f"{int(count):,} {name}" for name, _, count in (subject.partition(" ") for subject in subjects)]
    table = _table("CPU of a JSON request, microseconds: median of the rounds (median of their ratios to the first column)", titles)
    for proxy in dict.fromkeys(reading.proxy for reading in readings if reading.subject in subjects):
        table.add_row(proxy, *(_grown(of, readings, proxy, subject) for subject in subjects))
    return table


def _grown(of: _Spreads, readings: Sequence[Reading], proxy: str, subject: str) -> str:
    ratio = results.grown(readings, proxy, subject)
    return "-" if ratio is None else f"{_number(of, proxy, subject)} ({ratio:.2f})"


def document(readings: Sequence[Reading], verdicts: Sequence[Verdict], *, at: str, versions: Mapping[str, str], load: float) -> str:
    """The run as JSON. `load`: the machine's load average at the start."""
    held: list[dict[str, Any]] = [{**asdict(v), "met": v.is_met} for v in verdicts]
    machine = {"python": platform.python_version(), "system": platform.platform(), "processor": platform.machine(), "load": load}
    whole = {"at": at, "machine": machine, "versions": dict(versions), "bars": held, "readings": [asdict(r) for r in readings]}
    return json.dumps(whole, indent=1) + "\n"


def _table(title: str, titles: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    table.add_column("proxy", no_wrap=True)
    for name in titles:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _spread(of: _Spreads, proxy: str, subject: str) -> str:
    found = of.get((proxy, subject))
    if found is None:
        return "-"
    return f"{found.median:.0f}" if found.low == found.high else f"{found.median:.0f} ({found.low:.0f} to {found.high:.0f})"


def _ratio(readings: Sequence[Reading], proxy: str, subject: str, peers: Sequence[str]) -> str:
    """Of the medians, with those of the single rounds behind it."""
    whole = results.ratio(results.spreads(readings), proxy, subject, peers)
    rounds = results.per_round(readings, proxy, subject, peers)
    if whole is None or rounds is None:
        return "-"
    return f"{whole:.2f}" if rounds.low == rounds.high else f"{whole:.2f} ({rounds.low:.2f} to {rounds.high:.2f})"


def _number(of: _Spreads, proxy: str, subject: str, unit: float = 1, form: str = ".0f") -> str:
    found = of.get((proxy, subject))
    return f"{found.median / unit:{form}}" if found else "-"
