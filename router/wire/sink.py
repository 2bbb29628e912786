"""The port through which an answer leaves a relay: a caller's connection, or somebody in this process who asked."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Takes HTTP/1.1 bytes. `keep_alive`: another request may follow. `chunks`: it understands chunked bodies."""

    keep_alive: bool
    chunks: bool

    @property
    def peer(self) -> str:
        """The address that the request came from; empty: this process."""

    def write(self, data: bytes, /) -> None:
        """Raises: RuntimeError: it is closed."""

    def finished(self) -> None:
        """The answer is whole; nothing more is written."""

    def cut(self) -> None:
        """The answer cannot be completed; nothing more is written."""
