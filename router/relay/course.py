"""One request under way, as its stages have it: what they may know of it, and what each of them may ask.

Law: a stage (an attempt, a stream, a wait) never knows the relay itself. It takes a `Course`, or a class that it declares beside itself
with the few verbs that it needs more. Those classes are a ladder, Course, Placed, Streamed, Trying, Raced, Resumed, Waiter, Swept,
Resolved, and the relay stands on top: one base each, so that they can be compiled (tools/native.py). No stage uses a rung above its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from router.errors import RouterError
from router.models.catalogue import Plan
from router.plane import DataPlane
from router.records.facts import Facts
from router.replicas.breaker import Event
from router.replicas.replica import Replica
from router.replicas.select import Choice, NoCandidate
from router.sessions.table import Session
from router.tenant import Tenant
from router.wire.dialects import Dialect
from router.wire.events import Usage
from router.wire.head import RequestHead
from router.wire.requests import Ask
from router.wire.sink import Sink


class Begun(Protocol):
    """An answer that has begun to reach the caller. `event` is for the breaker."""

    def open(self) -> None:
        """Sends the head and what has come."""

    def generated(self) -> int | None:
        """As Facts.generated."""

    def broken(self, why: str, reason: str, event: Event | None) -> None:
        """No more comes from its engine."""

    def fail(self, why: str, event: Event | None) -> None:
        """Ends it as one that is incomplete."""


class Course(Facts, ABC):
    """`opened`: the caller has the head of a stream already. `hides_usage`: its stream says a usage that the caller did not ask for."""

    __slots__ = (
        "ask",
        "began",
        "begun",
        "dialect",
        "done",
        "head",
        "hides_usage",
        "opened",
        "path",
        "paused_at",
        "plane",
        "sink",
    )

    plane: DataPlane
    sink: Sink
    path: bytes
    dialect: Dialect
    head: RequestHead
    began: float  # monotonic seconds
    ask: Ask | None
    paused_at: float | None
    begun: Begun | None
    opened: bool
    done: bool
    hides_usage: bool

    @abstractmethod
    def write(self, data: bytes) -> bool:
        """False: the caller has left; the request is over."""

    @abstractmethod
    def fail(self, error: RouterError) -> None:
        """Our own answer, or our own end of one that has begun."""

    @abstractmethod
    def finish(self, status: int, event: Event | None = Event.SUCCESS) -> None:
        """The one end of every request. `event` is for the breaker; None: it says nothing about the replica."""

    @abstractmethod
    def caller_left(self) -> None:
        """Closes the engine's connection at once, whatever was going on."""

    @abstractmethod
    def count_usage(self, usage: Usage | None) -> None: ...


class Placed(Course):
    """Of those who decide where it goes next."""

    __slots__ = ()

    @property
    @abstractmethod
    def tenant(self) -> Tenant: ...

    @abstractmethod
    def own(self, session: Session) -> None:
        """Its session is its tenant's from now on."""

    @abstractmethod
    def place(self, plan: Plan) -> None:
        """Looks for where a request may be served, once it is known that it may."""

    @abstractmethod
    def choose(self, chain: Sequence[str], now: float) -> Choice[Replica] | NoCandidate:
        """Where among these models the next attempt would be."""

    @abstractmethod
    def try_at(self, choice: Choice[Replica], now: float) -> None:
        """Begins an attempt."""

    @abstractmethod
    def leave(self, event: Event | None) -> None:
        """Leaves the attempt under way; `event` is for the breaker."""
