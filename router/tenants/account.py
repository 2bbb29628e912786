"""One tenant as a router knows it, and how it looks at a request: what it would cost, what must be asked for, what an answer then says.

Law: only what has a limit is counted. Without a limit on tokens and without a price nothing of a body is read twice; without any limit
Redis is not asked. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fleet.model import Tenant
from router.lending.rows import UNLIMITED, Ask, Verdict
from router.models.bound import Bound, bound
from router.models.catalogue import Plan
from router.models.prices import FREE, NANO, Prices, Rate
from router.tenants.permits import Permits

_LONGEST: Final = 131072  # tokens, where nobody says how long a prompt and its answer may be together


class Account:
    """`fleet`: its name, for two may share a Redis. `contexts`: tokens, by model and provider. `chains`: of all routes, by name."""

    __slots__ = ("_booked", "_budget", "_contexts", "_prices", "_terms", "name", "permits", "tenant")

    def __init__(
        self, fleet: str, tenant: Tenant, *, prices: Prices, contexts: Mapping[str, int], chains: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.tenant = tenant
        self._booked = f"{fleet}:{tenant.name}"
        self.name = tenant.name
        self.permits = Permits(tenant.allow, chains) if tenant.allow else None
        self._budget = UNLIMITED if tenant.budget_per == "none" else round(tenant.budget_usd * NANO)
        self._prices = prices
        self._contexts = contexts
        self._terms: dict[tuple[str, ...], tuple[Rate, int]] = {}

    def bound(self, path: bytes, body: bytes, plan: Plan) -> Bound | None:
        """What a request may use at most; None: nobody needs to know. Raises: BadRequest"""
        rate, context = self._of(plan.chain)
        if rate is FREE and not self.tenant.tokens_per_min:
            return None
        limits = rate is not FREE and self._budget != UNLIMITED
        return bound(path, body, context=context, most_tokens=self.tenant.max_tokens, limits=limits)

    def ask(self, plan: Plan, bound: Bound | None, period: str) -> Ask | None:
        """What has to be asked for; None: nothing."""
        tenant = self.tenant
        tokens = min(bound.likely_tokens, tenant.tokens_per_min) if bound is not None else 0
        cost = 0
        if bound is not None and self._budget != UNLIMITED:
            cost = self._of(plan.chain)[0].cost(bound.input_tokens, bound.output_tokens)
        if not (cost or tenant.requests_per_min or tenant.tokens_per_min):
            return None
        return Ask(self._booked, period, tenant.requests_per_min, tenant.tokens_per_min, tokens, self._budget if cost else UNLIMITED, cost)

    def _of(self, chain: tuple[str, ...]) -> tuple[Rate, int]:
        """The highest price and the longest context of those who may answer."""
        known = self._terms.get(chain)
        if known is None:
            known = self._prices.highest(chain), self._longest(chain)
            if len(self._terms) < 1024:
                self._terms[chain] = known
        return known

    def _longest(self, chain: Iterable[str]) -> int:
        return max((self._contexts.get(name, _LONGEST) for name in chain), default=_LONGEST)

    def lines(self, verdict: Verdict) -> bytes:
        """OpenAI's names for what is left of a minute."""
        tenant, reset_s = self.tenant, -(-verdict.reset_ms // 1000)
        made = b""
        if tenant.requests_per_min:
            made = _lines(b"requests", tenant.requests_per_min, verdict.requests_left, reset_s)
        if tenant.tokens_per_min:
            made += _lines(b"tokens", tenant.tokens_per_min, verdict.tokens_left, reset_s)
        return made


def _lines(of: bytes, limit: int, left: int, reset_s: int) -> bytes:
    return b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\nx-ratelimit-reset-%b: %ds\r\n" % (of, limit, of, left, of, reset_s)
