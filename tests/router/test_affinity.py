"""Requests that begin alike share a replica, as long as it is not busier than others; and selection is flat in the number of replicas."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.replicas.affinity import PREFIX_BYTES, Shares, share_of
from router.replicas.breaker import CLEAN, Breaker, State
from router.replicas.ramp import NO_LIMIT
from router.replicas.select import Choice, select


@dataclass
class Spot:
    seed: int
    in_flight: int = 0
    model: str = "m"
    breaker: Breaker = CLEAN
    limit: int = NO_LIMIT
    queued: int = 0


def body(system: str, question: str, **more: Any) -> bytes:
    said = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return json.dumps({"model": "m", **more, "messages": said}).encode()


def test_what_begins_alike_has_one_share_whatever_stands_around_it() -> None:
    document = "a long document " * 100
    one = share_of(body(document, "What?", temperature=0.1, user="a"))
    assert one == share_of(body(document, "Why?", temperature=0.9))
    assert len({share_of(body(f"{n} {document}", "What?")) for n in range(50)}) > 40
    assert share_of(json.dumps({"model": "m", "prompt": document}).encode()) is not None
    assert share_of(json.dumps({"model": "m", "input": document}).encode()) is not None


@pytest.mark.parametrize("strange", [b"", b"{}", b'{"model":"m"}', b'{"model":"a \\"messages\\" b"}', b" " * 20_000 + b'"messages"'])
def test_a_body_without_a_beginning_has_no_share(strange: bytes) -> None:
    assert share_of(strange) is None


def test_only_the_beginning_counts() -> None:
    document = "x" * PREFIX_BYTES
    assert share_of(body(document + "a", "?")) == share_of(body(document + "b", "?"))


@given(st.integers(2, 40), st.lists(st.integers(0, 1023), min_size=1, max_size=300))
def test_no_replica_gets_much_more_than_the_others(count: int, shares: list[int]) -> None:
    spots = [Spot(seed) for seed in range(1000, 1000 + count)]
    table = Shares(spots)
    for total, share in enumerate(shares):
        found = table.near(share, total) or min(spots, key=lambda spot: spot.in_flight)
        found.in_flight += 1
        assert found.in_flight <= max(1, -(-5 * (total + 1) // (4 * count)))


@given(st.integers(3, 30), st.data())
def test_a_replica_that_goes_moves_only_what_it_had(count: int, data: st.DataObject) -> None:
    seeds = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=count, max_size=count, unique=True))
    spots = [Spot(seed) for seed in seeds]
    before, after = Shares(spots), Shares(spots[1:])
    for share in range(0, 1024, 7):
        was, now = before.near(share, 0), after.near(share, 0)
        assert was is not None
        assert now is not None
        assert was is now or was is spots[0]


def test_the_shares_are_spread_evenly() -> None:
    spots = [Spot(random.Random(n).getrandbits(32)) for n in range(8)]
    table = Shares(spots)
    won = Counter(spot.seed for share in range(1024) if (spot := table.near(share, 0)) is not None)
    assert min(won.values()) > 80, "the mean is 128"
    gone = [
        spots.index(spot)
        for share in range(1024)
        if Shares(spots).near(share, 0) is spots[0] and (spot := Shares(spots[1:]).near(share, 0))
    ]
    assert len(set(gone)) == 7, "what one replica leaves goes to all others"


class Watched(Sequence[Spot]):
    """Replicas that count how many of them are looked at."""

    def __init__(self, spots: list[Spot]) -> None:
        self.spots, self.touched = spots, 0

    def __len__(self) -> int:
        return len(self.spots)

    @overload
    def __getitem__(self, at: int) -> Spot: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Spot]: ...
    def __getitem__(self, at: int | slice) -> Spot | Sequence[Spot]:
        self.touched += 1
        return self.spots[at]

    def __iter__(self) -> Iterator[Spot]:
        self.touched += len(self.spots)
        return iter(self.spots)


@pytest.mark.parametrize(("broken", "tried"), [(0, 0), (100, 0), (300, 2), (0, 2)])
def test_selection_looks_at_a_few_replicas_of_a_thousand(broken: int, tried: int) -> None:
    dice = random.Random(3)
    spots = [Spot(n, breaker=Breaker(State.OPEN, 3, 1e9) if n < broken else CLEAN) for n in range(1000)]
    watched = Watched(spots)
    for _ in range(200):
        found = select(("m",), {"m": watched}, home=None, tried=dice.sample(spots, tried), now=0.0, random=dice.random)
        assert isinstance(found, Choice)
    assert watched.touched / 200 <= 12


def test_a_share_is_ordered_once_for_all_requests() -> None:
    watched = Watched([Spot(n) for n in range(1000)])
    table = Shares(watched)
    first = table.near(5, 0)
    ordered = watched.touched
    assert all(table.near(5, 0) is first for _ in range(100))
    assert watched.touched == ordered


def test_a_replica_that_starts_slowly_gets_no_more_than_its_limit() -> None:
    dice = random.Random(1)
    fresh, old = Spot(1, limit=2), Spot(2, in_flight=50)
    for _ in range(40):
        found = select(("m",), {"m": (fresh, old)}, home=None, tried=(), now=0.0, random=dice.random)
        assert isinstance(found, Choice)
        found.replica.in_flight += 1
    assert (fresh.in_flight, old.in_flight) == (2, 88)
    assert not isinstance(select(("m",), {"m": (fresh,)}, home=fresh, tried=(), now=0.0, random=dice.random), Choice)
