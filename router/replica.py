"""A replica as this router knows it: its endpoint, what is in flight there, its breaker and its connections.

The mutable side of `snapshot.Endpoint`. It lives as long as Consul reports the endpoint, and then until its last request ends.
"""

from __future__ import annotations

from collections.abc import Callable

from fleet.model import Slo
from router.breaker import CLEAN, Breaker, Event, State, step
from router.snapshot import Endpoint
from router.tally import ModelCounts
from router.upstream import Pool


class Replica:
    __slots__ = ("breaker", "counts", "endpoint", "host_line", "in_flight", "model", "pool", "slo", "trace")

    def __init__(self, endpoint: Endpoint, slo: Slo, counts: ModelCounts, clock: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self.model = endpoint.model
        self.slo = slo
        self.counts = counts
        self.in_flight = 0
        self.breaker: Breaker = CLEAN
        self.pool = Pool(endpoint.host, endpoint.port, clock)
        self.host_line = _host_line(endpoint)
        self.trace = f"model={endpoint.model}; replica={endpoint.alloc_id[:8]}".encode()

    def report(self, event: Event, now: float) -> None:
        """Tells the breaker how a request went; a success on a clean breaker costs nothing."""
        if event is Event.SUCCESS and self.breaker is CLEAN:
            return
        before = self.breaker.state
        self.breaker = step(self.breaker, event, now)
        if self.breaker.state is State.OPEN and before is not State.OPEN:
            self.counts.ejections += event is not Event.PROBE_LEFT


def _host_line(endpoint: Endpoint) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"host: {host}:{endpoint.port}\r\n".encode("ascii", "replace")
