"""A provider as the data plane has it: its far side, its limits, and the attempt that a relay makes there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from router.providers.attempt import RemoteAttempt
from router.providers.limits import Limits
from router.providers.remote import Remote

if TYPE_CHECKING:
    from router.relay import Relay
    from router.replica import Replica


_SAID_AGAIN_S: Final = 60.0


@dataclass(slots=True)
class Link:
    """`Replica.remote` of a provider."""

    remote: Remote
    limits: Limits
    _said_at: float = float("-inf")

    def may_say(self, now: float) -> bool:
        """True once a minute: what is wrong with a row is wrong with every request."""
        if now - self._said_at < _SAID_AGAIN_S:
            return False
        self._said_at = now
        return True

    @property
    def continues(self) -> bool:
        """It can be asked for the rest of a broken stream."""
        return self.remote.provider.continues

    def attempt(self, relay: Relay, replica: Replica, now: float) -> RemoteAttempt:
        return RemoteAttempt(relay, replica, now, self)
