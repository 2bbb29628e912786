"""Sessions: the record of one conversation's routing, and the bounded table that holds the recent ones.

Law: the route is fixed when a session starts; what changes is the model it was swapped to and the replica that serves it.
A later generation wins, wherever it comes from; of one generation, what the store had first. The table forgets what was idle for longer
than its life, and where it is full, the least recently used session of whoever has the most. No I/O, no clock.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from router.sessions.owners import Owners


@dataclass(frozen=True, slots=True)
class Session:
    """`model`: what it was swapped to, empty while the route's first model serves. `home`: allocation id of its replica, or empty.

    `generation` counts changes of model or home, `turns` answered requests. `swapped_at`: when `model` last changed, seconds since the
    epoch. `pinned`: the caller asked for `model`, so it does not go back to the route's first one. `tenant`: whose it is; empty: nobody's.
    """

    selector: int
    model: str = ""
    home: str = ""
    generation: int = 0
    turns: int = 0
    swapped_at: float = 0.0
    pinned: bool = False
    tenant: str = ""


def next_turn(session: Session, *, model: str, home: str, wall: Callable[[], float], turns: int = 1) -> Session:
    """The session after an answer by `home`, which leaves it swapped to `model` (empty: not swapped). `turns`: with this one."""
    if model != session.model:
        session = replace(session, swapped_at=wall(), pinned=False)
    moved = model != session.model or home != session.home
    generation = session.generation + moved
    return Session(session.selector, model, home, generation, session.turns + turns, session.swapped_at, session.pinned, session.tenant)


def may_return(session: Session, *, warm_since: float | None, now: float, wall: float, after_s: float) -> bool:
    """A swapped session goes back to its route's first model: that has been warm for a while, and the swap is as long ago.

    `warm_since` and `now` are monotonic seconds, `wall` is seconds since the epoch; `warm_since` None: the first model is not warm.
    """
    if session.pinned or warm_since is None:
        return False
    return now - warm_since >= after_s and wall - session.swapped_at >= after_s


def agreed(here: Session, stored: Session) -> Session:
    """Which of two versions of a session holds: the later generation; within one, what the store had first."""
    if here.generation != stored.generation:
        return here if here.generation > stored.generation else stored
    return here if (here.model, here.home) == (stored.model, stored.home) else stored


def to_fields(session: Session) -> dict[str, str | int | float]:
    """The Redis hash of a session."""
    return {
        "selector": session.selector,
        "model": session.model,
        "home": session.home,
        "generation": session.generation,
        "turns": session.turns,
        "swapped_at": session.swapped_at,
        "pinned": int(session.pinned),
        "tenant": session.tenant,
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
            swapped_at=float(fields.get(b"swapped_at", 0.0)),
            pinned=fields.get(b"pinned") == b"1",
            tenant=fields.get(b"tenant", b"").decode(),
        )
    except (KeyError, ValueError):
        return None


class _Entry:
    """`turns`: those since `kept_at`, which `session` does not count yet."""

    __slots__ = ("kept_at", "owner", "session", "turns")

    def __init__(self, kept_at: float, session: Session, owner: Hashable) -> None:
        self.kept_at = kept_at
        self.session = session
        self.owner = owner
        self.turns = 0


_NEWS_S: Final = 5.0


class SessionTable:
    """The local cache. `size` sessions at most, each for `ttl_s` after its last use.

    A use within 5 s of one that was noted (or a thousandth of `ttl_s`) is no news: only the turn is counted.
    """

    __slots__ = ("_anew_at", "_entries", "_news_s", "_owners", "_size", "_ttl_s", "by_model")

    def __init__(self, size: int, ttl_s: float) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._owners = Owners()
        self._size = size
        self._ttl_s = ttl_s
        self._news_s = min(_NEWS_S, ttl_s / 1000)
        self._anew_at = -math.inf
        self.by_model: dict[tuple[int, str], int] = {}
        """How many there are by selector and `Session.model`. A pair that was there once stays, at 0."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, session_id: str, now: float) -> Session | None:
        entry = self._entries.get(session_id)
        if entry is None:
            return None
        if entry.kept_at + self._ttl_s < now:
            self.forget(session_id)
            return None
        return entry.session

    def count(self, session_id: str, session: Session, now: float) -> bool:
        """One more turn of a session that is as it was. False: it is to be `put`, and to be written where it outlives this process."""
        entry = self._entries.get(session_id)
        if entry is None or entry.session is not session or now - entry.kept_at > self._news_s or entry.kept_at < self._anew_at:
            return False
        entry.turns += 1
        return True

    def turns(self, session_id: str) -> int:
        """Those that the session does not count yet."""
        entry = self._entries.get(session_id)
        return entry.turns if entry is not None else 0

    def anew(self, now: float) -> None:
        """Every session is news at its next use: those who outlive this process may have forgotten it."""
        self._anew_at = now

    def put(self, session_id: str, session: Session, now: float, owner: Hashable = "") -> None:
        """Remembers it as the most recently used, unless a later generation of it is known. The owner is whoever put it first."""
        entry = self._entries.get(session_id)
        if entry is None:
            self._owners.add(session_id, owner)
            self._tally(session, 1)
        else:
            owner = entry.owner
            self._owners.use(session_id, owner)
            if entry.session.generation > session.generation:
                session = entry.session
            self._move(entry.session, session)
        self._entries[session_id] = _Entry(now, session, owner)
        self._entries.move_to_end(session_id)
        if len(self._entries) > self._size:
            self.forget(self._owners.last())

    def page(self, begin: int, count: int) -> list[tuple[str, Session]]:
        """So many sessions from a place in the order of use on, the one that was idle longest first."""
        return [(session_id, entry.session) for session_id, entry in islice(self._entries.items(), begin, begin + count)]

    def adopt(self, session_id: str, session: Session) -> None:
        """Takes over what the store has of a session that is here, unless what is here is later. Not a use."""
        entry = self._entries.get(session_id)
        if entry is not None and agreed(entry.session, session) is session:
            self._move(entry.session, session)
            entry.session = session

    def forget(self, session_id: str) -> None:
        entry = self._entries.pop(session_id, None)
        if entry is not None:
            self._owners.remove(session_id, entry.owner)
            self._tally(entry.session, -1)

    def _move(self, before: Session, after: Session) -> None:
        if before.model != after.model or before.selector != after.selector:
            self._tally(before, -1)
            self._tally(after, 1)

    def _tally(self, session: Session, change: int) -> None:
        key = (session.selector, session.model)
        self.by_model[key] = self.by_model.get(key, 0) + change

    def expire(self, now: float) -> None:
        """Forgets what is over. The order of use is the order of expiry, so it stops at the first that lives."""
        while self._entries:
            session_id, entry = next(iter(self._entries.items()))
            if entry.kept_at + self._ttl_s >= now:
                return
            self.forget(session_id)
