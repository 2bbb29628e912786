"""One autoscaler, wired: the loop and its ports, the lease, and what runs beside them.

The only place that knows which adapter stands behind which port. Nothing starts here; `__main__` starts and stops it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import aiohttp

from autoscaler.announce import Announcer
from autoscaler.board import Status
from autoscaler.datadog.client import Client, access
from autoscaler.datadog.reader import Reader
from autoscaler.forecasts import Forecasts
from autoscaler.jobs import NomadJobs
from autoscaler.journal import Journal
from autoscaler.lease import ConsulLease, Standing
from autoscaler.logfolder import LogFolder
from autoscaler.loop import Loop, Ports
from autoscaler.memories import ConsulMemories
from autoscaler.pause import ConsulPauses
from autoscaler.scrape import Scraper
from autoscaler.signals import Unknown
from autoscaler.states import ConsulStates
from fleet import statsd
from fleet.consul import Consul
from fleet.model import Spec
from fleet.names import Names
from fleet.nomad import Nomad
from fleet.recorder import Recorder
from fleet.state import Leader

if TYPE_CHECKING:  # numpy may be missing
    from autoscaler.forecast.learner import Learner

_SCRAPE_S = (0.25, 2.0)
_NOMAD_S = 5.0  # Nomad gives an autoscaler that is told to stop 15 s, and a pass that waits for Nomad is finished first
_FLUSH_S = 10.0

Run = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True)
class Wired:
    """`beside`: what runs until it is cancelled."""

    loop: Loop
    lease: ConsulLease
    forecasts: Forecasts
    beside: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Outside:
    """What the process was given: its environment, open clients, where it writes its log, and what it is called."""

    environment: Mapping[str, str]
    consul: Consul
    session: aiohttp.ClientSession
    log: TextIO
    me: Leader


@dataclass(frozen=True, slots=True)
class _Voice:
    """Everything that is said goes to the log; what is news to people, to Datadog too."""

    journal: Journal
    announcers: tuple[Announcer, ...]

    def say(self, status: Status) -> None:
        self.journal.say(status)
        for announcer in self.announcers:
            announcer.say(status)

    def note(self, event: str, text: str) -> None:
        self.journal.note(event, text, time.time())
        for announcer in self.announcers:
            announcer.note(text)


def wire(spec: Spec, outside: Outside) -> Wired:
    """Raises: WarmfleetError: the environment is wrong."""
    names, recorder, consul = Names(spec.fleet.name), Recorder(), outside.consul
    agent = statsd.from_environment(outside.environment)
    voice = _Voice(
        Journal(outside.log), (Announcer(spec.fleet.name, statsd.Events(agent), lambda: lease.standing().leads),) if agent else ()
    )
    lease = ConsulLease(consul, names.leader, outside.me, clock=time.monotonic, wall=time.time)
    memories = ConsulMemories(consul, names, lease.fence)
    forecasts = Forecasts(memories, _learner(spec), lambda text: voice.note("forecast", text))
    readers, folders = _datadog(spec, outside, recorder, voice), _log_folder(spec)
    ports = Ports(
        catalogue=consul,
        metrics=Scraper(outside.session, _scrape_s(spec), time.time),
        jobs=NomadJobs(_nomad(spec, outside.environment), spec.fleet.name),
        states=ConsulStates(consul, names, lease.fence),
        lease=lease,
        pauses=ConsulPauses(consul, names.pause),
        memories=memories,
        forecasts=forecasts,
        clock=time.time,
        say=voice.say,
        sources=(*readers, *folders),
    )
    loop = Loop(spec, ports, recorder)
    lease.changed = lambda standing: _changed(standing, voice, loop)
    flushes = (_flushing(statsd.Flusher(agent, recorder)),) if agent else ()
    return Wired(loop, lease, forecasts, (*(reader.run for reader in readers), *(folder.run for folder in folders), *flushes))


def _changed(standing: Standing, voice: _Voice, loop: Loop) -> None:
    voice.note("lease", f"leads, term {standing.term}" if standing.leads else standing.hands_off)
    loop.wake.set()


def _flushing(flusher: statsd.Flusher) -> Run:
    async def run() -> None:
        try:
            while True:
                flusher.flush()
                await asyncio.sleep(_FLUSH_S)
        finally:
            flusher.last()

    return run


def _scrape_s(spec: Spec) -> float:
    least_s, most_s = _SCRAPE_S
    return min(most_s, max(least_s, spec.autoscaler.interval_s / 2))


def _nomad(spec: Spec, environment: Mapping[str, str]) -> Nomad:
    fleet = spec.fleet
    token = environment.get("NOMAD_TOKEN")
    return Nomad(fleet.nomad, token=token, namespace=fleet.namespace, region=fleet.region, timeout_s=_NOMAD_S)


def _learner(spec: Spec) -> Learner | None:
    """LightGBM is loaded only where a model forecasts; None where it, or numpy, is not installed."""
    if not any(policy.kind == "forecast" for model in spec.models for policy in model.policy):
        return None
    try:
        from autoscaler.forecast.learner import lightgbm_learner  # noqa: PLC0415
    except ImportError:
        return None
    return lightgbm_learner()


def _datadog(spec: Spec, outside: Outside, recorder: Recorder, voice: _Voice) -> tuple[Reader, ...]:
    may = access(outside.environment, spec.datadog.site) if spec.datadog.read else Unknown("datadog.read is false")
    if isinstance(may, Unknown):
        voice.journal.note("datadog", f"not read: {may.why}; signals come from scrapes alone", time.time())
        return ()
    client = Client(outside.session, may, spec.datadog.read_timeout_s)
    return (Reader(spec, client, recorder, clock=time.time, chance=random.random, tell=lambda text: voice.note("datadog", text)),)


def _log_folder(spec: Spec) -> tuple[LogFolder, ...]:
    settings = spec.autoscaler
    if not settings.log_folder:
        return ()
    return (LogFolder(Path(settings.log_folder), settings.interval_s, settings.window_s, settings.max_age_s, clock=time.time),)
