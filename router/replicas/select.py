"""Which replica serves a request: one pure, synchronous call.

Law: along the chain, model by model: the session's home if it is there and has room, else the one of two random replicas with fewer
requests (power of two choices), else the next model. Requests: ours in flight, and those that the engine says wait in it. Room: the
breaker lets the request through, and a replica that is still starting slowly has fewer requests than its limit. A replica is tried once
per request, and a model at most three times, so that a model whose replicas all fall does not use up the attempts of the next one.
It looks at two replicas however many there are, and at all of them only where most have no room. It reads the candidates and changes
nothing: starting a probe is the caller's step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from router.replicas.breaker import CLEAN, Breaker, State, allows

TRIES_PER_MODEL = 3
_DRAWS = 8

Reason = Literal["home", "prefix", "least", "failover", "fallback"]


class Candidate(Protocol):
    """A warm replica as the selection sees it."""

    @property
    def model(self) -> str: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def queued(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def breaker(self) -> Breaker: ...


C = TypeVar("C", bound=Candidate)


class Choice(NamedTuple, Generic[C]):
    """`probe`: the breaker is open and this is its one trial."""

    replica: C
    reason: Reason
    probe: bool


class NoCandidate(NamedTuple):
    """`cold`: no warm replica in the chain. `ejected`: there are some, but their breakers are open. `full`: some of them start slowly
    and have no room yet. `tried`: all have been tried."""

    why: Literal["cold", "ejected", "full", "tried"]


def select(  # noqa: PLR0917 - by place on the hot path, because that costs least
    chain: Sequence[str],
    warm: Mapping[str, Sequence[C]],
    home: C | None,
    tried: Sequence[C],
    now: float,
    random: Callable[[], float],
    at_home: Reason = "home",
) -> Choice[C] | NoCandidate:
    """The replica for the next attempt of a request.

    Args:
        chain: models in order of preference.
        warm: passing replicas that are not draining, by model.
        home: the session's replica, if it is still warm, or the one whose prefix cache has the request's beginning.
        at_home: the reason to give for the home.
        tried: replicas that have failed this request.
        random: uniform in [0, 1).
    """
    for model in chain:
        if tried and sum(replica.model == model for replica in tried) >= TRIES_PER_MODEL:
            continue
        if home is not None and home.model == model and _usable(home, tried, now):
            return Choice(home, at_home, home.breaker is not CLEAN and home.breaker.state is State.OPEN)
        picked = _least_of_two(warm.get(model, ()), tried, now, random)
        if picked is not None:
            probe = picked.breaker is not CLEAN and picked.breaker.state is State.OPEN
            return Choice(picked, _reason(model, chain, tried), probe)
    return NoCandidate(_why(chain, warm, tried, now))


def _least_of_two(replicas: Sequence[C], tried: Sequence[C], now: float, random: Callable[[], float]) -> C | None:
    count = len(replicas)
    if not count:
        return None
    at = int(random() * count)
    first, second = replicas[at], replicas[(at + 1 + int(random() * (count - 1))) % count]
    if (
        tried
        or first.breaker is not CLEAN
        or second.breaker is not CLEAN
        or first.in_flight >= first.limit
        or second.in_flight >= second.limit
    ):
        return _least_of_usable(replicas, tried, now, random)
    return second if second.in_flight + second.queued < first.in_flight + first.queued else first


def _least_of_usable(replicas: Sequence[C], tried: Sequence[C], now: float, random: Callable[[], float]) -> C | None:
    found = _drawn(replicas, tried, now, random) if len(replicas) > _DRAWS else []
    if len(found) < 2:
        found = [replica for replica in replicas if _usable(replica, tried, now)]
        found = [found.pop(int(random() * len(found))) for _ in range(min(2, len(found)))]
    return min(found, key=lambda replica: replica.in_flight + replica.queued, default=None)


def _drawn(replicas: Sequence[C], tried: Sequence[C], now: float, random: Callable[[], float]) -> list[C]:
    """Two usable ones, if a few draws find them."""
    found: list[C] = []
    for _ in range(_DRAWS):
        replica = replicas[int(random() * len(replicas))]
        if replica not in found and _usable(replica, tried, now):
            found.append(replica)
            if len(found) == 2:
                break
    return found


def _usable(replica: C, tried: Sequence[C], now: float) -> bool:
    if replica in tried or replica.in_flight >= replica.limit:
        return False
    return replica.breaker is CLEAN or allows(replica.breaker, now)


def _reason(model: str, chain: Sequence[str], tried: Sequence[C]) -> Reason:
    if model != chain[0]:
        return "fallback"
    return "failover" if tried else "least"


def _why(
    chain: Sequence[str], warm: Mapping[str, Sequence[C]], tried: Sequence[C], now: float
) -> Literal["cold", "ejected", "full", "tried"]:
    if tried:
        return "tried"
    there = [replica for model in chain for replica in warm.get(model, ())]
    if any(replica.breaker is CLEAN or allows(replica.breaker, now) for replica in there):
        return "full"
    return "ejected" if there else "cold"
