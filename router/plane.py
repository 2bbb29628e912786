"""The data plane's state: what is warm now, the sessions, the requests under way, and the rules that tie them together.

One per process and event loop. Law: it keeps the last good snapshot whatever happens to Consul; an endpoint that leaves finishes
its requests; a session is never lost while its id, the local cache or the store still knows it.
Clock, randomness and the store are arguments. It opens no sockets of its own.
"""

from __future__ import annotations

import math
import random as _random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from fleet import metrics
from fleet.model import Router as Limits
from fleet.recorder import Recorder
from fleet.state import ModelState
from router.cold import levels
from router.cold.eta import warmth
from router.cold.room import Room
from router.errors import BadSession, Busy, CapacityError, NotWarm, StoreAway
from router.models.catalogue import Catalogue, Plan
from router.models.chooser import Chooser
from router.records.access import AccessLog
from router.records.spans import Traces
from router.records.usage import Usage
from router.replicas.affinity import Shares, share_of
from router.replicas.ceiling import share_out
from router.replicas.replica import Replica
from router.replicas.select import NoCandidate
from router.replicas.snapshot import Endpoint, Published, Snapshot
from router.sessions import selector
from router.sessions.table import Session, SessionTable, may_return, next_turn
from router.tally import Tally
from router.tenant import Gate, Tenant
from router.wire import requests
from router.wire.answer_shape import AnswerShapes
from router.wire.upstream import Pool


class SessionStore(Protocol):
    """Where sessions outlive this process."""

    async def fetch(self, session_id: str) -> Session | None:
        """Raises: StoreAway: no answer in time."""

    def remember(self, session_id: str, session: Session) -> None:
        """Some time soon; never waits."""

    def forget(self, session_id: str) -> None:
        """The same."""


class Ends(Protocol):
    """A request under way, as the plane sees it."""

    def sweep(self, now: float) -> None: ...
    def stop(self) -> None: ...


@dataclass(slots=True)
class Feed:
    """How fresh what we know is. Monotonic seconds; None: never, or not now."""

    seen_at: float | None = None
    lost_since: float | None = None
    kept_since: float | None = None
    """Consul came back without what it knew; endpoints that it does not name are kept for a while."""


