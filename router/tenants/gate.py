"""The gate: whose key it is, what its tenant may use, and whether its limits have room for one more request.

    enter ─► asked ─► admit ─► (Redis) ─► relay.place ─► ... ─► settle
      │        │        └─► 403, 429, 503
      └─ 401   └─ 403

Law: a request that is refused has cost nothing and is no demand: it is not counted as an arrival. One that was granted is settled once,
whatever became of it. A session belongs to the tenant that began it; for any other one there is no such session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from fleet import metrics
from fleet.model import Spec
from fleet.recorder import Recorder
from router.answered import Answered
from router.errors import BudgetSpent, LimitsAway, NoKey, NotAllowed, RouterError, TooManyRequests, TooManyTokens, UnknownSession
from router.lending.rows import Answer, Ask, Books, Settle, Verdict
from router.models.bound import Bound
from router.models.catalogue import Catalogue, Plan
from router.models.prices import NANO, Prices, usd
from router.sessions.table import Session
from router.tenant import Comer
from router.tenants import keys
from router.tenants.account import Account

_HOUR_S: Final = 3600
_REASONS: Final = {
    NoKey: "key",
    NotAllowed: "not_allowed",
    TooManyRequests: "requests",
    TooManyTokens: "tokens",
    BudgetSpent: "budget",
    LimitsAway: "limits_away",
}


class Gate:
    """`wall`: seconds since the epoch, for the calendar of budgets."""

    def __init__(
        self, spec: Spec, catalogue: Catalogue, prices: Prices, books: Books, *, recorder: Recorder, wall: Callable[[], float]
    ) -> None:
        contexts = {model.name: model.context for model in spec.models} | {provider.name: provider.context for provider in spec.providers}
        chains = _chains(catalogue)
        self.books = books
        self.is_open_without_redis = spec.router.tenants_without_redis == "open"
        self._recorder = recorder
        self._wall = wall
        self._accounts: dict[str, tuple[str, Account]] = {}
        for tenant in spec.tenants:
            account = Account(spec.fleet.name, tenant, prices=prices, contexts=contexts, chains=chains)
            self._accounts |= {key: (key, account) for key in tenant.key_sha256}
        self._hour = -1
        self._periods: dict[str, str] = {}

    def enter(self, authorization: bytes | None) -> Visit:
        """Raises: NoKey"""
        digest = keys.digest(authorization)
        known = self._accounts.get(digest) if digest is not None else None
        if digest is None or known is None or not keys.same(known[0], digest):
            self.refused("-", NoKey)
            raise NoKey
        return Visit(self, known[1])

    def period(self, per: str) -> str:
        """The name of the period that it is now."""
        now = self._wall()
        hour = int(now // _HOUR_S)
        if hour != self._hour:
            self._hour = hour
            self._periods = _periods(now)
        return self._periods[per]

    def refused(self, tenant: str, error: type[RouterError]) -> None:
        if reason := _REASONS.get(error):
            self._recorder.count(metrics.REFUSED, tenant, reason)

    def spent(self, facts: Answered) -> None:
        self._recorder.count(metrics.SPENT, facts.tenant, facts.model, by=facts.cost_nano / NANO)


def _chains(catalogue: Catalogue) -> Mapping[str, tuple[str, ...]]:
    return {route.name: route.chain for route in catalogue.routes.values()}


def _periods(now: float) -> dict[str, str]:
    today = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    return {"life": "life", "none": "life", "month": today[:7], "day": today}


class Visit:
    """One request of a tenant. `bound`: what was set aside for it. `lines`: what its answer says of the tenant's limits."""

    __slots__ = ("_account", "_ask", "_gate", "_relay", "_slot", "bound", "lines", "name")

    def __init__(self, gate: Gate, account: Account) -> None:
        self.name = account.name
        self.lines = b""
        self.bound: Bound | None = None
        self._gate = gate
        self._account = account
        self._ask: Ask | None = None
        self._relay: Comer | None = None
        self._slot: int | None = None  # None: nothing was granted; negative: it was let in although nobody knew

    # what it may use

    def asked(self, model: str) -> str:
        """What a body's `model` means for this tenant. Raises: NotAllowed"""
        permits = self._account.permits
        if permits is None:
            return model
        try:
            return permits.asked(model)
        except NotAllowed:
            self._gate.refused(self.name, NotAllowed)
            raise

    def may(self, name: str) -> bool:
        permits = self._account.permits
        return permits is None or permits.has(name)

    def cut(self, plan: Plan) -> Plan:
        """Raises: NotAllowed"""
        permits = self._account.permits
        return plan if permits is None else permits.cut(plan)

    def claim(self, session: Session) -> Session:
        """The session as this tenant's. Raises: UnknownSession: it is another one's."""
        if session.tenant == self.name:
            return session
        if session.tenant:
            raise UnknownSession("No session of yours has this id; start one with POST /initiate_call.", param="session_id")
        return replace(session, tenant=self.name)

    # whether there is room for it

    def admit(self, relay: Comer, plan: Plan) -> None:
        """Calls `relay.place` when it may be served, or `relay.fail`; now or soon."""
        try:
            self._claim_of(relay)
            relay.plan = plan = self.cut(plan)
            self._ask = ask = self._asks(relay, plan)
        except RouterError as error:
            self._refuse(relay, error)
            return
        if ask is None:
            relay.place(plan)
        else:
            self._relay = relay
            self._gate.books.ask(ask, self._told)

    def _claim_of(self, relay: Comer) -> None:
        session, relay.session = relay.session, None
        if session is None or relay.session_id is None:
            return
        relay.session = mine = self.claim(session)
        if mine is not session:
            relay.own(mine)

    def _asks(self, relay: Comer, plan: Plan) -> Ask | None:
        account = self._account
        self.bound = bound = account.bound(relay.path, relay.body, plan)
        if bound is not None:
            relay.body, relay.hides_usage = bound.body, bound.hides_usage
        return account.ask(plan, bound, self._gate.period(account.tenant.budget_per))

    def _told(self, verdict: Verdict | None) -> bool:
        relay, self._relay = self._relay, None
        if relay is None or relay.done or relay.plan is None:
            return False
        if verdict is not None and verdict.answer == Answer.BROKEN:
            verdict = None
        if verdict is not None:
            self.lines = self._account.lines(verdict)
        error = self._objection(verdict)
        if error is not None:
            self._refuse(relay, error)
        else:
            self._slot = verdict.slot if verdict is not None else -1
            relay.place(relay.plan)
        return True

    def _objection(self, verdict: Verdict | None) -> RouterError | None:
        if verdict is not None and verdict.answer == Answer.GRANTED:
            return None
        tenant = self._account.tenant
        if verdict is None:
            message = "Your limits cannot be looked up now; try again shortly."
            return None if self._gate.is_open_without_redis else LimitsAway(message, retry_after_s=2)
        wait_s = -(-verdict.wait_ms // 1000)
        match verdict.answer:
            case Answer.REQUESTS:
                return TooManyRequests(tenant.requests_per_min, wait_s)
            case Answer.TOKENS:
                return TooManyTokens(tenant.tokens_per_min, wait_s)
        return self._too_dear(verdict)

    def _too_dear(self, verdict: Verdict) -> BudgetSpent:
        cost = usd(self._ask.cost) if self._ask is not None else "more"
        left = usd(max(0, verdict.money_left))
        advice = "ask for less with max_tokens, or wait for what is under way" if verdict.money_left > 0 else "ask for a larger one"
        return BudgetSpent(f"This request may cost up to {cost}, and {left} of your budget is free: {advice}.")

    def _refuse(self, relay: Comer, error: RouterError) -> None:
        self._gate.refused(self.name, type(error))
        relay.fail(error)

    # when it is over

    def settle(self, facts: Answered) -> None:
        """Gives back what was set aside, and counts what was used."""
        if facts.cost_nano:
            self._gate.spent(facts)
        ask, slot = self._ask, self._slot
        self._relay = None
        if ask is None or slot is None:
            return
        self._slot = None
        counts = ask.tokens_limit > 0 and slot >= 0
        tokens = facts.input_tokens + facts.output_tokens if counts else 0
        held_tokens, held_cost = (ask.tokens if counts else 0, ask.cost) if slot >= 0 else (0, 0)
        self._gate.books.settle(Settle(ask.tenant, ask.period, slot, held_tokens, tokens, held_cost, facts.cost_nano if ask.cost else 0))
