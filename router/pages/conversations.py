"""The session API: start a session, and say something in it without building a chat request.

    POST /initiate_call      {session_id?, selector?, model?}      -> {session_id, selector, route, model}
    POST /chat_completions   {session_id, message, model?}         -> {session_id, response, model, selector}
    GET /sessions/{id}                                             -> {session_id, selector, route, model, home, generation, turns, ...}
    DELETE /sessions/{id}                                          the session winds down: no router knows it any more

A message is one turn of its own: what was said before is not kept here, only where the session is served.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from fleet import names
from router.errors import UnknownSession
from router.models.catalogue import Plan
from router.pages.asked import as_it_is, deadline_of, text, told, while_connected
from router.pages.refusals import ASKING, may
from router.plane import DataPlane
from router.relay import choosing, collected
from router.relay.collected import Answer
from router.sessions import selector
from router.sessions.table import Session
from router.tenant import Tenant, Visit, tenant
from router.tenants.door import authorization_of, visit_of
from router.wire import requests


class InitiateCall(BaseModel):
    """Without a selector: the route of the id (one of ours), or of the model, or the one with the lowest selector."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"session_id": "support-42", "selector": 0}]})

    session_id: Annotated[str | None, Field(description="an id of the caller's own; without one the router makes it")] = None
    selector: Annotated[int | None, Field(ge=0, le=15, description="of the route")] = None
    model: Annotated[str | None, Field(description="a model or route to begin with")] = None


Id = Annotated[str, Path(description="the session's id", examples=["support-42"])]


class Call(BaseModel):
    session_id: str
    selector: int
    route: str
    model: str


class Kept(BaseModel):
    """`model` serves its next turn; `swapped`: it is not the route's first one. `home`: allocation id of its replica, or empty."""

    session_id: str
    selector: int
    route: str
    model: str
    swapped: bool
    home: str
    generation: int
    turns: int


