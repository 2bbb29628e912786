"""Where the choice meets a request: whether there is one to make, and what a session keeps of it.

    the caller asks (x-route-strategy)      chosen for this request, never remembered
    the route chooses, without a session    chosen for each request
    the route chooses, in a session         chosen for its first turn; the session keeps the model, as it keeps one that was asked for

Law: a turn of a conversation does not change its model because its words are about something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from router.choice.wish import NO_WISH, BadWish, Wish, parse
from router.errors import BadRequest, RouterError
from router.models.catalogue import Plan
from router.models.prices import Prices
from router.plane import DataPlane
from router.records.usage import Usage
from router.relay.course import Placed

FIELDS: Final = ("strategy", "capability", "max_cost", "max_latency_ms", "required_quality")


def choose(relay: Placed, plan: Plan) -> None:
    """Places a request by its plan in the order that is best for it, or refuses it."""
    ordered = _chosen(relay, plan)
    if ordered is None:
        return
    relay.plan = ordered
    if relay.visit is None:
        relay.place(ordered)
    else:
        relay.visit.admit(relay, ordered)


def _chosen(relay: Placed, plan: Plan) -> Plan | None:
    """The plan in the order that was chosen, or as it is where nothing is to be chosen. None: it was refused, and the relay has ended."""
    try:
        asked = relay.head.wish
        wish = NO_WISH if asked is None else read(asked)
        if asked is None and not _begins(relay):
            return plan
        learn(relay.plane)
        plan = plan if relay.visit is None else relay.visit.cut(plan)  # so that nobody is chosen that the tenant may not use
        ordered = relay.plane.chooser.order(plan, relay.body, wish)
    except RouterError as error:
        relay.fail(error)
        return None
    if asked is None:
        _keep(relay, plan, ordered)
    return ordered


def learn(plane: DataPlane) -> None:
    """From the first choice on, what is answered is learned from."""
    if plane.usage is None:
        names = (*plane.catalogue.models, *plane.catalogue.providers)
        plane.usage = Usage(Prices({name: plane.catalogue.price(name) for name in names}), plane.wall, [])
    if plane.chooser not in plane.usage.listeners:
        plane.usage.listeners.append(plane.chooser)


def read(value: bytes) -> Wish:
    """The header. Raises: BadRequest"""
    try:
        return parse(value.decode("ascii"))
    except BadWish as error:
        raise BadRequest(f"The request cannot be routed: {error}.", param=error.param) from error
    except UnicodeDecodeError as error:
        raise BadRequest("The header x-route-strategy is wrong: it holds other characters than ASCII.", param="x-route-strategy") from error


def said(fields: Mapping[str, object]) -> bytes | None:
    """Fields of a body as the header would say them; None: nothing is said. Raises: BadRequest"""
    told = {name: _text(value) for name, value in fields.items() if value is not None}
    if not told:
        return None
    value = "; ".join(f"{name}={text}" for name, text in told.items())
    if not value.isascii() or ";" in "".join(told.values()):
        raise BadRequest("A field for the routing holds characters that no strategy, capability or number has.", param=next(iter(told)))
    read(value.encode())
    return value.encode()


def _text(value: object) -> str:
    """Numbers without an exponent."""
    return f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _begins(relay: Placed) -> bool:
    """No session, or one that has not been served yet and has no model of its own."""
    session = relay.session
    return session is None or not (session.home or session.model)


def _keep(relay: Placed, before: Plan, ordered: Plan) -> None:
    """What its first turn was given stays the session's."""
    session = relay.session
    if session is not None:
        model = ordered.wanted if ordered.wanted != before.wanted else ""
        relay.session = replace(session, model=model, pinned=True, swapped_at=relay.plane.wall())
