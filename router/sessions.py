"""Sessions: the record of one conversation's routing, and the bounded table that holds the recent ones.

Law: the route is fixed when a session starts; what changes is the model it was swapped to and the replica that serves it.
The table forgets the least recently used first, and what was idle for longer than its life. No I/O, no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """`model`: what it was swapped to, empty while the route's first model serves. `home`: allocation id of its replica, or empty.

    `generation` counts changes of model or home, `turns` answered requests.
    """

    selector: int
    model: str = ""
    home: str = ""
    generation: int = 0
    turns: int = 0


def next_turn(session: Session, *, model: str, home: str) -> Session:
    """The session after an answer by `home`, which leaves it swapped to `model` (empty: not swapped)."""
    moved = model != session.model or home != session.home
    return Session(session.selector, model, home, session.generation + moved, session.turns + 1)


def to_fields(session: Session) -> dict[str, str | int]:
    """The Redis hash of a session."""
    return {
        "selector": session.selector,
        "model": session.model,
        "home": session.home,
        "generation": session.generation,
        "turns": session.turns,
    }


def from_fields(fields: Mapping[bytes, bytes]) -> Session | None:
    """None: no session, or one that this version cannot read; it then starts anew."""
    try:
        return Session(
            selector=int(fields[b"selector"]) & 15,
            model=fields.get(b"model", b"").decode(),
            home=fields.get(b"home", b"").decode(),
            generation=int(fields.get(b"generation", 0)),
            turns=int(fields.get(b"turns", 0)),
        )
    except (KeyError, ValueError):
        return None


class SessionTable:
    """The local cache. `size` sessions at most, each for `ttl_s` after its last use."""

    __slots__ = ("_entries", "_size", "_ttl_s")

    def __init__(self, size: int, ttl_s: float) -> None:
        self._entries: OrderedDict[str, tuple[float, Session]] = OrderedDict()
        self._size = size
        self._ttl_s = ttl_s

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, session_id: str, now: float) -> Session | None:
        entry = self._entries.get(session_id)
        if entry is None:
            return None
        if entry[0] < now:
            del self._entries[session_id]
            return None
        return entry[1]

    def put(self, session_id: str, session: Session, now: float) -> None:
        """Remembers it as the most recently used."""
        self._entries[session_id] = (now + self._ttl_s, session)
        self._entries.move_to_end(session_id)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def expire(self, now: float) -> None:
        """Forgets what is over. The order of use is the order of expiry, so it stops at the first that lives."""
        while self._entries:
            session_id, (expires_at, _) = next(iter(self._entries.items()))
            if expires_at >= now:
                return
            del self._entries[session_id]
