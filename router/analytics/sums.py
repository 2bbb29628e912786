"""Sums over requests: what is added up, by which key, and how two sums become one. Pure.

Of the answers only is latency added up: an average over failures would say how fast this fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import NamedTuple

from router.answered import Answered
from router.tally import UNKNOWN

HOUR_S = 3600


class Key(NamedTuple):
    """`hour`: its beginning, seconds since the epoch. `model`: the model or provider that answered, "-" where none did."""

    hour: int
    tenant: str
    route: str
    model: str


@dataclass(frozen=True, slots=True)
class Sums:
    """`failed`: requests that ended badly; `failures`: attempts at this model that did, of which a request may have had several.

    `latency_us`: of the answered ones together. Money in nanodollars.
    """

    requests: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    latency_us: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


NOTHING = Sums()


def of(facts: Answered) -> Iterator[tuple[Key, Sums]]:
    """What one request adds: its own row, and a failure for each model that it was tried at in vain."""
    hour = int(facts.time // HOUR_S) * HOUR_S
    own = Sums(
        requests=1,
        answered=int(facts.outcome == "answered"),
        refused=int(facts.outcome == "refused"),
        failed=int(facts.outcome == "failed"),
        left=int(facts.outcome == "left"),
        input_tokens=facts.input_tokens,
        output_tokens=facts.output_tokens,
        cost_nano=facts.cost_nano,
        latency_us=int(facts.latency_s * 1e6) if facts.outcome == "answered" else 0,
    )
    yield Key(hour, facts.tenant, facts.route, facts.model), own
    for model in facts.failed:
        yield Key(hour, facts.tenant, facts.route, model), Sums(failures=1)


def added(into: dict[Key, Sums], more: Iterable[tuple[Key, Sums]]) -> None:
    for key, sums in more:
        into[key] = into.get(key, NOTHING) + sums


def by(rows: Mapping[Key, Sums], field: str) -> dict[str, Sums]:
    """The rows summed over everything but one field of the key, in the order of its values."""
    found: dict[str, Sums] = {}
    for key, sums in rows.items():
        name = str(getattr(key, field))
        found[name] = found.get(name, NOTHING) + sums
    return {name: found[name] for name in sorted(found)}


def total(rows: Mapping[Key, Sums]) -> Sums:
    whole = NOTHING
    for sums in rows.values():
        whole += sums
    return whole


def named(models: Mapping[str, Sums]) -> dict[str, Sums]:
    """Without the requests that nobody answered."""
    return {name: sums for name, sums in models.items() if name != UNKNOWN}
