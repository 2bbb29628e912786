"""Where a request was tried before it was given up, as a sentence for its caller: models and providers by name, with the cause. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from router.errors import RouterError


class Named(Protocol):
    @property
    def model(self) -> str: ...


def told(error: RouterError, tried: Sequence[Named], moves: str) -> RouterError:
    """The same error with the list of attempts, if there was more than one. `moves`: the cause of each, parted by commas, in order."""
    if len(tried) > 1:
        places = (f"{place.model} ({why})" for place, why in zip(tried, moves.split(","), strict=False))
        error.args = (f"{error} Tried: {', '.join(places)}.",)
    return error
