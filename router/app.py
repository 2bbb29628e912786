"""Composition: makes the parts of one router from a fleet's description and wires them together.

The only module that knows all of them. What runs beside the requests (watches, sweep, session writer, DogStatsD) is started and
stopped by the app's lifespan; if one of them dies, the router stops, because a router that no longer watches is worse than none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI

from fleet import metrics, names, statsd
from fleet.consul import Consul
from fleet.model import Spec
from fleet.names import Names
from fleet.recorder import Recorder
from router.analytics.wired import Analytics
from router.clocks import SWEEP_S
from router.following import reload, watch
from router.following.abroad import Abroad
from router.following.knock import Knocks
from router.following.load import Load
from router.following.reload import Descriptions, live_limits
from router.following.simulate import Simulations
from router.health import chronicle, gauges
from router.health import standings as status
from router.health.channel import Line, WorkersEnd
from router.health.ledger import Report, numbers
from router.health.report import health
from router.models.catalogue import Catalogue
from router.models.roster import laid_on
from router.models.roster_store import RedisRoster
from router.pages import api, openapi, roster_api, session_pages
from router.pages import provider_admin as admin
from router.pages import provider_pages as providers
from router.pages.head_as_get import HeadAsGet
from router.pages.limit import BodyLimit
from router.pages.plain_body import PlainBody
from router.plane import DataPlane
from router.providers.keys import Keys
from router.records import tracing
from router.records.access import AccessLog, share
from router.relay import protocol as relaying
from router.relay.protocol import Protocols
from router.replicas.snapshot import Snapshot
from router.sessions.redis import RedisSessions
from router.tally import Tally
from router.tenants.door import Door
from router.tenants.tenancy import Tenancy

log = logging.getLogger(__name__)

IS_COMPILED: Final = not str(relaying.__file__).endswith(".py")  # tools/native.py

FLUSH_S = 2.0
_SLOW_SWEEP = 4  # idle connections and sessions are looked at in every fourth sweep
_LAST_WRITES_S = 1.0
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Wired:
    """One router, not yet running: `app` under a server whose HTTP protocol is `protocol`."""

    spec: Spec
    plane: DataPlane
    store: RedisSessions
    protocol: Protocols
    app: FastAPI


def wire(
    spec: Spec,
    *,
    description: str = "",
    consul_token: str | None = None,
    parent: socket.socket | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Wired:
    """`description`: the digest of the spec. `parent`: the line to the process that adds up several workers; None: there is one.

    `environment`: keys of providers, proxies, the admin key.
    """
    plane, store = _plane(spec)
    plane.traces = traces = tracing.from_process(spec.datadog, plane.random, plane.random_bits)
    protocol = Protocols(plane)
    keys = Keys(environment, _keys_file(environment))
    abroad, simulations = Abroad(keys, plane.tally, plane.clock), Simulations(plane)
    plane.recorder.collectors.append(status.collector(plane, lambda: abroad.missing))
    reports = Reports(plane, store, simulations)
    books = _books(spec, environment, plane, store, abroad)
    roster = RedisRoster(lambda: store.client, names.REDIS_ROSTER_PREFIX + spec.fleet.name)
    force = InForce(spec, plane, abroad, books.tenancy, books.access, roster)
    force.apply(spec, description)
    roster.changed = force.renew
    descriptions = Descriptions(spec, description, Names(spec.fleet.name).spec, force.apply)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        consul = Consul(spec.fleet.consul, consul_token)
        end = reports.end = WorkersEnd(await Line.over(parent), reports.own, simulations.start) if parent is not None else None
        parts = [*_parts(spec, consul, plane, store, protocol, end=end), *books.parts()]
        parts += [reload.follow(consul, Names(spec.fleet.name), descriptions), simulations.sweep_forever(), roster.follow_forever()]
        parts.append(keys.follow_forever(force.renew))
        parts += [traces.tell_forever()] if traces is not None else []
        tasks = [_start(part) for part in parts]
        try:
            yield
        finally:
            await _stop(plane, protocol)
            abroad.close()
            await ended(tasks)
            await books.close()
            if end is not None:
                await end.leave()
            await store.close()
            await consul.close()

    admin_key = environment.get(names.ENV_ADMIN_KEY, "")
    endpoints = (
        providers.routes(plane, abroad, reports.everyone),
        providers.admin_routes(simulations, reports.order, admin_key),
        admin.routes(roster, lambda: force.described, abroad, admin_key),
        books.analytics.routes(plane, reports.everyone),
        session_pages.routes(plane, store, admin_key),
        roster_api.routes(roster, lambda: force.described, admin_key),
    )
    # A redirect for a slash would leave TLS and lose a POST's key; FastAPI's own pages load their scripts from elsewhere.
    app = FastAPI(title="Warmfleet router", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None)
    return Wired(spec, plane, store, protocol, _app(app, spec, plane, reports, endpoints, admin_key=admin_key))


@dataclass(frozen=True, slots=True)
class Books:
    """What is kept of requests that are over: lines, accounts, sums."""

    access: AccessLog
    tenancy: Tenancy
    analytics: Analytics

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        return [self.access.lines.write_forever(), *self.tenancy.parts(), *self.analytics.parts()]

    async def close(self) -> None:
        """Writes, settles and counts what is left."""
        await self.access.lines.write_queued()
        await self.tenancy.close()
        await self.analytics.close()


def _books(spec: Spec, environment: Mapping[str, str], plane: DataPlane, store: RedisSessions, abroad: Abroad) -> Books:
    tenancy = Tenancy(spec, plane, store)
    abroad.books = tenancy.books
    analytics = Analytics(spec, environment, plane.wall)
    tenancy.listeners += analytics.listeners
    return Books(AccessLog(plane.recorder, plane.wall, plane.random), tenancy, analytics)


def _keys_file(environment: Mapping[str, str]) -> Path | None:
    """Where Nomad keeps the keys of providers up to date; None: this is no task of Nomad's."""
    folder = environment.get("NOMAD_SECRETS_DIR", "")
    return Path(folder) / names.PROVIDER_KEYS_FILE if folder else None


