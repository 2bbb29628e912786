"""A worker's slice of a tenant's limits, by itself: what it grants, what it tells, what it does with what it hears."""

from __future__ import annotations

from typing import Any

import pytest

from router.lending.demand import NOTHING, Amounts, Demand
from router.lending.lease import Lease
from router.lending.rows import UNLIMITED, Answer, Ask, Lent, Settle

LENT = Lent(
    slot=7,
    valid_ms=4000,
    is_kept=True,
    requests=10,
    tokens=1000,
    money=500,
    requests_left=50,
    tokens_left=5000,
    money_left=2000,
    is_tight=False,
)
ASK = Ask("t", "life", 100, 10_000, 100, 10_000, 50)


def lent(**more: Any) -> Lent:
    return Lent(**{name: getattr(LENT, name) for name in LENT.__struct_fields__} | more)


def live(ask: Ask = ASK, answer: Lent = LENT) -> Lease:
    """A slice that Redis has just lent to somebody who asks a lot; at the time 0."""
    lease = Lease("t", "life")
    lease.demand.requests, lease.demand.tokens, lease.demand.money = 10, 1000, 500
    lease.tell(0.0, ask)
    lease.hear(answer, 0.0)
    return lease


def settle(lease: Lease, ask: Ask = ASK, *, slot: int = 7, cost: int = 0, tokens: int | None = None) -> None:
    lease.settle(Settle("t", "life", slot, ask.tokens, ask.tokens if tokens is None else tokens, ask.cost, cost))


# granting


def test_nothing_is_granted_before_redis_has_answered() -> None:
    lease = Lease("t", "life")
    assert not lease.take(ASK, 0.0)
    lease.tell(0.0, ASK)
    assert not lease.take(ASK, 0.0)
    lease.hear(LENT, 0.0)
    assert lease.take(ASK, 0.0)


@pytest.mark.parametrize(
    ("change", "now"),
    [
        ({"cost": 501}, 0.0),
        ({"tokens": 1001}, 0.0),
        ({}, 4.0),
        ({"budget": 9_999}, 0.0),
        ({"requests": 99}, 0.0),
        ({"tokens_limit": 9_999}, 0.0),
    ],
    ids=["money", "tokens", "after its slot", "another budget", "another limit of requests", "another limit of tokens"],
)
def test_what_a_slice_cannot_bear_redis_decides(change: dict[str, int], now: float) -> None:
    lease = live()
    assert not lease.take(ASK._replace(**change), now)
    assert lease.take(ASK, 3.9)


def test_while_a_limit_is_tight_redis_decides_also_about_what_answers_gave_back() -> None:
    lease = live()
    assert lease.take(ASK, 0.0)
    lease.tell(0.0, ASK)
    lease.hear(lent(money=0, is_tight=True), 0.0)
    settle(lease, cost=0)
    assert lease.money == ASK.cost
    assert not lease.take(ASK, 0.0)


def test_a_slice_of_requests_ends() -> None:
    lease = live(answer=lent(requests=2))
    assert [lease.take(ASK, 0.0) for _ in range(3)] == [True, True, False]


def test_what_has_no_limit_does_not_run_out() -> None:
    ask = Ask("t", "life", 0, 0, 0, 10_000, 5)
    lease = live(ask, lent(requests=0, tokens=0))
    assert [lease.take(ask, 1e9) for _ in range(101)] == [True] * 100 + [False], "500 of money are all that limits it"


def test_what_an_answer_did_not_use_is_granted_again() -> None:
    ask = ASK._replace(cost=500)
    lease = live()
    assert lease.take(ask, 0.0)
    assert not lease.take(ASK, 0.0)
    settle(lease, ask, cost=20)
    assert (lease.money, lease.granted, lease.spent) == (480, 0, 20)
    assert lease.take(ASK, 0.0)


def test_a_verdict_says_what_is_left_anywhere() -> None:
    lease = live()
    assert lease.take(ASK, 0.0)
    verdict = lease.verdict()
    assert (verdict.answer, verdict.slot) == (Answer.GRANTED, 7)
    assert (verdict.requests_left, verdict.tokens_left, verdict.money_left) == (59, 5900, 2450)


# what Redis is told


def test_an_ask_that_redis_decides_brings_the_whole_slice_back() -> None:
    lease = live()
    told = lease.tell(0.0, ASK)
    assert (told.back_requests, told.back_tokens, told.kept_money, told.holding) == (10, 1000, 0, 0)
    assert (told.more_requests, told.more_tokens, told.more_money) == (20, 2000, 1000), "twice what was asked for"


