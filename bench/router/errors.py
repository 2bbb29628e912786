"""What can keep a benchmark from measuring. A bar that is missed is a result, not an error."""

from __future__ import annotations

from fleet.errors import WarmfleetError


class BenchError(WarmfleetError):
    """The message says what is missing or went wrong, and what to do."""
