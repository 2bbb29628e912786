"""What load levels change for new sessions: the first model of the chain, while it is not overloaded, else the next that is not.

    level of the first model     a new session starts on
    low, medium, unknown         the first
    high                         the next model of the chain that is low or medium: small and large are mixed
    failure                      the same: a smaller model, or an alternative

Sessions that have begun keep their model; where no model is better off, the first is as good as any. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fleet.state import ModelState

_STRAINED: Final = ("high", "failure")


def is_strained(model: str, states: Mapping[str, ModelState]) -> bool:
    state = states.get(model)
    return state is not None and state.level in _STRAINED


def start_on(chain: Sequence[str], states: Mapping[str, ModelState]) -> str:
    """The model of the chain with which a new session begins."""
    return next((model for model in chain if not is_strained(model, states)), chain[0])
