"""Keeps the data plane in step with Consul: endpoints, the autoscaler's documents, and where Redis is.

Law: a lost watch changes nothing but the age of what we know. Consul is asked by blocking queries only (fleet.consul.watch).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeVar

from fleet import state
from fleet.consul import Consul, Instance, Lost, Seen, watch
from fleet.names import Names
from fleet.state import ModelState
from router.following.grace import Grace
from router.plane import DataPlane
from router.replicas.snapshot import snapshot

log = logging.getLogger(__name__)

_FORGET_S = 1.0
T = TypeVar("T")


async def follow_endpoints(consul: Consul, names: Names, plane: DataPlane) -> None:
    """For ever: the passing replicas of all models."""
    grace = Grace()
    forgetting = asyncio.create_task(_forget(grace, plane))
    try:
        async for seen in watch(lambda index: consul.instances(names.model_service, index=index)):
            if isinstance(seen, Lost):
                if plane.feed.lost_since is None:
                    log.warning("endpoints are frozen at the last good snapshot: %s", seen.error)
                grace.lost()
                plane.lost()
            else:
                plane.heard()
                believed = grace.seen(snapshot(seen.value, seen.index), plane.clock())
                plane.feed.kept_since = grace.since
                plane.apply(believed)
    finally:
        forgetting.cancel()


async def _forget(grace: Grace, plane: DataPlane) -> None:
    while True:
        await asyncio.sleep(_FORGET_S)
        if (believed := grace.expired(plane.clock())) is not None:
            plane.feed.kept_since = None
            plane.apply(believed)


async def follow_states(consul: Consul, names: Names, plane: DataPlane) -> None:
    """For ever: the autoscaler's documents. One that cannot be read is left out, and said once."""
    bad: set[str] = set()
    async for documents in _not_wiped(watch(lambda index: consul.documents(names.model_state_prefix, index=index))):
        states, unreadable = decode_states(documents)
        for key in unreadable - bad:
            log.warning("the document at %s in Consul is not a model state; the autoscaler writes it: is its version another one?", key)
        bad = unreadable
        plane.publish(states)


async def follow_redis(consul: Consul, names: Names, use: Callable[[str], None]) -> None:
    """For ever: the address of Redis, as Consul knows it. An empty answer changes nothing: an old address is better than none."""
    async for instances in _values(watch(lambda index: consul.instances(names.redis_service, index=index))):
        if url := redis_url(instances):
            use(url)


def decode_states(documents: Mapping[str, bytes]) -> tuple[dict[str, ModelState], set[str]]:
    """(states by model, keys of documents that cannot be read)"""
    states: dict[str, ModelState] = {}
    unreadable: set[str] = set()
    for key, document in documents.items():
        try:
            read = state.decode(document)
            states[read.model] = read
        except ValueError:
            unreadable.add(key)
    return states, unreadable


def redis_url(instances: tuple[Instance, ...]) -> str:
    """The first passing instance as a URL, or empty."""
    return next((f"redis://{i.host}:{i.port}/0" for i in instances if i.passing), "")


async def _not_wiped(seen: AsyncIterator[Seen[Mapping[str, T]] | Lost]) -> AsyncIterator[Mapping[str, T]]:
    """Values, without the empty ones of a Consul that has forgotten: its index went backwards, or it was away."""
    index, was_lost = 0, False
    async for one in seen:
        if isinstance(one, Lost):
            was_lost = True
            continue
        is_wiped = not one.value and (one.index < index or was_lost)
        index, was_lost = one.index, False
        if not is_wiped:
            yield one.value


async def _values(seen: AsyncIterator[Seen[T] | Lost]) -> AsyncIterator[T]:
    async for one in seen:
        if not isinstance(one, Lost):
            yield one.value
