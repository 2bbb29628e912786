"""Whether a person has paused the fleet: a key in Consul, so that a pause outlives any autoscaler and Consul's ACL says who may.

`warmfleet pause` writes it, `warmfleet resume` takes it away, and so do `consul kv put` and `delete`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fleet.consul import Consul
from fleet.state import Pause, decode_pause


class Pauses(Protocol):
    async def read(self) -> Pause | None:
        """None: not paused. Raises: ControlPlaneError."""


@dataclass(frozen=True, slots=True)
class ConsulPauses:
    consul: Consul
    key: str

    async def read(self) -> Pause | None:
        document, index = await self.consul.document(self.key)
        return None if document is None or not index else decode_pause(document)


def told(pause: Pause) -> str:
    return f"paused by {pause.by}: {pause.reason}; `warmfleet resume` ends it"
