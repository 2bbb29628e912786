"""The facts of one request, for those who tell of it: headers of its answer, access log, usage, spans.

Law: data only, and read only by them; whoever carries the request (router.relay) keeps it. Nothing here knows the data plane, so that the
plane may hold those who tell. Pure.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple

from router.models.catalogue import Plan
from router.replicas.replica import Replica
from router.replicas.select import Reason
from router.sessions.table import Session
from router.tenant import Visit
from router.wire.events import Usage


class Ids(NamedTuple):
    """Of a span, in the form in which Datadog joins logs to traces."""

    trace: str
    span: str


class Facts:
    """`model`: the one that answers. `reason`: why the last attempt was where it was; `moves`: why the ones before it were left.

    `tried`: replicas that were left. `usage`: as the engine counted it. `ids`: of its span, where it is traced. `visit`: of a tenant, where
    there are any.
    """

    __slots__ = (
        "attempts",
        "body",
        "held_s",
        "ids",
        "model",
        "moves",
        "plan",
        "reason",
        "request_id",
        "resumes",
        "session",
        "session_id",
        "tried",
        "ttft_s",
        "usage",
        "visit",
    )

    request_id: bytes
    body: bytes
    plan: Plan | None
    model: str | None
    session_id: str | None
    session: Session | None
    tried: tuple[Replica, ...]
    attempts: int
    resumes: int
    held_s: float
    ttft_s: float | None
    usage: Usage | None
    ids: Ids | None
    reason: Reason | Literal["-"]
    moves: str
    visit: Visit | None

    @abstractmethod
    def at(self) -> Replica | None:
        """Where the attempt under way is."""

    @abstractmethod
    def counted(self) -> Usage | None:
        """What the engine said of its usage."""

    @abstractmethod
    def generated(self) -> int | None:
        """Events that were sent: about as many tokens, where the engine has not counted them. None: it is not a stream of events."""
