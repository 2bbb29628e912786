"""What the autoscaler tells the routers: one document per model in Consul KV (`Names.model_state`); who leads; whether it is paused.

Written by the leading autoscaler with check-and-set, watched by every router. Times are seconds since the epoch, because
writer and readers live on different machines. Unknown fields are ignored and new ones have defaults, so that a router and an
autoscaler of neighbouring versions understand each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

Level = Literal["low", "medium", "high", "failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """A replica that is placed and not yet passing. `eta` is when it is expected to pass."""

    alloc_id: str
    since: float
    eta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Carries:
    """What one replica carries as it shows in service. The prior is kept beside it: one that was edited starts afresh."""

    concurrency: float
    requests_per_min: float
    prior_concurrency: float
    prior_requests_per_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """Capacity of one model by state. Running is not warm: `ready` counts replicas that Consul reports passing."""

    model: str
    desired: int
    placed: int
    ready: int
    loading: tuple[Loading, ...] = ()
    draining: tuple[str, ...] = ()
    """Allocation ids that get no new turns."""
    cold_start_p50_s: float
    cold_start_p90_s: float
    level: Level = "low"
    reason: str = ""
    """The sentence of the last decision."""
    updated_at: float
    cold_starts_s: tuple[float, ...] = ()
    """The last measured cold starts, oldest first, from which p50 and p90 are made: the next autoscaler goes on with them."""
    carries: Carries | None = None
    """None: nothing but fleet.toml's word so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The autoscaler that acts: its name, the address of its status pages, and since when it leads."""

    name: str
    url: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nothing is scaled while this is in Consul. `since` is 0 where it was put there by hand, as mere text."""

    by: str
    reason: str
    since: float


def decode_leader(document: bytes) -> Leader | None:
    """None: not a Leader document."""
    try:
        return msgspec.json.decode(document, type=Leader)
    except msgspec.MsgspecError:
        return None


def decode_pause(document: bytes) -> Pause:
    """Whatever stands in the key is a pause; what is no Pause document is its reason."""
    try:
        return msgspec.json.decode(document, type=Pause)
    except msgspec.MsgspecError:
        return Pause(by="somebody", reason=document.decode(errors="replace").strip() or "no reason given", since=0.0)


def encode(state: ModelState | Leader | Pause) -> bytes:
    return msgspec.json.encode(state)


def decode(document: bytes) -> ModelState:
    """Raises: ValueError: not a ModelState document."""
    try:
        return msgspec.json.decode(document, type=ModelState)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a model state: {error}") from error
