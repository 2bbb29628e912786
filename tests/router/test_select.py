from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.replicas.breaker import CLEAN, Breaker, State
from router.replicas.ramp import NO_LIMIT
from router.replicas.select import TRIES_PER_MODEL, Choice, NoCandidate, select

OPEN = Breaker(State.OPEN, 3, 160.0)
HALF = Breaker(State.HALF_OPEN)


@dataclass(frozen=True)
class Fake:
    name: str
    model: str = "large"
    in_flight: int = 0
    breaker: Breaker = CLEAN
    limit: int = NO_LIMIT
    queued: int = 0


def pick(
    *replicas: Fake, chain: tuple[str, ...] = ("large", "small"), home: Fake | None = None, tried: tuple[Fake, ...] = (), now: float = 100.0
) -> Choice[Fake] | NoCandidate:
    warm: dict[str, list[Fake]] = {}
    for replica in replicas:
        warm.setdefault(replica.model, []).append(replica)
    return select(chain, warm, home=home, tried=tried, now=now, random=random.Random(1).random)


A, B, S = Fake("a"), Fake("b", in_flight=5), Fake("s", "small")
OUT, DUE, PROBED = Fake("out", breaker=OPEN), Fake("due", breaker=Breaker(State.OPEN, 3, 99.0)), Fake("probed", breaker=HALF)

TABLE = [
    ("home first, however busy", pick(A, B, home=B), Choice(B, "home", False)),
    ("less busy of two", pick(A, B), Choice(A, "least", False)),
    ("what waits in an engine counts as much as what is in flight", pick(Fake("q", queued=6), B), Choice(B, "least", False)),
    (
        "home first, however long its queue",
        pick(A, Fake("q", queued=9), home=Fake("q", queued=9)),
        Choice(Fake("q", queued=9), "home", False),
    ),
    ("home that is ejected is left", pick(OUT, A, home=OUT), Choice(A, "least", False)),
    ("home that has failed this request is left", pick(A, B, home=B, tried=(B,)), Choice(A, "failover", False)),
    ("home whose rest is over is the probe", pick(DUE, home=DUE), Choice(DUE, "home", True)),
    ("home under probe is closed to its own sessions too", pick(PROBED, A, home=PROBED), Choice(A, "least", False)),
    ("home of another model waits for its model's turn", pick(A, S, home=S), Choice(A, "least", False)),
    ("home of the next model, when the first is cold", pick(S, home=S), Choice(S, "home", False)),
    ("next model when the first is ejected", pick(OUT, S), Choice(S, "fallback", False)),
    ("nothing warm", pick(), NoCandidate("cold")),
    ("only ejected", pick(OUT, PROBED), NoCandidate("ejected")),
    ("all tried", pick(A, tried=(A,)), NoCandidate("tried")),
    ("a model outside the chain is nothing", pick(S, chain=("large",)), NoCandidate("cold")),
]


@pytest.mark.parametrize(("name", "found", "wanted"), TABLE)
def test_the_table(name: str, found: Choice[Fake] | NoCandidate, wanted: Choice[Fake] | NoCandidate) -> None:
    assert found == wanted


def test_a_model_with_many_dead_replicas_leaves_tries_for_the_next() -> None:
    dead = tuple(Fake(f"d{n}") for n in range(TRIES_PER_MODEL + 3))
    assert pick(*dead, S, tried=dead[:TRIES_PER_MODEL]) == Choice(S, "fallback", False)


breakers = st.sampled_from([CLEAN, OPEN, HALF, Breaker(State.CLOSED, 2), Breaker(State.OPEN, 3, 50.0)])
fakes = st.lists(
    st.builds(Fake, st.uuids().map(str), st.sampled_from(["large", "small", "else"]), st.integers(0, 9), breakers),
    max_size=8,
)


@given(fakes, st.data(), st.floats(0, 200))
def test_only_usable_replicas_of_the_chain_are_chosen_and_one_is_if_there_is_one(
    replicas: list[Fake], data: st.DataObject, now: float
) -> None:
    tried = tuple(data.draw(st.lists(st.sampled_from(replicas), unique=True, max_size=2))) if replicas else ()
    home = data.draw(st.sampled_from(replicas)) if replicas else None
    warm = {m: [r for r in replicas if r.model == m] for m in ("large", "small", "else")}
    found = select(("large", "small"), warm, home=home, tried=tried, now=now, random=lambda: data.draw(st.floats(0, 0.999)))
    usable = [
        r
        for r in replicas
        if r.model != "else"
        and r not in tried
        and (r.breaker.state is State.CLOSED or (r.breaker.state is State.OPEN and now >= r.breaker.open_until))
    ]
    if not usable:
        assert isinstance(found, NoCandidate)
    else:
        assert isinstance(found, Choice)
        assert found.replica in usable
        assert found.replica.model == ("large" if any(r.model == "large" for r in usable) else "small")
        assert found.probe == (found.replica.breaker.state is State.OPEN)


def test_two_choices_spread_the_load() -> None:
    dice = random.Random(7)
    load = {f"r{n}": 0 for n in range(10)}
    for _ in range(2000):
        now = {"large": [Fake(name, in_flight=count) for name, count in load.items()]}
        found = select(("large",), now, home=None, tried=(), now=0.0, random=dice.random)
        assert isinstance(found, Choice)
        load[found.replica.name] += 1
    assert max(load.values()) - min(load.values()) <= 8
