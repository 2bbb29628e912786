"""Errors of the forecaster.

WarmfleetError
└── UnreadableMemory       ours: saved bytes of another version, or damaged; go on with an empty memory
"""

from __future__ import annotations

from fleet.errors import WarmfleetError


class UnreadableMemory(WarmfleetError):
    pass
