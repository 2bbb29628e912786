"""Keys, or a question, that Datadog refuses (HTTP 4xx): a mistake of ours and no outage.

    refused for         Datadog is
    less than 15 min    not knowing, as in an outage: nothing is scaled in; long enough to exchange a key
    longer              left out, until it answers again: the other sources decide alone, and every decision says so

An outage ends by itself, and what Datadog would have known is missing until then. A refusal says nothing of the demand and lasts until
somebody comes: to hold every replica for it would be to pay for GPUs by the day, for a source that a fleet without keys does without.
A rule on a signal that only Datadog knows still holds its model. One answer ends it; errors of other kinds neither count nor end it. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscaler.datadog.errors import DatadogError, NotAllowed

PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """`since`: the first one since the last answer, seconds since the epoch. `why`: of the newest error if that is a refusal, or empty."""

    since: float = math.inf
    why: str = ""

    def after(self, error: DatadogError, now: float) -> Refusal:
        return Refusal(min(self.since, now), str(error)) if isinstance(error, NotAllowed) else Refusal(self.since)

    def lasts(self, now: float) -> bool:
        return bool(self.why) and now - self.since >= PATIENCE_S

    def told(self, now: float) -> str:
        """A clause of a sentence, or empty."""
        if not self.lasts(now):
            return ""
        return f"Datadog is left out, {(now - self.since) / 60:.0f} min after it began to refuse: {self.why}"


ANSWERED = Refusal()
