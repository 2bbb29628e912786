"""A replica as this router knows it: its endpoint, what is in flight there, its breaker and its connections.

The mutable side of `snapshot.Endpoint`. It lives as long as Consul reports the endpoint, and then until its last request ends.
One that came while this router watched is fresh: it starts slowly (router.replicas.ramp). Those that were there before are not.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

from fleet.model import Slo
from router.providers.link import Link
from router.replicas import ramp
from router.replicas.breaker import CLEAN, Breaker, Event, State, step
from router.replicas.snapshot import Endpoint
from router.tally import ModelCounts
from router.wire.upstream import Pool


class Replica:
    """`limit`: requests at once while it starts slowly, `ceiling`: ever. `concurrency`: what it is described to carry.

    `seed`: for router.replicas.affinity.
    `move_at`: when what still streams there should be moved, because it is about to be stopped; monotonic seconds.
    `queued`: requests that its engine says wait in it, from whomever they come; 0 where that is not known (router.following.load).
    `remote`: what is different where it is an external provider; None: it is ours.
    """

    __slots__ = (
        "_limit_after",
        "breaker",
        "ceiling",
        "concurrency",
        "counts",
        "endpoint",
        "host_line",
        "in_flight",
        "is_loading",
        "lacks",
        "limit",
        "model",
        "move_at",
        "pool",
        "queued",
        "refused",
        "remote",
        "rest_until",
        "seed",
        "slo",
        "trace",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        slo: Slo,
        counts: ModelCounts,
        clock: Callable[[], float],
        *,
        concurrency: int,
        fresh: bool,
        remote: Link | None = None,
        pool: Pool | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.model = endpoint.model
        self.slo = slo
        self.counts = counts
        self.in_flight = self.queued = 0
        self.concurrency = concurrency
        self.limit = ramp.start(concurrency) if fresh else ramp.NO_LIMIT
        self.ceiling = ramp.NO_LIMIT
        self.rest_until = 0.0
        self.move_at = math.inf
        self.refused = False  # the last connect was refused
        self.is_loading = False  # it listens, and rests until it can answer
        self.lacks: frozenset[bytes] = frozenset()  # paths that it does not have, for which it is asked something else: router.wire.instead
        self._limit_after = self.limit
        self.seed = zlib.crc32(endpoint.alloc_id.encode())
        self.breaker: Breaker = CLEAN
        self.remote = remote
        self.pool = pool if pool is not None else Pool(endpoint.host, endpoint.port, clock)
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

    def grow(self) -> None:
        """It has answered a request while it starts slowly."""
        if not self.rest_until:
            self.limit = min(ramp.grown(self.limit, self.concurrency), self.ceiling)

    def cap(self, most: int) -> None:
        """Never more requests at once than these, however far it has come: its share of its model's max_concurrent."""
        limit = self._limit_after if self.rest_until else self.limit
        limit = most if limit >= self.ceiling else min(limit, most)
        self.ceiling = most
        if self.rest_until:
            self._limit_after = limit
        else:
            self.limit = limit

    def rest(self, until: float) -> None:
        """It has said when to come back (Retry-After): until then it gets nothing new. That is no strike. Monotonic seconds."""
        if not self.rest_until:
            self._limit_after = self.limit
        self.limit, self.rest_until = 0, max(self.rest_until, until)

    def loads(self, until: float) -> None:
        """It listens and has not loaded yet: it gets nothing new until `loaded`, or `until` at the latest. Monotonic seconds."""
        self.is_loading = True
        self.rest(until)

    def loaded(self) -> None:
        """It answers again."""
        if self.is_loading:
            self.wake(math.inf)

    def full(self) -> None:
        """It has answered that it is at its limit: others are preferred until its queue is read the next time. That is no strike."""
        self.queued = max(self.queued, self.concurrency)

    def wake(self, now: float) -> None:
        if 0 < self.rest_until <= now:
            self.limit, self.rest_until, self.is_loading = self._limit_after, 0.0, False


def _host_line(endpoint: Endpoint) -> bytes:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"host: {host}:{endpoint.port}\r\n".encode("ascii", "replace")