def _app(app: FastAPI, spec: Spec, plane: DataPlane, reports: Reports, endpoints: Iterable[APIRouter], *, admin_key: str) -> FastAPI:
    """With what is asked of every request, the outermost last, and all endpoints."""
    app.add_middleware(PlainBody, limit_bytes=lambda: plane.limits.max_body_bytes)
    app.add_middleware(Door, gate=lambda: plane.gate, admin_key=admin_key)
    app.add_middleware(BodyLimit, limit_bytes=lambda: plane.limits.max_body_bytes)
    app.add_middleware(HeadAsGet)
    api.install(app, plane, spec.fleet.name, reports.everyone)
    for each in endpoints:
        app.include_router(each)
    openapi.describe(app)
    return app


@dataclass(slots=True)
class InForce:
    """The description that is in force, with what was ordered beside it. `described`: at first the one of its start."""

    described: Spec
    plane: DataPlane
    abroad: Abroad
    tenancy: Tenancy
    access: AccessLog
    roster: RedisRoster

    def apply(self, described: Spec, digest: str) -> None:
        """Lets all parts take over a description."""
        plane, access, now = self.plane, self.access, laid_on(described, self.roster.now)
        self.described = described
        self.abroad.take(now)
        plane.providers = self.abroad.replicas
        plane.configure(Catalogue(now, self.roster.now.off), live_limits(plane.limits, now.router), digest)
        for model in plane.catalogue.models:
            plane.recorder.count(metrics.LOG_BYTES, model, by=0)
        access.rate = share(plane.limits)
        plane.access = access if access.rate else None
        self.tenancy.take(now)

    def renew(self) -> None:
        """Something else was ordered."""
        self.apply(self.described, self.plane.description)


