"""A number of GPUs shared by all models: who may ask for how many replicas.

    1. what each model must have: replicas.min, and all it has where its votes forbid to go down
    2. the rest by priority, highest first; among equals one replica at a time, so that none starves
    3. nobody grows on GPUs that another still holds: growth is limited to what is free now, by priority again

So a model of high priority takes from one of low priority by waiting until the other has drained and gone. What must be is given
even beyond the budget; then nothing grows. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Wish:
    """`gpus` of one replica; counts are replicas. `must`: what is not taken away, at most `wanted`."""

    gpus: int
    priority: int
    must: int
    current: int
    wanted: int


def shares(wishes: Sequence[Wish], budget: int) -> tuple[int, ...]:
    """Replicas that each may ask for in this pass, at most what it wants."""
    return _on_free(wishes, _fair(wishes, budget), budget)


def _fair(wishes: Sequence[Wish], budget: int) -> list[int]:
    given = [wish.must if wish.gpus else wish.wanted for wish in wishes]
    room = budget - sum(count * wish.gpus for count, wish in zip(given, wishes, strict=True))
    for _, equals in groupby(_by_priority(wishes), key=lambda index: wishes[index].priority):
        room = _dealt(wishes, list(equals), given, room)
    return given


def _dealt(wishes: Sequence[Wish], equals: list[int], given: list[int], room: int) -> int:
    """Deals replicas round by round to the smallest first; what no longer fits steps out. Returns: what is left of `room`."""
    waiting = equals
    while waiting:
        waiting = [index for index in waiting if given[index] < wishes[index].wanted and wishes[index].gpus <= room]
        if waiting:
            least = min(waiting, key=lambda index: given[index])
            given[least] += 1
            room -= wishes[least].gpus
    return room


def _on_free(wishes: Sequence[Wish], fair: list[int], budget: int) -> tuple[int, ...]:
    stands = [max(wish.current, wish.must) for wish in wishes]
    free = budget - sum(count * wish.gpus for count, wish in zip(stands, wishes, strict=True))
    granted = list(fair)
    for index in _by_priority(wishes):
        wish = wishes[index]
        if wish.gpus and fair[index] > stands[index]:
            grown = max(0, min(fair[index] - stands[index], free // wish.gpus))
            granted[index] = stands[index] + grown
            free -= grown * wish.gpus
    return tuple(granted)


def _by_priority(wishes: Sequence[Wish]) -> list[int]:
    return sorted(range(len(wishes)), key=lambda index: -wishes[index].priority)
