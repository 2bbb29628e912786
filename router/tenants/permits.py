"""What a tenant may use.

    allow = []                          everything
    allow = ["best", "small-model"]     the route best with its whole chain, and the model small-model

Law: what is asked for by its name, and what a session was begun with, must be allowed; what a plan would fall back to and is not allowed is
left out. "auto" without a session means the first route that is allowed. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from router.errors import NotAllowed
from router.models.catalogue import NO_ROUTE, Plan
from router.wire.requests import AUTO

_MOST_PLANS: Final = 1024


class Permits:
    """`allow`: as in fleet.toml; not empty. `chains`: of all routes by name, in the order of their selectors."""

    __slots__ = ("_first", "_names", "_plans", "_routes")

    def __init__(self, allow: Iterable[str], chains: Mapping[str, tuple[str, ...]]) -> None:
        allowed = set(allow)
        self._routes = allowed & chains.keys()
        self._names = (allowed - self._routes) | {link for name in self._routes for link in chains[name]}
        self._first = next((name for name in chains if name in self._routes), None)
        self._plans: dict[Plan, Plan] = {}

    def has(self, name: str) -> bool:
        return name in self._names or name in self._routes

    def asked(self, name: str) -> str:
        """What a body's model means for this tenant. Raises: NotAllowed"""
        if name == AUTO:
            return self._first or AUTO
        if not self.has(name):
            raise NotAllowed(name)
        return name

    def cut(self, plan: Plan) -> Plan:
        """The plan without what is not allowed. Raises: NotAllowed: it is for a route and a model that are not."""
        known = self._plans.get(plan)
        return known if known is not None else self._cut(plan)

    def _cut(self, plan: Plan) -> Plan:
        if plan.route not in self._routes and plan.wanted not in self._names:
            raise NotAllowed(plan.wanted if plan.route == NO_ROUTE else plan.route)
        chain = tuple(name for name in plan.chain if name in self._names)
        if not chain:
            raise NotAllowed(plan.wanted)
        made = replace(plan, chain=chain, wanted=plan.wanted if plan.wanted in chain else chain[0])
        if len(self._plans) < _MOST_PLANS:  # plans of what Redis says must not fill memory
            self._plans[plan] = made
        return made