def test_a_renewal_keeps_what_is_there_and_tells_what_was_spent() -> None:
    lease = live()
    assert lease.take(ASK, 0.0)
    assert lease.take(ASK, 0.0)
    settle(lease, cost=30)
    told = lease.tell(0.0)
    assert (told.spent, told.kept_money, told.holding) == (30, 420, 470)
    assert (told.back_requests, told.kept_requests, told.more_requests) == (0, 8, 12)
    assert lease.tell(0.0).spent == 0, "once"


def test_who_was_let_in_without_a_grant_is_counted_and_frees_nothing() -> None:
    lease = live()
    settle(lease, slot=-1, cost=30)
    told = lease.tell(0.0)
    assert (told.spent, told.holding, lease.open) == (30, 500, 0)


@pytest.mark.parametrize("how", ["nobody asks", "it is tight", "its slot is over"])
def test_a_slice_goes_back(how: str) -> None:
    lease = live(answer=lent(is_tight=how == "it is tight"))
    for _ in range(2 * (how == "nobody asks")):
        lease.demand.turn()
    told = lease.tell(4.0 if how == "its slot is over" else 0.0)
    assert (told.back_requests, told.back_tokens) == (10, 1000)
    assert told.kept_money == (500 if how == "its slot is over" else 0), "money has no slot"


@pytest.mark.parametrize(
    ("slot", "tokens", "in_slice", "told"),
    [(7, 40, 960, []), (7, 160, 840, []), (6, 40, 900, [(6, -60)]), (6, 160, 840, []), (7, 2000, 900, [(7, 1900)])],
    ids=["fewer", "more", "fewer, of an old slot", "more, of an old slot", "more than the slice has"],
)
def test_tokens_that_were_guessed_wrong_are_put_right(slot: int, tokens: int, in_slice: int, told: list[tuple[int, int]]) -> None:
    lease = live()
    assert lease.take(ASK, 0.0)
    settle(lease, slot=slot, tokens=tokens)
    assert (lease.tokens, lease.tell(0.0).corrections) == (in_slice, told)


def test_while_an_answer_is_on_its_way_tokens_stay_in_their_slot() -> None:
    lease = live()
    assert lease.take(ASK, 0.0)
    lease.tell(0.0)
    settle(lease, tokens=40)
    lease.hear(lent(slot=8), 0.0)
    assert lease.tell(0.0).corrections == [(7, -60)]


# what Redis says


def test_what_redis_no_longer_counts_is_not_granted() -> None:
    lease = live()
    lease.tell(0.0)
    lease.hear(lent(is_kept=False, requests=3), 0.0)
    assert lease.requests == 3


def test_an_answer_that_was_long_on_its_way_counts_from_when_it_was_asked() -> None:
    lease = Lease("t", "life")
    lease.tell(10.0, ASK)
    lease.hear(LENT, 10.0)
    assert lease.take(ASK, 13.9)
    assert not lease.take(ASK, 14.0)


def test_money_only_moves_within_what_redis_has_set_aside() -> None:
    lease = live()
    lease.hold(ASK)
    assert lease.take(ASK, 0.0)
    settle(lease, cost=17)
    settle(lease, cost=50)
    assert lease.money + lease.granted + lease.spent == 500 + ASK.cost


def test_a_lease_without_anything_can_be_forgotten() -> None:
    lease = live()
    assert not lease.is_blank
    lease.demand.forget()
    lease.tell(0.0)
    assert not lease.is_blank, "an answer is on its way"
    lease.hear(lent(requests=0, tokens=0, money=0), 0.0)
    assert lease.is_blank


# how large a slice should be


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ([], NOTHING),
        ([(3, 30, 300)], NOTHING),
        ([(2, 20, 200), (2, 20, 200)], Amounts(4, 40, 400)),
        ([(100, 1000, 10), (1, 10, 1000)], Amounts(200, 2000, 2000)),
        ([(100, 1000, 10), (0, 0, 0), (1, 10, 10)], NOTHING),
    ],
)
def test_a_slice_is_twice_the_busier_one_of_two_ticks(ticks: list[tuple[int, int, int]], expected: Amounts) -> None:
    demand = Demand()
    for requests, tokens, money in ticks:
        demand.turn()
        demand.requests, demand.tokens, demand.money = requests, tokens, money
    assert demand.slice == expected


def test_a_tenant_without_a_budget_has_no_money_in_its_slice() -> None:
    ask = Ask("t", "life", 100, 0, 0, UNLIMITED, 0)
    lease = live(ask, lent(tokens=0, money=0))
    assert lease.take(ask, 0.0)
    assert lease.tell(0.0).holding == 0
