"""What has changed in a router since the last look, as log lines: its replicas, their breakers, and what it depends on.

It looks at the state twice a second instead of being told, so that nothing on the way of a request writes a log. What comes and goes
between two looks is not said; metrics count it. `view` and `changes` are pure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from router.plane import DataPlane
from router.replicas.breaker import State
from router.replicas.replica import Replica

log = logging.getLogger(__name__)

_LOOK_S = 0.5

Named = tuple[str, str]


@dataclass(frozen=True, slots=True)
class View:
    """`endpoints`, `ejected`, `providers`: (name, allocation id). `cold`: models that should have a warm replica and have none."""

    consul_is_lost: bool = False
    redis_is_away: bool = False
    endpoints_are_kept: bool = False
    endpoints: frozenset[Named] = frozenset()
    ejected: frozenset[Named] = frozenset()
    providers: frozenset[Named] = frozenset()
    cold: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Change:
    level: int
    event: str
    message: str
    model: str | None = None


def view(plane: DataPlane, *, redis_is_away: bool) -> View:
    replicas, providers = plane.replicas(), tuple(plane.providers.values())
    return View(
        plane.feed.lost_since is not None,
        redis_is_away,
        plane.feed.kept_since is not None,
        frozenset(_named(replica) for replica in replicas),
        frozenset(_named(replica) for replica in (*replicas, *providers) if replica.breaker.state is not State.CLOSED),
        frozenset(map(_named, providers)),
        frozenset(plane.cold_since),
    )


def changes(before: View, after: View) -> Iterator[Change]:
    yield from _services(before, after)
    for model, alloc in sorted(after.endpoints - before.endpoints):
        yield Change(logging.INFO, "endpoint_warm", f"{model} {alloc} is passing", model)
    for model, alloc in sorted(before.endpoints - after.endpoints):
        yield Change(logging.INFO, "endpoint_gone", f"{model} {alloc} is no longer passing", model)
    for model, alloc in sorted(after.ejected - before.ejected):
        yield Change(logging.WARNING, "breaker_opened", f"{model} {alloc} failed too often and rests", model)
    for model, alloc in sorted((before.ejected - after.ejected) & (after.endpoints | after.providers)):
        yield Change(logging.INFO, "breaker_closed", f"{model} {alloc} answers again", model)
    for model in sorted(after.cold - before.cold):
        yield Change(logging.WARNING, "model_cold", f"{model} has no warm replica", model)
    for model in sorted(before.cold - after.cold):
        yield Change(logging.INFO, "model_warm", f"{model} has a warm replica again", model)


def _services(before: View, after: View) -> Iterator[Change]:
    rows = (
        (
            before.consul_is_lost,
            after.consul_is_lost,
            "consul",
            "Consul does not answer; what it said last holds",
            "Consul answers again",
        ),
        (before.redis_is_away, after.redis_is_away, "redis", "Redis does not answer; sessions are local", "Redis answers again"),
        (
            before.endpoints_are_kept,
            after.endpoints_are_kept,
            "kept_endpoints",
            "Consul came back without replicas that it knew; they are kept for a while",
            "no replica is kept any more that Consul does not name",
        ),
    )
    for was, is_now, what, gone, back in rows:
        if is_now and not was:
            yield Change(logging.WARNING, f"{what}_lost" if what != "kept_endpoints" else what, gone)
        elif was and not is_now:
            yield Change(logging.INFO, f"{what}_back" if what != "kept_endpoints" else f"{what}_over", back)


async def write_forever(plane: DataPlane, redis_is_away: Callable[[], bool]) -> None:
    before = View()
    while True:
        await asyncio.sleep(_LOOK_S)
        after = view(plane, redis_is_away=redis_is_away())
        for change in changes(before, after):
            log.log(change.level, change.message, extra={"event": change.event, "model": change.model})
        before = after


def _named(replica: Replica) -> Named:
    return replica.model, replica.endpoint.alloc_id
