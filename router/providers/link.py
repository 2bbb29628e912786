"""A provider as the data plane has it: its far side and its limits. Attempts at it: router.relay.remote_attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from router.providers.limits import Limits
from router.providers.remote import Remote
from router.providers.shared import Shared

_SAID_AGAIN_S: Final = 60.0


@dataclass(slots=True)
class Link:
    """`Replica.remote` of a provider. `limits`: this process's share; `shared`: of all routers together, None: it has none, or alone."""

    remote: Remote
    limits: Limits
    shared: Shared | None = None
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