@dataclass(slots=True)
class DataPlane:
    catalogue: Catalogue
    limits: Limits
    recorder: Recorder
    tally: Tally
    store: SessionStore
    clock: Callable[[], float]
    wall: Callable[[], float]
    random: Callable[[], float] = _random.random
    random_bits: Callable[[int], int] = _random.getrandbits
    feed: Feed = field(default_factory=Feed)
    snapshot: Snapshot = field(default_factory=Snapshot)
    published: Published = field(default_factory=Published)
    warm: dict[str, tuple[Replica, ...]] = field(default_factory=dict)
    homes: Mapping[str, Replica] = field(default_factory=dict)
    """Warm replicas by allocation id."""
    providers: Mapping[str, Replica] = field(default_factory=dict)
    """External ones that can be used, by name; see router.providers. Whoever changes them calls `configure`."""
    warm_since: Mapping[str, float] = field(default_factory=dict)
    """Since when a model has had warm replicas without a gap, as far as this router has seen; monotonic seconds."""
    cold_since: Mapping[str, float] = field(default_factory=dict)
    """Since when a model that should always have replicas has had no warm one; monotonic seconds."""
    simulated: dict[str, float] = field(default_factory=dict)
    """Models and providers that fail because an operator ordered it, and since when; monotonic seconds."""
    is_leaving: bool = False
    description: str = ""
    """Digest of the fleet's description that is in force."""
    access: AccessLog | None = None
    """None: no request is written down."""
    traces: Traces | None = None
    """None: no request is traced."""
    gate: Gate | None = None
    """None: there are no tenants, and nobody is asked for a key."""
    usage: Usage | None = None
    """None: nobody wants to know what was used."""
    active: set[Ends] = field(default_factory=set)
    began: float = field(init=False)
    room: Room = field(init=False)
    chooser: Chooser = field(init=False)
    sessions: SessionTable = field(init=False)
    _shares: dict[str, Shares[Replica]] = field(default_factory=dict)
    _replicas: dict[Endpoint, Replica] = field(default_factory=dict)
    _answers: AnswerShapes = field(default_factory=AnswerShapes)

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.sessions = SessionTable(self.limits.max_sessions, self.limits.session_ttl_s)
        self.room = Room(self.limits.max_held, self.limits.max_held_bytes)
        self.chooser = Chooser(self.catalogue, self.tally, lambda: self.warm, self.clock)
        self.recorder.collectors.append(self._collect)

    # what Consul says

    def apply(self, snapshot: Snapshot) -> None:
        """Takes over a snapshot; replicas that stay keep their breaker, connections and counts."""
        before, self.snapshot = self.snapshot, snapshot
        gone = self._replicas.keys() - set(snapshot.endpoints)
        for endpoint in gone:
            replica = self._replicas.pop(endpoint)
            replica.pool.close()
            replica.move_at = self.clock() + self.catalogue.stays_s(replica.model)
        for endpoint in snapshot.endpoints:
            if endpoint not in self._replicas:
                self._replicas[endpoint] = self._replica(endpoint, fresh=before.index > 0)
        self._sort()
        self.room.release()

    def _replica(self, endpoint: Endpoint, *, fresh: bool) -> Replica:
        slo, counts = self.catalogue.slo(endpoint.model), self.tally.of(endpoint.model)
        concurrency = self.catalogue.concurrency(endpoint.model)
        pool = Pool(endpoint.host, endpoint.port, self.clock, answers=self._answers)
        return Replica(endpoint, slo, counts, self.clock, concurrency=concurrency, fresh=fresh, pool=pool)

    def publish(self, states: Mapping[str, ModelState]) -> None:
        """Takes over the autoscaler's documents."""
        self.published = Published(states)
        self._sort()
        self.room.release()

    def configure(self, catalogue: Catalogue, limits: Limits, description: str) -> None:
        """Takes over another description; what began by the old one ends by it."""
        self.catalogue, self.limits, self.description = catalogue, limits, description
        self.chooser.configure(catalogue)
        for model in catalogue.models:
            self.tally.of(model)
        for replica in self._replicas.values():
            replica.slo = catalogue.slo(replica.model)
        self._sort()
        self.room.release()

    def heard(self) -> None:
        self.feed = Feed(self.clock(), None, self.feed.kept_since)

    def lost(self) -> None:
        self.feed = Feed(self.feed.seen_at, self.feed.lost_since or self.clock(), self.feed.kept_since)

    def _sort(self) -> None:
        draining = self.published.draining
        warm = [self._replicas[e] for e in self.snapshot.endpoints if e.alloc_id not in draining]
        self.homes = {replica.endpoint.alloc_id: replica for replica in warm}
        before, self.warm = self.warm, {model: tuple(r for r in warm if r.model == model) for model in {r.model for r in warm}}
        self.warm |= {name: (replica,) for name, replica in self.providers.items()}
        share_out(self.warm, self.catalogue.max_concurrent)
        now = self.clock()
        self.warm_since = {model: self.warm_since.get(model, now) for model in self.warm}
        cold = [model.name for model in self.catalogue.models.values() if model.replicas.min and model.name not in self.warm]
        self.cold_since = {model: self.cold_since.get(model, now) for model in cold}
        for model in before.keys() | self.warm.keys():
            if before.get(model) != self.warm.get(model):
                self._shares[model] = Shares(self.warm.get(model, ()))

    def near(self, model: str, body: bytes) -> Replica | None:
        """The warm replica whose engine is likely to have a request's beginning in its prefix cache."""
        shares = self._shares.get(model)
        if shares is None or not shares.is_choice or (share := share_of(body)) is None:
            return None
        return shares.near(share, self.tally.of(model).in_flight)

    def replicas(self) -> list[Replica]:
        return list(self._replicas.values())

    def refusal(self, plan: Plan, none: NoCandidate) -> CapacityError:
        """What a caller is told when a chain has nothing to serve with."""
        if none.why == "ejected":
            return NotWarm(f"Every replica of {plan.wanted!r} has just failed and is resting; try again shortly.", retry_after_s=5)
        if rests := [replica.rest_until for model in plan.chain for replica in self.warm.get(model, ()) if replica.rest_until]:
            wait_s = math.ceil(min(rests) - self.clock())
            return Busy(f"Every replica of {plan.wanted!r} is at its limit; try again when it said.", retry_after_s=wait_s)
        if none.why == "full":
            return NotWarm(f"The replicas of {plan.wanted!r} have as many requests as they may; try again shortly.", retry_after_s=5)
        expected = warmth(plan.first, self.published.states, self.wall())
        if not expected.known:
            return NotWarm(f"The model {plan.wanted!r} is known, but none of its replicas is warm; try again later.")
        return NotWarm(f"The model {plan.wanted!r} is not warm yet; try again when it is.", warm_in_s=expected.in_s)

    # sessions

    def known(self, session_id: str) -> Session | None:
        """From the local cache."""
        session = self.sessions.get(session_id, self.clock())
        if session is not None:
            self.tally.found_here += 1
        return session

    async def look_up(self, session_id: str, owner: Tenant = "") -> Session | None:
        """From the store, and failing that from the id itself. None: a caller's own id that nobody knows. `owner`: who asks."""
        try:
            session = await self.store.fetch(session_id)
            self.tally.looked_up("redis" if session else "miss")
        except StoreAway:
            session = None
            self.tally.looked_up("unavailable")
        if session is None:
            session = self._from_id(session_id)
        if session is not None:
            self.sessions.put(session_id, session, self.clock(), owner)
        return session

    def _from_id(self, session_id: str) -> Session | None:
        number = selector.selector_of(session_id)
        return Session(number) if number is not None and number in self.catalogue.routes else None

    def start(self, session_id: str, session: Session, owner: Tenant = "") -> None:
        self.sessions.put(session_id, session, self.clock(), owner)
        self.store.remember(session_id, session)

    def begin_session(self, session_id: str, number: int, owner: Tenant) -> Session:
        """A session with a caller's own id that nobody knows."""
        session = self.new_session(number)
        self.sessions.put(session_id, session, self.clock(), owner)
        return session

    def new_session(self, number: int, model: str = "") -> Session:
        """A session as it begins: with the model that the caller asked for (not empty), or as load levels say."""
        route = self.catalogue.routes.get(number)
        first = model or (levels.start_on(self.catalogue.own(route.chain), self.published.states) if route else "")
        if first:
            self.tally.of(first).session_starts += 1
        if model or (route and first != route.chain[0]):
            return Session(number, first, swapped_at=self.wall(), pinned=bool(model))
        return Session(number)

    def at_turn(self, session: Session, body: bytes) -> Session:
        """A swapped session as its next turn begins: back at its route's first model, if that has been warm and calm for a while."""
        route = self.catalogue.routes.get(session.selector)
        if route is None or levels.is_strained(route.chain[0], self.published.states):
            return session
        since, after_s = self.warm_since.get(route.chain[0]), self.limits.return_after_s
        if may_return(session, warm_since=since, now=self.clock(), wall=self.wall(), after_s=after_s) and requests.opens_turn(body):
            return replace(session, model="")
        return session

    def hear(self, session_id: str, session: Session | None) -> None:
        """What the store has of a session, as another router left it; None: it has ended."""
        if session is None:
            self.sessions.forget(session_id)
        else:
            self.sessions.adopt(session_id, session)

    def end(self, session_id: str) -> None:
        """The session winds down: nobody knows it any more."""
        self.sessions.forget(session_id)
        self.store.forget(session_id)

    def check_id(self, session_id: str, number: int) -> None:
        """Raises: BadSession: the id is one of ours and says another selector."""
        if selector.selector_of(session_id) not in (None, number):
            raise BadSession("The session id ends in another selector than the one asked for; send one of the two.", param="selector")

    def served(self, session_id: str, session: Session, plan: Plan, replica: Replica) -> None:
        """A turn was answered: the session remembers where, and a swap if there was one."""
        model = session.model if not plan.swaps else "" if replica.model == plan.wanted else replica.model
        now, home = self.clock(), replica.endpoint.alloc_id
        if model == session.model and home == session.home and self.sessions.count(session_id, session, now):
            return
        after = next_turn(session, model=model, home=home, wall=self.wall, turns=1 + self.sessions.turns(session_id))
        self.sessions.put(session_id, after, now)
        self.store.remember(session_id, after)

    # numbers

    def _collect(self, recorder: Recorder) -> None:
        for model in self.catalogue.models:
            recorder.gauge(metrics.ENDPOINTS, model, value=self.snapshot.count(model))
            recorder.gauge(metrics.HELD, model, value=self.room.held(model))
        if self.feed.seen_at is not None:
            recorder.gauge(metrics.SNAPSHOT_AGE, value=self.clock() - self.feed.seen_at)
