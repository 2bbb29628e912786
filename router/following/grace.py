"""What is believed of a Consul that comes back without what it knew: an agent restarted empty, a server restored or wiped.

    named before, and now not, by an answer whose index went backwards     kept for GRACE_S, or until it is named again
    the same, by the first answer after a silence that names nobody at all  kept too
    every other absence                                                     gone, as Consul says

Law: a wiped register is no news about the replicas. One that really went away meanwhile refuses connections, and its breaker ejects
it. Pure: time is an argument.
"""

from __future__ import annotations

from router.replicas.snapshot import Endpoint, Snapshot

GRACE_S = 60.0


class Grace:
    """Sees every answer in turn. `since`: when endpoints began to be kept, None while none is; monotonic seconds."""

    def __init__(self) -> None:
        self.since: float | None = None
        self._last = Snapshot()
        self._kept: dict[str, Endpoint] = {}
        self._was_lost = False

    def lost(self) -> None:
        """Consul did not answer."""
        self._was_lost = True

    def seen(self, answer: Snapshot, now: float) -> Snapshot:
        """The snapshot to go by after an answer."""
        is_wiped = answer.index < self._last.index or (self._was_lost and not answer.endpoints)
        self._was_lost = False
        if is_wiped:
            self._kept |= {endpoint.service_id: endpoint for endpoint in self._last.endpoints}
            self.since = now
        self._last = answer
        for endpoint in answer.endpoints:
            self._kept.pop(endpoint.service_id, None)
        if not self._kept:
            self.since = None
        return self._whole()

    def expired(self, now: float) -> Snapshot | None:
        """The snapshot to go by when the grace is over, None while it is not."""
        if self.since is None or now - self.since < GRACE_S:
            return None
        self._kept.clear()
        self.since = None
        return self._whole()

    def _whole(self) -> Snapshot:
        together = (*self._last.endpoints, *self._kept.values())
        return Snapshot(self._last.index, tuple(sorted(together, key=lambda endpoint: endpoint.service_id)))
