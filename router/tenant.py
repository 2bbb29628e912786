"""Whose request it is: the tenant's whose key it has (router.tenants), or where there are no tenants, the key's or address's it came from.

The latter is for fairness only (queues, the session table), never for permission. The key itself is not kept. Pure.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from router.answered import Answered
from router.errors import RouterError
from router.models.bound import Bound
from router.models.catalogue import Plan
from router.sessions.table import Session

Tenant: TypeAlias = int | str


def tenant(authorization: bytes | None, peer: str) -> Tenant:
    """`authorization`: the header as it came. A key's number is this process's own: it means nothing elsewhere."""
    return hash(authorization) if authorization else peer


class Comer(Protocol):
    """A request that wants to be served, as its visit sees it. `session` and `plan` may be changed by it, and what the body says."""

    @property
    def path(self) -> bytes: ...
    @property
    def session_id(self) -> str | None: ...
    @property
    def done(self) -> bool: ...

    body: bytes
    plan: Plan | None
    session: Session | None
    hides_usage: bool

    def own(self, session: Session) -> None:
        """Its session is this tenant's from now on."""

    def place(self, plan: Plan) -> None:
        """It may be served."""

    def fail(self, error: RouterError) -> None:
        """It may not."""


class Visit(Protocol):
    """One request of a tenant. `lines`: what its answer says of the tenant's limits, each ends in CRLF."""

    name: str
    lines: bytes
    bound: Bound | None
    """What was set aside for it; None: nothing had to be."""

    def asked(self, model: str) -> str:
        """What a body's `model` means for this tenant. Raises: NotAllowed"""

    def may(self, name: str) -> bool:
        """This tenant may ask for a model, provider or route by this name."""

    def cut(self, plan: Plan) -> Plan:
        """The plan without what is not allowed. Raises: NotAllowed"""

    def claim(self, session: Session) -> Session:
        """The session as this tenant's. Raises: UnknownSession: it is another one's."""

    def admit(self, relay: Comer, plan: Plan) -> None:
        """Calls `relay.place` when it may be served, or `relay.fail`; now or soon."""

    def settle(self, facts: Answered) -> None:
        """It is over."""


class Gate(Protocol):
    """Who may come in."""

    def enter(self, authorization: bytes | None, /) -> Visit:
        """Raises: NoKey"""
