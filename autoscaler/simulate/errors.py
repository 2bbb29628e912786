"""Errors of the simulator.

WarmfleetError
└── MalformedTrace         the caller's: the file is not a trace; says line and column
"""

from __future__ import annotations

from fleet.errors import WarmfleetError


class MalformedTrace(WarmfleetError):
    pass
