"""The published state of each model in Consul KV: read when a term begins, written with check-and-set behind the leader's fence.

One writer is expected. Where somebody else wrote in between, the index is read once more and the write repeated once: the newest
state of the leader is the right one. A second loss is left to the next pass. Says nothing about when to write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fleet.consul import Consul, Fence
from fleet.errors import Conflict
from fleet.names import Names
from fleet.state import ModelState, decode, encode


class States(Protocol):
    async def read(self, model: str) -> ModelState | None:
        """None: nothing was published that this version can read. Raises: ControlPlaneError."""

    async def publish(self, state: ModelState) -> None:
        """Raises: ControlPlaneError; Conflict: somebody else writes the same document."""


@dataclass(frozen=True, slots=True)
class ConsulStates:
    consul: Consul
    names: Names
    fence: Callable[[], Fence]

    async def read(self, model: str) -> ModelState | None:
        document, _ = await self.consul.document(self.names.model_state(model))
        try:
            return None if document is None else decode(document)
        except ValueError:
            return None  # another version's document is overwritten by the next publish

    async def publish(self, state: ModelState) -> None:
        key = self.names.model_state(state.model)
        for _ in range(2):
            _, index = await self.consul.document(key)
            if await self.consul.put(key, encode(state), index=index, fence=self.fence()):
                return
        raise Conflict(f"{key} in Consul was not written: another autoscaler leads this fleet, or writes there")
