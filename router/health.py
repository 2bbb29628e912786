"""What the router says of itself: whether it has ever seen Consul, what is degraded and since when, and what is warm. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from router.plane import DataPlane


@dataclass(frozen=True, slots=True)
class Degraded:
    """`since`: seconds since the epoch."""

    what: Literal["consul", "redis"]
    since: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Health:
    """`models`: warm replicas by model. `snapshot_age_s`: since Consul last answered."""

    status: Literal["ok", "degraded", "starting"]
    degraded: tuple[Degraded, ...] = ()
    models: dict[str, int] | None = None
    snapshot_age_s: float | None = None


def health(plane: DataPlane, redis_away_since: float | None) -> Health:
    """`redis_away_since`: monotonic seconds; None: it answers, or there is none."""
    now, seen_at = plane.clock(), plane.feed.seen_at
    if seen_at is None:
        return Health("starting")
    troubles = (("consul", plane.feed.lost_since), ("redis", redis_away_since))
    degraded = tuple(_degraded(what, now - since, plane.wall()) for what, since in troubles if since is not None)
    models = {model: len(plane.warm.get(model, ())) for model in plane.catalogue.models}
    return Health("degraded" if degraded else "ok", degraded, models, round(now - seen_at, 3))


def _degraded(what: str, age_s: float, wall: float) -> Degraded:
    return Degraded("consul" if what == "consul" else "redis", round(wall - age_s, 3), round(age_s, 3))
