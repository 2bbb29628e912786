"""What one leading autoscaler leaves to the next, as bytes in Consul: rules over several models, and forecasters' weeks of demand.

A value larger than Consul takes is stored in pieces, in one of two slots by turns, and its head is written last: who reads sees the
old value or the new one, and never half of each. Only the leader writes (fence). Says nothing about what the bytes mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from fleet.consul import Consul, Fence
from fleet.errors import Conflict
from fleet.names import Names

_MOST_PIECES = 256
_PIECE_BYTES = 128 * 1024  # Consul takes 512 kB a request; base64 and a fence go on top


class Memories(Protocol):
    async def read(self, part: str) -> bytes | None:
        """None: nothing was left, or not all of it is there. Raises: ControlPlaneError."""

    async def write(self, part: str, value: bytes) -> None:
        """Raises: ControlPlaneError; Conflict: this one no longer leads, or somebody else writes too."""


class _Head(msgspec.Struct):
    slot: int = 1
    pieces: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ConsulMemories:
    consul: Consul
    names: Names
    fence: Callable[[], Fence]

    async def read(self, part: str) -> bytes | None:
        head, _ = await self._head(part)
        pieces = [(await self.consul.document(self._piece(part, head.slot, n)))[0] or b"" for n in range(head.pieces)]
        value = b"".join(pieces)
        return value if head.pieces and _digest(value) == head.digest else None

    async def write(self, part: str, value: bytes) -> None:
        head, index = await self._head(part)
        pieces = [value[at : at + _PIECE_BYTES] for at in range(0, max(1, len(value)), _PIECE_BYTES)]
        slot = 1 - head.slot
        for number, piece in enumerate(pieces):
            key = self._piece(part, slot, number)
            await self._put(key, piece, (await self.consul.document(key))[1])
        await self._put(self.names.memory(part), msgspec.json.encode(_Head(slot, len(pieces), _digest(value))), index)

    async def _head(self, part: str) -> tuple[_Head, int]:
        document, index = await self.consul.document(self.names.memory(part))
        try:
            head = msgspec.json.decode(document, type=_Head) if document else _Head()
            return (head if head.slot in (0, 1) and 0 <= head.pieces <= _MOST_PIECES else _Head()), index
        except msgspec.MsgspecError:
            return _Head(), index  # another version's; the next write replaces it

    async def _put(self, key: str, value: bytes, index: int) -> None:
        if not await self.consul.put(key, value, index=index, fence=self.fence()):
            raise Conflict(f"{key} in Consul was not written: another autoscaler leads this fleet, or writes there")

    def _piece(self, part: str, slot: int, number: int) -> str:
        return f"{self.names.memory(part)}/{slot}/{number}"


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
