"""Errors of the simulator.

WarmfleetError
├── MalformedTrace         the caller's: the file is not a trace; says line and column
├── NoPicture              the caller's: a picture of that kind cannot be made
└── NoHistory              the caller's or Datadog's: nothing that can be replayed came back
"""

from __future__ import annotations

from fleet.errors import WarmfleetError


class MalformedTrace(WarmfleetError):
    pass


class NoPicture(WarmfleetError):
    pass


class NoHistory(WarmfleetError):
    pass
