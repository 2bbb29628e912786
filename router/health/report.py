"""What the router says of itself: whether it has ever seen Consul, what is degraded and since when, and what is warm. Pure.

starting    never seen Consul: not ready
ok          everything is as it should be
degraded    it serves, and says what is missing: consul, redis, kept_endpoints (Consul came back empty), no_replicas of a model,
            provider_missing (no key for it), simulated_failure (of a model or provider: an operator ordered it)
stopping    it was asked to stop: not ready for anything new, finishing what it has
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from router.plane import DataPlane

Status = Literal["ok", "degraded", "starting", "stopping"]
_WORST_FIRST: tuple[Status, ...] = ("stopping", "starting", "degraded", "ok")


@dataclass(frozen=True, slots=True)
class Degraded:
    """`since`: seconds since the epoch. `model`: or provider, for the last three."""

    what: Literal["consul", "redis", "kept_endpoints", "no_replicas", "provider_missing", "simulated_failure"]
    since: float
    age_s: float
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Workers:
    alive: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Health:
    """`models`: warm replicas by model. `snapshot_age_s`: since Consul last answered. `live` needs no more than this answer."""

    status: Status
    degraded: tuple[Degraded, ...] = ()
    models: dict[str, int] | None = None
    snapshot_age_s: float | None = None
    ready: bool = False
    live: bool = True
    description: str = ""
    """Digest of the fleet's description that is in force."""
    workers: Workers = Workers(1, 1)


def health(plane: DataPlane, redis_away_since: float | None) -> Health:
    """`redis_away_since`: monotonic seconds; None: it answers, or there is none."""
    now, seen_at = plane.clock(), plane.feed.seen_at
    if seen_at is None:
        return Health("stopping" if plane.is_leaving else "starting", description=plane.description)
    degraded = tuple(_degraded(plane, now, redis_away_since))
    status: Status = "stopping" if plane.is_leaving else "degraded" if degraded else "ok"
    models = {model: len(plane.warm.get(model, ())) for model in plane.catalogue.models}
    return Health(status, degraded, models, round(now - seen_at, 3), not plane.is_leaving, description=plane.description)


def _degraded(plane: DataPlane, now: float, redis_away_since: float | None) -> Iterator[Degraded]:
    wall = plane.wall()

    def since(moment: float) -> tuple[float, float]:
        return round(wall - (now - moment), 3), round(now - moment, 3)

    if plane.feed.lost_since is not None:
        yield Degraded("consul", *since(plane.feed.lost_since))
    if redis_away_since is not None:
        yield Degraded("redis", *since(redis_away_since))
    if plane.feed.kept_since is not None:
        yield Degraded("kept_endpoints", *since(plane.feed.kept_since))
    for model, moment in plane.cold_since.items():
        yield Degraded("no_replicas", *since(moment), model)
    for name in plane.catalogue.providers.keys() - plane.providers.keys():
        yield Degraded("provider_missing", *since(plane.began), name)
    for name, moment in plane.simulated.items():
        yield Degraded("simulated_failure", *since(moment), name)


def together(workers: tuple[Health, ...], wanted: int) -> Health:
    """One health of several workers': the worst status, every trouble since it was first seen, what the least informed has warm."""
    if not workers:
        return Health("starting", workers=Workers(0, wanted))
    troubles: dict[tuple[str, str | None], Degraded] = {}
    for trouble in (trouble for worker in workers for trouble in worker.degraded):
        key = (trouble.what, trouble.model)
        troubles[key] = min(troubles.get(key, trouble), trouble, key=lambda t: t.since)
    seen = [worker for worker in workers if worker.models is not None]
    return Health(
        min((worker.status for worker in workers), key=_WORST_FIRST.index),
        tuple(troubles.values()),
        {model: min((w.models or {}).get(model, 0) for w in seen) for model in seen[0].models or {}} if seen else None,
        max((w.snapshot_age_s for w in seen if w.snapshot_age_s is not None), default=None),
        all(worker.ready for worker in workers),
        description=workers[0].description,
        workers=Workers(len(workers), wanted),
    )
