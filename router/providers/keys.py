"""Keys for providers: the process's environment, and over it what the router's Nomad variable holds now.

Nomad writes the file anew whenever the variable changes, so that a key which a provider needs that was added while routers run, or one
that was replaced, is there without a restart. Only names that end in _API_KEY are read from it. What it holds is in nothing that is said.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
SUFFIX: Final = "_API_KEY"


class Keys(Mapping[str, str]):
    """`file`: with lines NAME="value", the value as JSON; None: there is none."""

    def __init__(self, environment: Mapping[str, str], file: Path | None) -> None:
        self._environment = environment
        self._file = file
        self._now: dict[str, str] = {}
        self.look()

    def look(self) -> bool:
        """Reads the file. True: it says something else than before. One that is not there, or cannot be read, changes nothing."""
        try:
            text = self._file.read_text("utf-8") if self._file is not None else ""
        except (OSError, UnicodeDecodeError):
            return False
        before, self._now = self._now, dict(_lines(text))
        return before != self._now

    async def follow_forever(self, changed: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self.look():
                log.info("keys for providers have changed", extra={"event": "provider_keys_changed"})
                changed()

    def __getitem__(self, name: str) -> str:
        return self._now[name] if name in self._now else self._environment[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._environment, **self._now})

    def __len__(self) -> int:
        return len({*self._environment, *self._now})

    def __repr__(self) -> str:
        return "Keys()"


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if not name.endswith(SUFFIX):
            continue
        try:
            yield name, msgspec.json.decode(value, type=str)
        except msgspec.MsgspecError:
            continue
