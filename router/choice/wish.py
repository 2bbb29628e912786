"""What a caller asks of the choice: the `x-route-strategy` header, read.

    x-route-strategy: cost
    x-route-strategy: balanced; max_cost=0.01; max_latency_ms=1500; required_quality=0.8; max_tokens=500; capability=analysis
    x-route-strategy: max_cost=0.01                      the route's own strategy, within bounds

Law: everything is bounded and nothing is guessed: an unknown word, a number that is none, or a field said twice is the caller's mistake,
named. The longer names of strategies (`cost_optimized`, `round-robin`) and of capabilities (`code`, `writing`) mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, get_args

from fleet.serving import Capability, Strategy
from router.choice.candidate import NO_BOUNDS, Bounds

FIELDS: Final = ("max_cost", "max_latency_ms", "required_quality", "max_tokens")
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
CAPABILITIES: Final[tuple[Capability, ...]] = get_args(Capability)
_LONGEST: Final = 512
_MOST_TOKENS: Final = 10_000_000
_SHORT: Final[Mapping[str, Capability]] = {"code": "code_generation", "writing": "creative_writing", "qa": "simple_qa"}
_number = re.compile(r"\d{1,9}(?:\.\d{1,12})?").fullmatch


class BadWish(ValueError):
    """`param`: the field that is wrong."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Wish:
    """None: the caller leaves it to the route, or to its words."""

    strategy: Strategy | None = None
    capability: Capability | None = None
    bounds: Bounds = NO_BOUNDS


NO_WISH: Final = Wish()


@lru_cache(maxsize=1024)  # callers say the same few things with every request
def parse(value: str) -> Wish:
    """The header's value. Raises: BadWish"""
    if len(value) > _LONGEST:
        raise BadWish(f"x-route-strategy is longer than {_LONGEST} characters", "x-route-strategy")
    said: dict[str, str] = {}
    for part in filter(None, map(str.strip, value.split(";"))):
        name, sign, text = (each.strip() for each in part.partition("="))
        name, text = (name, text) if sign else ("strategy", name)
        if not name:
            raise BadWish("a value in x-route-strategy has no name", "x-route-strategy")
        if name in said:
            raise BadWish(f"{name[:40]} stands in x-route-strategy twice", name)
        said[name] = text
    return wish(said)


def wish(said: Mapping[str, object]) -> Wish:
    """Of fields by name, as they stand in the header or in a body. What is None or empty is not said. Raises: BadWish"""
    told = {name: str(value) for name, value in said.items() if value is not None and value != ""}
    unknown = next((name for name in told if name not in ("strategy", "capability", *FIELDS)), None)
    if unknown is not None:
        raise BadWish(f"{unknown[:40]!r} is unknown; there are: strategy, capability, {', '.join(FIELDS)}", unknown[:40])
    strategy = strategy_of(told["strategy"]) if "strategy" in told else None
    capability = capability_of(told["capability"]) if "capability" in told else None
    return Wish(strategy, capability, _bounds(told))


def strategy_of(text: str) -> Strategy:
    """Raises: BadWish"""
    wanted = text.lower().replace("-", "_").removesuffix("_optimized")
    for strategy in STRATEGIES:
        if wanted == strategy:
            return strategy
    raise BadWish(f"there is no strategy {text[:40]!r}; there are: {', '.join(STRATEGIES)}", "strategy")


def capability_of(text: str) -> Capability:
    """Raises: BadWish"""
    wanted = text.lower()
    for capability in CAPABILITIES:
        if _SHORT.get(wanted, wanted) == capability:
            return capability
    raise BadWish(f"there is no capability {text[:40]!r}; there are: {', '.join(CAPABILITIES)}", "capability")


def _bounds(told: Mapping[str, str]) -> Bounds:
    found = {name: _read(name, told[name]) for name in FIELDS if name in told}
    if not found:
        return NO_BOUNDS
    quality, tokens = found.get("required_quality"), found.get("max_tokens")
    if quality is not None and quality > 1:
        raise BadWish(f"required_quality is {quality:g}; it lies between 0 and 1", "required_quality")
    if tokens is not None and (tokens != int(tokens) or not 1 <= tokens <= _MOST_TOKENS):
        raise BadWish(f"max_tokens is {tokens:g}; it is a whole number from 1 on", "max_tokens")
    return Bounds(
        max_cost=found.get("max_cost"),
        max_latency_ms=found.get("max_latency_ms"),
        required_quality=quality,
        max_tokens=None if tokens is None else int(tokens),
    )


def _read(name: str, text: str) -> float:
    if not _number(text):
        raise BadWish(f"{name} is {text[:40]!r}; it must be a plain number such as 0.01", name)
    return float(text)
