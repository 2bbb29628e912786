"""A provider as the data plane has it: its far side, its limits, and the attempt that a relay makes there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.providers.attempt import RemoteAttempt
from router.providers.limits import Limits
from router.providers.remote import Remote

if TYPE_CHECKING:
    from router.relay import Relay
    from router.replica import Replica


@dataclass(frozen=True, slots=True)
class Link:
    """`Replica.remote` of a provider."""

    remote: Remote
    limits: Limits

    @property
    def continues(self) -> bool:
        """It can be asked for the rest of a broken stream."""
        return self.remote.provider.continues

    def attempt(self, relay: Relay, replica: Replica, now: float) -> RemoteAttempt:
        return RemoteAttempt(relay, replica, now, self)
