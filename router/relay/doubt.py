"""Whose fault an engine's error is: the replica's only once the same request has gone well somewhere else.

    the attempt ended with        its breaker is told
    an error of the engine *      nothing yet; a failure as soon as another place answers the same request
    anything else                 at once, as ever

* HTTP 5xx, an error event before any content, or silence until the clock of the first token ran out.

Law: engines answer some requests of a careless or hostile caller with an error of their own, and some prompts take longer than anybody
may wait. If that were a strike, three such requests would take every replica from everybody for a minute. What fails everywhere accuses
itself. A probe speaks at once: it was let through to be judged. A provider has a table of its own. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.replicas.breaker import Event
from router.replicas.replica import Replica

_DOUBTFUL: Final = ("status", "error_event", "first_token")


def judged(event: Event | None, why: str, replica: Replica, *, probe: bool) -> Event | None:
    """What the breaker is told now of an attempt that failed."""
    is_doubtful = event is Event.FAILURE and why in _DOUBTFUL and replica.remote is None and not probe
    return None if is_doubtful else event


def proven(tried: Sequence[Replica], moves: str) -> list[Replica]:
    """Who is at fault after all, now that another place has answered.

    `moves`: the cause of each try, parted by commas, in order; of all, where `tried` are only the last ones.
    """
    causes = moves.split(",")[-len(tried) :]
    return [replica for replica, why in zip(tried, causes, strict=True) if why in _DOUBTFUL and replica.remote is None]
