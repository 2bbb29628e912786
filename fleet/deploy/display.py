"""What a person sees while a deployment goes on: steps that stay, and below them the replicas as they are, redrawn in place.

Where the output is no terminal: one line per step, and one whenever the replicas have changed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """One replica. `colour` is one of rich's."""

    replica: str
    node: str
    version: int
    state: str
    colour: str


class Display(Protocol):
    def say(self, text: str) -> None:
        """A step; it stays."""

    def show(self, title: str, rows: Sequence[Row]) -> None:
        """How it stands now; the next one replaces it."""


class Lines:
    """For logs and pipes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = ""

    def say(self, text: str) -> None:
        click.echo(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def show(self, title: str, rows: Sequence[Row]) -> None:
        line = f"{title}: {', '.join(f'{row.replica} v{row.version} {row.state}' for row in rows)}" if rows else title
        if line != self._last:
            self.say(line)
            self._last = line


class Screen:
    """For a terminal."""

    def __init__(self, live: Live) -> None:
        self._began = time.monotonic()
        self._live = live

    def say(self, text: str) -> None:
        self._live.console.print(Text(f"{time.monotonic() - self._began:6.1f} s  {text}"))

    def show(self, title: str, rows: Sequence[Row]) -> None:
        table = Table("replica", "node", "version", "state", title=Text(title), title_justify="left", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(cell, style=row.colour) for cell in (row.replica, row.node, str(row.version), row.state)))
        self._live.update(table, refresh=True)


@contextmanager
def display() -> Iterator[Display]:
    """The kind that suits where the output goes. Meanwhile SIGTERM, which a cancelled pipeline sends, is what Ctrl-C is to a person."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _kind() as shown:
            yield shown
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _kind() -> Iterator[Display]:
    console = Console()
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield Screen(live)
