"""Where a request was tried before it was given up, as a sentence for its caller: models and providers by name, with the cause. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from router.errors import RouterError, UpstreamError

# The causes as x-route and metrics name them, for people. One that is not here is told as it is.
_WORDS: Final[Mapping[str, str]] = {
    "answer": "too slow",
    "busy": "at its limit",
    "connect": "not reachable",
    "connection": "its connection broke",
    "empty": "a stream without content",
    "error_event": "an error in its stream",
    "first_token": "too slow to begin",
    "idle": "fell silent",
    "malformed": "an answer that cannot be read",
    "refused": "refuses this router",
    "simulated": "a simulated failure",
    "status": "an error",
}
_NEXT: Final = "Try again; if it stays so, tell who runs this the x-request-id."


class Named(Protocol):
    @property
    def model(self) -> str: ...


def told(error: RouterError, tried: Sequence[Named], moves: str) -> RouterError:
    """The same error with the list of attempts, if there was more than one. `moves`: the cause of each, parted by commas, in order."""
    said = [str(error)]
    if len(tried) > 1:
        places = (f"{place.model} ({_WORDS.get(why, why)})" for place, why in zip(tried, moves.split(","), strict=False))
        said.append(f"Tried: {', '.join(places)}.")
    if isinstance(error, UpstreamError):
        said.append(_NEXT)
    error.args = (" ".join(said),)
    return error