class ChatMessage(BaseModel):
    """What stands below `model` is for this message only, as in x-route-strategy."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"session_id": "support-42", "message": "Good morning!", "max_tokens": 50}]})

    session_id: Annotated[str, Field(description="of a session that was started")]
    message: Annotated[str, Field(description="what the user says in this turn")]
    model: Annotated[str | None, Field(description="another model or route than the session's, for this turn")] = None
    strategy: Annotated[str | None, Field(description="how to choose: cost, latency, quality, balanced, ...")] = None
    capability: Annotated[str | None, Field(description="what the model must be good at")] = None
    max_cost: Annotated[float | None, Field(description="dollars of one answer")] = None
    max_latency_ms: Annotated[float | None, Field(description="expected latency of one answer")] = None
    required_quality: Annotated[float | None, Field(description="0 to 1")] = None
    max_tokens: Annotated[int | None, Field(ge=1, description="of the answer")] = None


class ChatAnswer(BaseModel):
    session_id: str
    response: str
    model: str
    selector: int


def routes(plane: DataPlane) -> APIRouter:
    api = APIRouter(tags=["sessions"])

    @api.post("/initiate_call", summary="Start a session, or find the one that has this id.", responses=may(403, 404))
    async def initiate_call(wanted: InitiateCall, request: Request) -> Call:
        session_id, session = await initiate(plane, wanted, _tenant(request), visit_of(request))
        plan = _plan(plane, wanted.model, session)
        return Call(session_id=session_id, selector=session.selector, route=plan.route, model=plan.chain[0])

    @api.post("/chat_completions", response_model=ChatAnswer, summary="Say something in a session.", responses=may(*ASKING))
    async def chat_completions(said: ChatMessage, request: Request) -> ChatAnswer | Response:
        session = await _known(plane, said.session_id, visit_of(request))
        answer = await while_connected(_ask(plane, said, request), request)
        if answer.status != 200:
            return as_it_is(answer)
        return ChatAnswer(session_id=said.session_id, response=text(answer), model=answer.model or "", selector=session.selector)

    @api.get("/sessions/{session_id}", summary="Where a session is served, and how far it is.", responses=may(404))
    async def session(session_id: Id, request: Request) -> Kept:
        return kept(plane, session_id, await _known(plane, session_id, visit_of(request)))

    @api.delete("/sessions/{session_id}", status_code=204, summary="End a session on every router.", responses=may(404))
    async def end(session_id: Id, request: Request) -> None:
        """Answers under way are finished. One that nobody knows has ended already."""
        visit, parsed = visit_of(request), selector.parse(session_id.encode())
        known = (plane.known(parsed) or await plane.look_up(parsed, visit.name)) if visit is not None else None
        if visit is not None and known is not None:
            visit.claim(known)
        plane.end(parsed)

    return api


async def initiate(plane: DataPlane, wanted: InitiateCall, owner: Tenant, visit: Visit | None) -> tuple[str, Session]:
    """Starts a session, or finds the one that already has this id if nothing else is asked for.

    Raises:
        BadSession: the id is malformed, or no route has the selector.
        UnknownModel: the model is not in the catalogue.
        UnknownSession, NotAllowed: it is another tenant's, or the route or model is not for this one.
    """
    session_id = selector.parse(wanted.session_id.encode()) if wanted.session_id is not None else None
    known = None if session_id is None else plane.known(session_id) or await plane.look_up(session_id, owner)
    if visit is not None and known is not None:
        known = visit.claim(known)
    if session_id is not None and known is not None and wanted.selector is None and wanted.model is None:
        return session_id, known
    if visit is not None and wanted.model is not None:
        visit.asked(wanted.model)
    number = _selector(plane, wanted, visit)
    begun = plane.new_session(number, _swapped(plane, wanted.model, number))
    if session_id is None:
        session_id = selector.new_id(number, plane.random_bits(124))
    plane.check_id(session_id, number)
    session = replace(begun, generation=known.generation + 1) if known is not None else begun  # so that every router takes it over
    if visit is not None:
        visit.cut(_plan(plane, wanted.model, session))
        session = visit.claim(session)
    plane.start(session_id, session, owner)
    return session_id, session


def _selector(plane: DataPlane, wanted: InitiateCall, visit: Visit | None) -> int:
    if wanted.selector is not None:
        plane.catalogue.check_selector(wanted.selector)
        return wanted.selector
    if wanted.session_id is not None and (own := selector.selector_of(wanted.session_id)) in plane.catalogue.routes and own is not None:
        return own
    model = wanted.model or requests.AUTO
    return plane.catalogue.selector_for(model if visit is None else visit.asked(model))


def _swapped(plane: DataPlane, model: str | None, number: int) -> str:
    """A model asked for at the start that is not the route's first one is a swap from the start."""
    if model is None:
        return ""
    plane.catalogue.check(model)
    route = plane.catalogue.routes.get(number)
    return model if model in plane.catalogue.models and (route is None or route.chain[0] != model) else ""


def _tenant(request: Request) -> Tenant:
    visit = visit_of(request)
    return visit.name if visit is not None else tenant(authorization_of(request), request.client.host if request.client else "")


def _plan(plane: DataPlane, model: str | None, session: Session) -> Plan:
    return plane.catalogue.plan(model or requests.AUTO, session)


def kept(plane: DataPlane, session_id: str, session: Session) -> Kept:
    """What is shown of a session."""
    plan = _plan(plane, None, session)
    return Kept(
        session_id=session_id,
        selector=session.selector,
        route=plan.route,
        model=plan.chain[0],
        swapped=bool(session.model),
        home=session.home,
        generation=session.generation,
        turns=session.turns + plane.sessions.turns(session_id),
    )


async def _known(plane: DataPlane, session_id: str, visit: Visit | None) -> Session:
    """Raises: UnknownSession, BadSession"""
    parsed = selector.parse(session_id.encode())
    session = plane.known(parsed) or await plane.look_up(parsed)
    if session is None:
        raise UnknownSession("No session has this id; start one with POST /initiate_call.", param="session_id")
    return session if visit is None else visit.claim(session)


async def _ask(plane: DataPlane, said: ChatMessage, request: Request) -> Answer:
    """Raises: BadRequest: what it says of the choice is wrong."""
    body: dict[str, object] = {"model": said.model or requests.AUTO, "messages": [{"role": "user", "content": said.message}]}
    if said.max_tokens is not None:
        body["max_tokens"] = said.max_tokens
    wish = told(request, names.HEADER_STRATEGY, choosing.said(said.model_dump(include=set(choosing.FIELDS))))
    raw, session, key, deadline = msgspec.json.encode(body), said.session_id.encode(), authorization_of(request), deadline_of(request)
    return await collected.ask(plane, b"/v1/chat/completions", raw, session, key, wish=wish, deadline=deadline)
