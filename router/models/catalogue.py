"""What the fleet's description says about models and routes, and the chain of models that a request gets.

Law: the catalogue is configuration, never what is up: a model that is cold is known. A session's route decides; a model named in
the body goes first for that request, unless it is the route's own first one (SDKs must name something). A session that was
swapped keeps its model at the head of the chain. Pure; the few plans that exist are made once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from fleet.model import Model, Price, Route, Slo, Spec
from fleet.provider import PROVIDERS, Provider
from fleet.serving import Strategy
from router.clocks import MOVING_S
from router.cold.hold import DEFAULT, Cold
from router.errors import BadSession, ModelDisabled, UnknownModel
from router.sessions.table import Session
from router.wire.requests import AUTO

NO_ROUTE = "-"


@dataclass(frozen=True, slots=True)
class Plan:
    """The models to try, in order. `route` and `selector` are for x-route and metrics.

    `wanted` is the model that the demand is for: the override, or the route's first one even while a session is swapped away from it.
    `swaps`: a session remembers it when another model than `wanted` serves; an override is never remembered.
    `strategy`: how the chain is put in order for each request (router.relay.choosing); None: it stands. `chosen`: how it was, for x-route.
    `first`: what is tried before it is asked what to do while these have no room (router.cold.hold); the others are for failures too.
    """

    chain: tuple[str, ...]
    wanted: str
    route: str
    selector: int | None
    swaps: bool
    cold: Cold = DEFAULT
    strategy: Strategy | None = None
    chosen: str = ""
    first: tuple[str, ...] = field(init=False)
    trace: bytes = field(init=False)
    """Beginning of the x-route header."""

    def __post_init__(self) -> None:
        upto = len(self.chain) if self.cold.on_cold == "downgrade" else self.chain.index(self.wanted) + 1
        object.__setattr__(self, "first", self.chain[:upto])
        digit = "-" if self.selector is None else str(self.selector)
        chosen = f"; chosen={self.chosen}" if self.chosen else ""
        object.__setattr__(self, "trace", f"selector={digit}; route={self.route}{chosen}".encode())


class Catalogue:
    """Models and routes of one fleet. `off`: names that are disabled or removed (router.models.roster)."""

    def __init__(self, spec: Spec, off: Mapping[str, str] = MappingProxyType({})) -> None:
        self._off = off
        self.models: dict[str, Model] = {model.name: model for model in spec.models if off.get(model.name) != "removed"}
        rows = sorted(spec.providers, key=lambda row: row.priority)
        self._abroad = tuple(row.name for row in rows)
        self.providers: dict[str, Provider] = {row.name: row for row in rows if off.get(row.name) != "removed"}
        self.routes: dict[int, Route] = {r.selector: self._expanded(r) for r in sorted(spec.routes, key=lambda r: r.selector)}
        self._by_name: dict[str, Route] = {route.name: route for route in self.routes.values()}
        self._plans: dict[tuple[str, int | None, str], Plan] = {}
        self._notice_s = spec.fleet.shutdown_delay_s

    def _expanded(self, route: Route) -> Route:
        """The word "providers" in a chain stands for those that it does not name itself, by priority, also for those that are off."""
        if PROVIDERS not in route.chain:
            return route
        at, others = route.chain.index(PROVIDERS), [name for name in self._abroad if name not in route.chain]
        return replace(route, chain=(*route.chain[:at], *others, *route.chain[at + 1 :]))

    def own(self, chain: tuple[str, ...]) -> tuple[str, ...]:
        """The models of a chain that are ours; all of it where none is."""
        return tuple(name for name in chain if name in self.models) or chain

    def price(self, name: str) -> Price:
        """Of a model or provider; nothing where it is neither."""
        known = self.models.get(name) or self.providers.get(name)
        return known.cost if known else Price()

    def names(self) -> tuple[str, ...]:
        """What a caller may put in `model`, without "auto": models, then routes."""
        return (*self.models, *(name for name in self._by_name if name not in self.models))

    def slo(self, model: str) -> Slo:
        known = self.models.get(model)
        return known.slo if known else Slo()

    def concurrency(self, model: str) -> int:
        """Requests at once that a replica is described to carry."""
        known = self.models.get(model)
        return known.capacity.concurrency if known else 1

    def stays_s(self, model: str) -> float:
        """How long after it left Consul a replica may keep what it streams: Nomad kills it soon after."""
        known = self.models.get(model)
        kill_s = known.kill_s if known else 0.0
        return self._notice_s + kill_s - min(MOVING_S, kill_s / 5)

    def max_concurrent(self, name: str) -> int:
        """Requests at once from this process to a model or provider; 0: no limit."""
        known = self.models.get(name) or self.providers.get(name)
        return known.max_concurrent if known else 0

    def check(self, name: str) -> None:
        """Raises: UnknownModel"""
        if name not in self.models and name not in self._by_name and not (name == AUTO and self.routes):
            raise UnknownModel(name)

    def plan(self, name: str, session: Session | None) -> Plan:
        """The chain for a body's model, within a session or without. Raises: UnknownModel"""
        key = (name, session.selector, session.model) if session else (name, None, "")
        plan = self._plans.get(key)
        if plan is None:
            self.check(name)
            plan = self._in_session(name, session) if session else self._alone(name)
            plan = self._without_off(plan) if self._off else plan
            known = not session or not session.model or session.model in self.models or session.model in self.providers
            if known:  # what Redis says must not fill this table
                self._plans[key] = plan
        return plan

    def _without_off(self, plan: Plan) -> Plan:
        """Raises: ModelDisabled"""
        chain = tuple(link for link in plan.chain if link not in self._off)
        if not chain:
            raise ModelDisabled(f"{plan.wanted!r} was taken out of service by an operator, and nothing stands in for it; try again later.")
        return plan if chain == plan.chain else replace(plan, chain=chain, wanted=plan.wanted if plan.wanted in chain else chain[0])

    def selector_for(self, name: str) -> int:
        """The route of a new session whose first request names `name`: 0 where the fleet has no routes. Raises: UnknownModel"""
        self.check(name)
        route = self._route_for(name) or next(iter(self.routes.values()), None)
        return route.selector if route else 0

    def check_selector(self, selector: int) -> None:
        """Raises: BadSession: no route has it."""
        if selector not in self.routes:
            known = ", ".join(map(str, self.routes)) or "none"
            raise BadSession(f"No route has selector {selector}; the fleet's description has: {known}.", param="selector")

    def _route_for(self, name: str) -> Route | None:
        """The route that a name means without a session: itself, the first that starts with the model, or for "auto" the lowest."""
        if name in self.models:
            return next((route for route in self.routes.values() if route.chain[0] == name), None)
        return self._by_name.get(name) or next(iter(self.routes.values()), None)

    def _alone(self, name: str) -> Plan:
        route = self._route_for(name)
        if route is None:
            return Plan((name,), name, NO_ROUTE, None, swaps=False)
        return Plan(
            route.chain, route.chain[0], route.name, route.selector, swaps=False, cold=_cold(route), strategy=self._strategy(name, route)
        )

    def _in_session(self, name: str, session: Session) -> Plan:
        route = self.routes.get(session.selector)
        chain = route.chain if route else ()
        if name not in self.models:
            chain = chain or self._alone(name).chain
        preferred = chain[0] if chain else name
        override = name if name in self.models and name != preferred else ""
        swapped = session.model if session.model in self.models or session.model in chain else ""
        whole = tuple(dict.fromkeys(model for model in (override, swapped, *chain, preferred) if model))
        strategy = self._strategy(name, route) if route else None
        name, cold = (route.name, _cold(route)) if route else (NO_ROUTE, DEFAULT)
        return Plan(whole, override or preferred, name, session.selector, swaps=not override, cold=cold, strategy=strategy)

    def _strategy(self, name: str, route: Route) -> Strategy | None:
        """Who names a model gets it; "auto" goes to who is good at what is asked, where anybody says what that is."""
        if name in self.models or name in self.providers or len(route.chain) == 1:
            return None
        if route.strategy != "chain":
            return route.strategy
        rows = (self.models.get(link) or self.providers.get(link) for link in route.chain)
        return "specialty" if name == AUTO and any(row is not None and row.capabilities for row in rows) else None


def _cold(route: Route) -> Cold:
    return Cold(route.on_cold, route.hold_s)
