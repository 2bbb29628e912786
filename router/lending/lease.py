"""A worker's slice of one tenant's limits: what it may grant by itself, without asking Redis, and what it has to tell Redis of it.

             lent by Redis                take                  settle
    budget ───────────────► money (free) ─────► granted ──┬──► spent, told with the next batch
                                 ▲                        │ what an answer did not use
                                 └────────────────────────┘

Law: `money + granted + spent` is what Redis has set aside for this worker, so what all workers spend is never more than the budget: money
only moves between the three here, and Redis alone adds to them. Requests and tokens of a slice are counted by Redis from when they are
lent, in the slot of 5 s that `slot` names, and are granted until that slot ends. A slice is given back whole when nobody has asked for
two ticks, when Redis says that the limit is tight, and before Redis decides a request itself. Pure.
"""

from __future__ import annotations

import math
from typing import Final

from router.lending.demand import NOTHING, Amounts, Demand
from router.lending.rows import RESET_MS, UNLIMITED, Answer, Ask, Lent, Settle, Sync, Verdict

_TOO_MUCH: Final = 4  # slices: more than that may not gather from answers that were cheaper than thought
_BOUNDLESS: Final = 2**53


class Lease:
    """`tenant`, `period`: as in Ask. `until`: monotonic seconds. `money`, `granted`, `spent`: nanodollars. `open`: requests under way.

    `left`: what Redis has and has lent to nobody, as of its last answer. `is_tight`: that is so little that Redis decides each request.
    """

    __slots__ = (
        "_corrections",
        "_is_told",
        "_low",
        "budget",
        "demand",
        "granted",
        "is_tight",
        "is_void",
        "left",
        "money",
        "open",
        "period",
        "requests",
        "requests_limit",
        "slot",
        "spent",
        "tenant",
        "tokens",
        "tokens_limit",
        "until",
    )

    def __init__(self, tenant: str, period: str) -> None:
        self.tenant = tenant
        self.period = period
        self.requests_limit = self.tokens_limit = 0
        self.budget = UNLIMITED
        self.requests = self.tokens = self.money = self.granted = self.spent = self.open = 0
        self.slot = -1
        self.until = -math.inf
        self.left = NOTHING
        self.demand = Demand()
        self.is_tight = False
        self.is_void = True  # nothing is granted until Redis has answered
        self._is_told = False  # an answer is on its way
        self._low = NOTHING
        self._corrections: dict[int, int] = {}

    # what is asked of it

    def take(self, ask: Ask, now: float) -> bool:
        """Grants a request out of the slice. False: only Redis can say."""
        cost, tokens = ask.cost, ask.tokens
        if (
            cost > self.money
            or tokens > self.tokens
            or self.requests < 1
            or now >= self.until
            or self.is_void
            or ask.budget != self.budget
            or ask.requests != self.requests_limit
            or ask.tokens_limit != self.tokens_limit
        ):
            return False
        self.requests -= 1
        self.tokens -= tokens
        self.money -= cost
        self.granted += cost
        self.open += 1
        return True

    @property
    def is_low(self) -> bool:
        """It is time to ask for more, and nobody has."""
        low = self._low
        return not self._is_told and (self.money < low.money or self.requests < low.requests or self.tokens < low.tokens)

    def verdict(self) -> Verdict:
        """Of a request that was just granted."""
        left = self.left
        return Verdict(
            Answer.GRANTED, self.slot, left.requests + self.requests, left.tokens + self.tokens, left.money + self.money, 0, RESET_MS
        )

    def hold(self, ask: Ask) -> None:
        """Redis has granted a request."""
        self.granted += ask.cost
        self.open += 1

    def settle(self, row: Settle) -> None:
        """A request is over."""
        self.spent += row.cost
        if row.slot < 0:
            return
        held = min(row.held_cost, self.granted)
        self.granted -= held
        self.money += max(0, held - row.cost)
        self.open = max(0, self.open - 1)
        if row.tokens != row.held_tokens:
            self._correct(row.slot, row.tokens - row.held_tokens)

    def _correct(self, slot: int, by: int) -> None:
        """Tokens that were counted too few (positive) or too many in a slot. What a slice can bear, Redis need not hear of."""
        fits = self.tokens >= by if by > 0 else slot == self.slot
        if fits and not self._is_told:
            self.tokens -= by
        else:
            self._corrections[slot] = self._corrections.get(slot, 0) + by

    # what Redis is told

    @property
    def has_slice(self) -> bool:
        return self.money > 0 or (self.requests > 0 and self.requests_limit > 0) or (self.tokens > 0 and self.tokens_limit > 0)

    @property
    def is_blank(self) -> bool:
        """There is nothing to know of it."""
        return not (self.has_slice or self.open or self.granted or self.spent or self._corrections or self._is_told) and self.demand.is_none

    def tell(self, now: float, ask: Ask | None = None) -> Sync:
        """What Redis does not know yet. `ask`: one that Redis must decide, so that it gets the whole slice back first."""
        if ask is not None:
            self.requests_limit, self.tokens_limit, self.budget = ask.requests, ask.tokens_limit, ask.budget
            self.is_void = True
        wanted = self.demand.slice if ask is not None or not self.is_tight else NOTHING
        back = self._give_back(NOTHING if ask is not None else Amounts(*(_TOO_MUCH * amount for amount in wanted)), now)
        more, usual = wanted - Amounts(self.requests, self.tokens, self.money), self.demand.usual
        spent, self.spent = self.spent, 0
        corrections, self._corrections = list(self._corrections.items()), {}
        self._is_told = True
        kept = Amounts(self.requests if self.requests_limit else 0, self.tokens if self.tokens_limit else 0, self.money)
        return Sync(
            self.tenant, self.period, self.requests_limit, self.tokens_limit, self.budget, self.slot, back.requests, back.tokens,
            corrections, kept.requests, kept.tokens, kept.money, kept.money + self.granted, spent, *more, usual.tokens, usual.money,
        )  # fmt: skip

    def _give_back(self, most: Amounts, now: float) -> Amounts:
        """Cuts the slice to so much. Returns: what was above. What has no limit is always there."""
        most = most if now < self.until else Amounts(money=most.money)
        back = Amounts(self.requests, self.tokens, self.money) - most
        self.requests = self.requests - back.requests if self.requests_limit else _BOUNDLESS
        self.tokens = self.tokens - back.tokens if self.tokens_limit else _BOUNDLESS
        self.money -= back.money
        return Amounts(back.requests if self.requests_limit else 0, back.tokens if self.tokens_limit else 0, back.money)

    # what Redis says

    def hear(self, lent: Lent, sent_at: float) -> None:
        """The answer to what was told. `sent_at`: monotonic seconds; the first time, if it was sent several times."""
        self._is_told = False
        self.left = Amounts(lent.requests_left, lent.tokens_left, lent.money_left)
        self.is_tight = self.is_void = lent.is_tight  # what answers give back is not granted either: a budget may have been lowered
        if not lent.is_kept:
            self.requests = self.tokens = 0
        self.requests = self.requests + lent.requests if self.requests_limit else _BOUNDLESS
        self.tokens = self.tokens + lent.tokens if self.tokens_limit else _BOUNDLESS
        self.money += lent.money
        self.slot = lent.slot
        self.until = sent_at + lent.valid_ms / 1000 if self.requests_limit or self.tokens_limit else math.inf
        low = Amounts(self.requests // 2, self.tokens // 2, self.money // 2)
        self._low = Amounts(low.requests if self.requests_limit else 0, low.tokens if self.tokens_limit else 0, low.money)
