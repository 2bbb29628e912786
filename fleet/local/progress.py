"""What a person sees while the local chain comes up: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fleet.local.stack import Progress
from fleet.local.status import Part

_HEAD = ("part", "job", "wanted", "running", "passing", "failed")


class Lines:
    """One line per step, and one whenever the parts have changed."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = ""

    def say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self._began:5.1f} s  {text}")

    def show(self, parts: Sequence[Part]) -> None:
        line = ", ".join(f"{p.name} {p.passing}/{p.desired}" + (f" ({p.failed} failed)" if p.failed else "") for p in parts)
        if line != self._last:
            self.say(f"passing: {line}")
            self._last = line


class Screen:
    """The steps so far, and the table of parts below them, redrawn in place."""

    def __init__(self, live: Live) -> None:
        self._began = time.monotonic()
        self._live = live
        self._steps: list[str] = []
        self._parts: Sequence[Part] = ()

    def say(self, text: str) -> None:
        self._steps.append(f"{time.monotonic() - self._began:5.1f} s  {text}")
        self._draw()

    def show(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._draw()

    def _draw(self) -> None:
        steps = [Text(step) for step in self._steps]
        self._live.update(Group(*steps, table(self._parts)) if self._parts else Group(*steps), refresh=True)


def table(parts: Sequence[Part]) -> Table:
    drawn = Table(*_HEAD, box=None, pad_edge=False)
    for p in parts:
        colour = "green" if p.is_complete else "red" if p.failed else "yellow"
        cells = (p.name, p.status, *map(str, (p.desired, p.running, p.passing, p.failed)))
        drawn.add_row(*(Text(cell, style=colour) for cell in cells))
    return drawn


@contextmanager
def progress() -> Iterator[Progress]:
    """The kind that suits where the output goes."""
    console = Console()
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, auto_refresh=False) as live:
        yield Screen(live)
