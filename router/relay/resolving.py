"""The beginning of a request: from a whole body to the plan by which it is placed.

    begin ─► may it? ─► (look up session) ─► plan ─► (choice) ─► (limits) ─► place ─► an attempt, or the waiting room

Law: what is refused here is no demand: arrivals are counted where a request is placed, before anything is known of room. Who waits for
the same models was here before. Only a look-up in Redis makes a task; everything else is done in the call that brought the body.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from router.errors import RouterError
from router.models.catalogue import Plan
from router.relay import choosing
from router.relay.sweep import Swept
from router.relay.waiting import no_room
from router.replicas.replica import Replica
from router.replicas.select import NoCandidate, Reason
from router.sessions import selector
from router.sessions.table import Session
from router.tenant import Tenant, tenant
from router.wire import headers, requests


class Resolved(Swept):
    """`home`: where its session is, or others with its prompt. `at_home`: why an attempt there is there. `look_up`: of its session."""

    __slots__ = ("at_home", "home", "look_up")

    home: Replica | None
    at_home: Reason
    look_up: asyncio.Task[None] | None

    @abstractmethod
    def try_next(self, plan: Plan) -> None:
        """Begins an attempt at the next place of the plan; where there is none, the request waits or ends."""

    def begin(self) -> None:
        plane = self.plane
        self.began = plane.clock()
        plane.active.add(self)
        try:
            if plane.gate is not None:
                self.visit = plane.gate.enter(self.head.authorization)
            if self.head.has_deadline:
                headers.check_deadline(self.head.forward)
            self.ask = ask = requests.decode(self.body)
            plane.catalogue.check(ask.model)
            model = ask.model if self.visit is None else self.visit.asked(ask.model)
            if self.head.session is not None:
                self.session_id = selector.parse(self.head.session)
        except RouterError as error:
            self.fail(error)
            return
        if self.session_id is None:
            self._resolve(model, None)
        elif session := plane.known(self.session_id):
            self._resolve(model, session)
        else:
            self.look_up = asyncio.get_running_loop().create_task(self._look_up(model, self.session_id))

    async def _look_up(self, model: str, session_id: str) -> None:
        plane = self.plane
        session = await plane.look_up(session_id, self.tenant)
        if not self.done:
            self._resolve(model, session or plane.begin_session(session_id, plane.catalogue.selector_for(model), self.tenant))

    def _resolve(self, model: str, session: Session | None) -> None:
        plane = self.plane
        if session is not None and session.model:
            session = plane.at_turn(session, self.body)
        self.session = session
        try:
            self.plan = plan = plane.catalogue.plan(model, session)
        except RouterError as error:  # all of its chain was disabled
            self.fail(error)
            return
        if plan.strategy is not None or self.head.wish is not None:
            choosing.choose(self, plan)
        elif self.visit is None:
            self.place(plan)
        else:
            self.visit.admit(self, plan)

    def place(self, plan: Plan) -> None:
        """Looks for where a request may be served, once it is known that it may."""
        plane, session = self.plane, self.session
        plane.tally.of(plan.wanted).arrivals += 1
        if session is None:
            if plane.limits.affinity and (near := plane.near(plan.chain[0], self.body)) is not None:
                self.home, self.at_home = near, "prefix"
        elif session.home:
            self.home = plane.homes.get(session.home)
        if plane.room.size and self.home is None and plane.room.has(plan.first):
            no_room(self, plan, NoCandidate("full"))  # those who wait for these models were here before
        else:
            self.try_next(plan)

    def own(self, session: Session) -> None:
        """Its session is its tenant's from now on."""
        self.session = session
        if self.session_id is not None:
            self.plane.sessions.put(self.session_id, session, self.plane.clock(), self.tenant)

    @property
    def tenant(self) -> Tenant:
        return self.visit.name if self.visit is not None else tenant(self.head.authorization, self.sink.peer)