@dataclass(slots=True)
class Reports:
    """How this worker stands, and how all of this router do. `end`: the line to their parent; None: it is alone."""

    plane: DataPlane
    store: RedisSessions
    simulations: Simulations
    end: WorkersEnd | None = None

    def own(self) -> Report:
        return Report(numbers(self.plane.recorder), health(self.plane, self.store.away_since))

    async def everyone(self) -> Report:
        """Raises: NoAnswer"""
        return self.own() if self.end is None else await self.end.all()

    def order(self, name: str, for_s: float) -> None:
        """Lets a model or provider fail in every worker. Raises: NoAnswer"""
        (self.simulations.start if self.end is None else self.end.order)(name, for_s)


def _plane(spec: Spec) -> tuple[DataPlane, RedisSessions]:
    catalogue, recorder = Catalogue(spec), Recorder()
    store = RedisSessions(spec.fleet.redis, spec.router.session_ttl_s, time.monotonic)
    tally = Tally(recorder, catalogue.models)
    plane = DataPlane(catalogue, spec.router, recorder, tally, store, time.monotonic, time.time)
    store.hear = plane.hear
    recorder.collectors.append(gauges.collector(plane, lambda: store.away_since))
    store.returned = lambda: plane.sessions.anew(time.monotonic())
    return plane, store


def _parts(
    spec: Spec, consul: Consul, plane: DataPlane, store: RedisSessions, protocol: Protocols, *, end: WorkersEnd | None
) -> list[Coroutine[Any, Any, None]]:
    """What runs beside the requests."""
    names = Names(spec.fleet.name)
    parts = [
        watch.follow_endpoints(consul, names, plane),
        watch.follow_states(consul, names, plane),
        sweep_forever(plane, protocol),
        Load(plane).read_forever(),
        chronicle.write_forever(plane, lambda: store.away_since is not None),
        store.write_forever(),
        store.listen_forever(),
        store.look_forever(),
    ]
    if not spec.fleet.redis:
        parts.append(watch.follow_redis(consul, names, store.use))
    if end is not None:
        parts.append(end.answer_forever())
    elif (client := statsd.from_environment()) is not None:
        parts.append(_flush_forever(statsd.Flusher(client, plane.recorder)))
    return parts


def _start(part: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(part)
    task.add_done_callback(_must_not_end)
    return task


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels them until they are over: whatever library is at work may lose a cancellation, and a router that is to stop must."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)


def _must_not_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.critical("a part of the router died, so it stops: %s", task, exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


async def sweep_forever(plane: DataPlane, protocol: Protocols) -> None:
    """All clocks, without a timer per request."""
    rounds, knocks = 0, Knocks(plane.limits.connect_s)
    while True:
        await asyncio.sleep(SWEEP_S)
        now = plane.clock()
        for relay in tuple(plane.active):
            relay.sweep(now)
        plane.room.release()
        rounds += 1
        if rounds % _SLOW_SWEEP == 0:
            for line in tuple(protocol.lines_open):
                line.sweep(now)
            for replica in (*plane.replicas(), *plane.providers.values()):
                replica.pool.retire()
                replica.wake(now)
            knocks.sweep(plane.replicas(), now)
            plane.sessions.expire(now)


async def _flush_forever(flusher: statsd.Flusher) -> None:
    try:
        while True:
            await asyncio.sleep(FLUSH_S)
            flusher.flush()
    finally:
        flusher.last()


async def _stop(plane: DataPlane, protocol: Protocols) -> None:
    """Ends what the server's own patience (router.drain) has not seen the end of, and lets the last bytes out."""
    for relay in tuple(plane.active):
        relay.stop()
    deadline = plane.clock() + _LAST_WRITES_S
    while protocol.lines_open and plane.clock() < deadline:  # noqa: ASYNC110 - once in a life, and it must not cost the others
        await asyncio.sleep(0.01)
    plane.apply(Snapshot())
